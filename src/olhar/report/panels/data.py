"""What the model learned from."""

from olhar.report.parts import join, part
from olhar.report.story import Panel, Story
from olhar.report.words import compact, percent, plural

MOST_CLASSES = 30
SPLITS = {"train": "training", "val": "validation", "test": "test"}


def data_panel(story: Story) -> Panel | None:
    data = story.get("data")
    if not data:
        return None
    sentences = [data.get("explanation", ""), *data.get("notes", [])]
    pieces = [part("paragraph", sentence) for sentence in sentences if sentence]
    splits = split_table(story)
    bars = class_table(story)
    if splits and bars:
        pieces.append(part("columns", [splits, bars]))
    else:
        pieces += [piece for piece in (splits, bars) if piece]
    if findings := story.get("findings", []):
        pieces.append(part("heading", "What the check of the data found"))
        pieces.append(part("notes", [finding_note(f) for f in findings]))
    reading = (
        "The model learns from the training images alone; validation chooses when to stop, and the test split is "
        "looked at once, at the end. A class with few images is learnt, and measured, less surely."
    )
    return Panel("data", "Data", reading, join(*pieces))


def split_table(story: Story):
    counts = {k: n for k, n in story.get("data.counts", {}).items() if n}
    if not counts:
        return None
    total, origin = sum(counts.values()), story.get("data.split_origin", {})
    rows = [
        [SPLITS.get(name, name), (n / total, f"{n:,}"), origin.get(name, "")]
        for name, n in counts.items()
    ]  # fmt: skip
    columns = [("Split", "text"), ("Images", "bar")]
    if any(row[2] for row in rows):
        columns.append(("Where it comes from", "text"))
    else:
        rows = [row[:2] for row in rows]
    return part("table", columns, rows)


def class_table(story: Story):
    """A bar a class of its training images: the largest, and the smallest, of many."""
    counts = story.get("data.class_counts.train")
    if not counts or not story.classes:
        return None
    pairs = sorted(zip(story.classes, counts, strict=True), key=lambda pair: -pair[1])
    hidden = len(pairs) - MOST_CLASSES
    top, total = max(counts) or 1, sum(counts) or 1
    balanced = min(counts) > 0.95 * top
    pixels = story.task == "segment"
    rows = [[name, (n / top, compact(n) if pixels else f"{n:,}"), percent(n / total)] for name, n in pairs]
    if hidden > 0:
        half = MOST_CLASSES // 2
        rows = [*rows[:half], [f"… {plural(hidden, 'class', 'classes')} between …", (0, ""), ""], *rows[-half:]]
    what = {"segment": "pixels", "detect": "objects"}.get(story.task, "images")
    heads = [("Class", "text"), (f"Training {what}", "bar"), ("Share", "number")]
    table = part("table", heads, rows)
    if not balanced:
        return table
    mean = plural(round(total / len(counts)), f"training {what[:-1]}")
    sentence = f"The {len(counts)} classes are balanced: about {mean} each."
    return part("paragraph", sentence) + part("details", "Every class", table)


def finding_note(finding: dict) -> tuple[str, str, str, str]:
    message = finding.get("message", "")
    files = [file for file in finding.get("files", []) if file not in message]
    shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    cure = " ".join(filter(None, [finding.get("cure", ""), f"({shown})" if shown else ""]))
    level = finding.get("level", "warning")
    return level, f"{level.capitalize()}.", message, cure
