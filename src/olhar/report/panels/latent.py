"""The latent space of an autoencoder: the way from one image to another, and a map."""

import numpy as np
from markupsafe import Markup

from olhar.report.parts import join, part
from olhar.report.pictures import TINY, data_uri
from olhar.report.story import LatentView, Panel, Story
from olhar.report.svg import picture, tag
from olhar.report.words import percent

SIDE, THUMB = 440, 26  # of the map and of a picture on it, in SVG's units


def latent_panel(story: Story) -> Panel | None:
    view = story.latent
    if view is None:
        return None
    rows = [("", "", [(data_uri(image, 2 * TINY), "") for image in way]) for way in view.ways]
    reading = (
        "Each row goes in a straight line from the latent of one image to that of another. On the map lies every "
        "image where its latent is: what the model takes for alike lies together."
    )
    caption = f"The two directions in which the latents differ most: {percent(view.explained)} of their variance."
    body = join(part("strips", rows, False, "ways"), part("figure", drawn_map(view), caption))
    return Panel("latent", "Latent space", reading, body)


def drawn_map(view: LatentView) -> Markup:
    """The images at their places."""
    low, high = view.places.min(0), view.places.max(0)
    at = (view.places - low) / np.maximum(high - low, 1e-12) * (SIDE - THUMB)
    shown = [
        tag("image", href=data_uri(image, TINY), x=float(x), y=float(SIDE - THUMB - y), width=THUMB, height=THUMB)
        for image, (x, y) in zip(view.images, at, strict=True)
    ]
    return picture(SIDE, SIDE, "Map of the latents", Markup("").join(shown))
