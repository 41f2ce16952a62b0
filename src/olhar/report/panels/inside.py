"""What the instruments see inside the model, each with how to read it."""

from markupsafe import Markup

from olhar.inspection.instruments import INSTRUMENTS
from olhar.report.panels.pictures import mistakes
from olhar.report.parts import join, part
from olhar.report.story import Panel, Story

EXPLAINED = 4  # mistakes, whose reasons are shown


def inside_panel(story: Story) -> Panel | None:
    if story.drawings is None:
        return None
    wrong = [story.predictions[i]["id"] for i in mistakes(story)[:EXPLAINED]]
    found = story.drawings(wrong)
    if not found:
        return None
    parts = []
    for name, svg in found.items():
        if svg is None:
            continue
        title = name.capitalize().replace("-", " ") + (", of the surest mistakes" if name == "why" and wrong else "")
        words = INSTRUMENTS[name].reading.replace("\n", " ")
        # by matplotlib, which escapes what is written into it
        parts += [part("heading", title), part("paragraph", words, "reading"), part("figure", Markup(svg))]
    left = [name for name, svg in found.items() if svg is None]
    reading = (
        "What instruments see on images of the validation split; olhar inspect draws the same of others, with the "
        "numbers." + (f" There was no time for {', '.join(left)}." if left else "")
    )
    return Panel("inside", "Inside the model", reading, join(*parts))
