"""How near the images come to the clean ones, and what they look like before and after."""

import numpy as np
from markupsafe import Markup

from olhar.report.panels.pictures import at_random, is_tiny
from olhar.report.parts import join, part
from olhar.report.story import Panel, Story
from olhar.report.svg import Plot
from olhar.report.words import number, percent

ROWS = 8
BINS = 28


def psnr_panel(story: Story) -> Panel | None:
    if not story.reconstructed:
        return None
    reading = "Each bar counts images by their peak signal-to-noise ratio: 3 dB more are half the squared error."
    if "psnr_before" in story.predictions[0]:
        reading += " The grey bars show what the images had before."
    return Panel("quality", "Quality", reading, part("columns", [part("figure", histogram(story)), facts(story)]))


def histogram(story: Story) -> Markup:
    after = story.column("psnr")
    before = story.column("psnr_before") if "psnr_before" in story.predictions[0] else after[:0]
    both = np.concatenate([after, before])
    low, high = float(both.min()), float(both.max()) + 1e-6
    counts = [np.histogram(values, bins=BINS, range=(low, high)) for values in (before, after)]
    top = max(int(count.max()) for count, _ in counts)
    plot = Plot((low, high), (0, top * 1.06), "Images by PSNR", height=300).axes("PSNR, dB", "images")
    for (heights, edges), style in zip(counts, ("under faint-fill", "fill"), strict=True):
        for count, left, right in zip(heights.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            inset = 0.05 * (right - left)
            if count:
                plot.box((left + inset, right - inset), (0, count), style, f"{count:,}")
    return plot.svg()


def facts(story: Story) -> Markup:
    after = story.column("psnr")
    items: list[tuple[str, str, str | None]] = [
        ("PSNR", f"{after.mean():.2f} dB", f"of the middle half: {spread(after)} dB"),
        ("SSIM", number(story.column("ssim").mean()), "1 is equal"),
    ]
    if "psnr_before" in story.predictions[0]:
        gain = after - story.column("psnr_before")
        items.append(("Gain", f"{gain.mean():+.2f} dB", f"better in {percent((gain > 0).mean())} of the images"))
    if bits := story.get(f"result.{story.split}.latent_bits_per_pixel"):
        items.append(("Latent", f"{number(bits)} bits a pixel", "the KL divergence, what the latent tells"))
    if latent := story.get("model.latent"):
        ratio = np.prod([*story.get("model.image_size"), len(story.get("task.settings.mean"))]) / np.prod(latent)
        size = " × ".join(map(str, latent))
        items.append(("Latent size", size, f"{number(float(ratio))} times fewer numbers than the image"))
    return part("facts", items)


def spread(values: np.ndarray) -> str:
    low, high = np.quantile(values, [0.25, 0.75])
    return f"{low:.1f} to {high:.1f}"


def restored_panel(story: Story) -> Panel | None:
    if not story.reconstructed:
        return None
    reading = f"Images of the {story.split_name} split drawn at random, neither the best nor the worst."
    title = "Examples" if is_whole(story) else "Before and after"
    return Panel("examples", title, reading, strips(story, at_random(story, ROWS)))


def worst_restored_panel(story: Story) -> Panel | None:
    if not story.reconstructed:
        return None
    worst = np.argsort(story.column("psnr"), kind="stable")[:ROWS].tolist()
    wanted = "what they were" if is_whole(story) else "the clean ones"
    reading = f"The images that came out furthest from {wanted}: fine texture and rare things are lost first."
    return Panel("mistakes", "Worst images", reading, strips(story, worst))


def is_whole(story: Story) -> bool:
    """Nothing was done to the images: they only have to be said in few numbers."""
    return story.get("task.settings.corruption", "none") == "none"


def strips(story: Story, indices: list[int]) -> Markup:
    """One row an image: what was shown, what was made of it, and where they differ from it the clean image."""
    words = (("image", "image" if is_whole(story) else "shown"), ("prediction", "answer"), ("truth", "clean"))
    rows = []
    for i, strip in zip(indices, story.strips(indices), strict=True):
        row = story.predictions[i]
        said = f"{row['psnr']:.1f} dB" + (f", before {row['psnr_before']:.1f}" if "psnr_before" in row else "")
        rows.append((row["id"], said, [(strip[key], word) for key, word in words if key in strip]))
    return join(part("strips", rows, is_tiny(story)))
