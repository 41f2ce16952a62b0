"""What the run had to say while it trained: its sentinels."""

from olhar.report.parts import part
from olhar.report.story import Panel, Story


def messages_panel(story: Story) -> Panel | None:
    if not story.events:
        return None
    notes = [
        ("warning", event["name"].replace("_", " ").capitalize(), event["message"], f"Step {event['step']:,}.")
        for event in story.events
    ]
    reading = (
        "Sentences said while the model trained, each once, when its numbers looked like a known trouble. "
        "They name the likely cause and what to try; a good result may still follow one."
    )
    return Panel("messages", "Messages", reading, part("notes", notes))
