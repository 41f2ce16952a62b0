"""What it takes to get the same model again."""

from olhar.report.parts import join, part
from olhar.report.story import Panel, Story


def reproduce_panel(story: Story) -> Panel:
    pieces = []
    if command := story.get("command"):
        pieces.append(part("code", command))
    facts = [
        ("Fingerprint of the data", story.get("data.fingerprint"), "changes when an image or a label does"),
        ("olhar", story.get("olhar"), None),
        *((name, version, None) for name, version in story.get("versions", {}).items() if name != "olhar"),
    ]
    pieces.append(part("facts", [fact for fact in facts if fact[1]]))
    if plan := story.get("plan", []):
        rows = [[line.get("setting", ""), show(line.get("value")), line.get("reason", "")] for line in plan]
        pieces.append(part("heading", "What was decided, and why"))
        pieces.append(part("table", [("Setting", "text"), ("Value", "text"), ("Reason", "text")], rows))
    if table := story.get("precision.table", []):
        rows = [
            [r.get("precision"), str(r.get("memory_format", "")).replace("_", " "), f"{r['ms']:.1f}"] for r in table
        ]
        timing = part("table", [("Precision", "text"), ("Memory format", "text"), ("ms a step", "number")], rows)
        pieces.append(part("details", "Precision, as it was measured on this machine", timing))
    if story.config:
        pieces.append(part("details", "config.yaml: every setting", part("code", story.config)))
    reading = (
        "The same command on the same data, with the same versions and seed, gives the same model on a CPU. The run "
        "folder alone is enough to predict, anywhere."
    )
    return Panel("reproduce", "Reproduce", reading, join(*pieces))


def show(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
