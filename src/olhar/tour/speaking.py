"""The chapters of words and pictures: attention, finding each other, and drawing (sections 3, 4 and 5).

Shapes: D width of a word's code.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from markupsafe import Markup
from torch import Tensor
from torch.nn.functional import cosine_similarity

from olhar import sheet
from olhar.data.decode import decode
from olhar.data.scene_reader import mean_marks, read_scene
from olhar.data.scenes import scene
from olhar.generate import Drawn, Wish, generate
from olhar.ops.attention import apply_weights
from olhar.report.parts import part
from olhar.report.pictures import TINY, data_uri
from olhar.run import Run, load
from olhar.tour.chapter import Piece, Shown, Stage

# The codes of section 3, and how much "bateria" looks at the other word of its sentence.
CODES = {"tocava": (0.26, 0.89), "energia": (0.58, 0.72), "battery": (0.51, 0.77), "drums": (0.35, 0.86)}
BATTERY_OR_DRUMS, LOOK = (0.43, 0.82), 0.9
ALBUM, ALBUM_QUICK = 400, 150  # pictures to search among
FIRST = 300_000_000  # of the pictures' indices: no split of `shapes` has them
QUERIES = ("a red circle", "a large green star", "a small blue square", "a yellow cross")
FOUND = 6
TEXTS = ("a large red circle", "a large blue star", "a large yellow square", "a large green triangle")
SHAPES = "shapes"  # the model that comes along, and what it is asked for
SCENES = (
    "a red circle above a blue square",
    "a green star left of a yellow ring",
    "a large purple heart",
    "a small orange triangle below a green cross",
)


def meaning(stage: Stage) -> Shown:
    """The worked example of section 3: a word means what its neighbours make of it (Eq 3.1 and 3.3)."""
    codes = {word: torch.tensor(code, dtype=torch.float64) for word, code in CODES.items()}
    word = torch.tensor(BATTERY_OR_DRUMS, dtype=torch.float64)
    weights = torch.tensor([[LOOK]], dtype=torch.float64)
    rows = [["alone", *similarities(word, codes)]]
    for other in ("tocava", "energia"):
        mixed = word + apply_weights(weights, codes[other][None])[0]
        rows.append([f"beside “{other}”", *similarities(mixed, codes)])
    heads = [("bateria", "text"), ("cosine with battery", "number"), ("cosine with drums", "number")]
    reading = (
        "“Bateria” is a battery or drums. A word becomes itself plus what it looks at: beside “tocava” (played) it "
        f"moves to drums, beside “energia” to battery (Eq 3.3, weight {LOOK})."
    )
    return Shown([Piece("model", "A word in its sentence", part("table", heads, rows), reading)])


def similarities(code: Float[Tensor, " D"], codes: dict[str, Float[Tensor, " D"]]) -> list[str]:
    """The cosine with each of the two meanings (Eq 3.1)."""
    return [f"{cosine_similarity(code, codes[name], dim=0).item():.4f}" for name in ("battery", "drums")]


def search(stage: Stage) -> Shown:
    """Texts that look for pictures in a folder, as `olhar search` does it."""
    album = stage.folder.parent / "album"
    fill(album, ALBUM_QUICK if stage.quick else ALBUM)
    rows = []
    for i, query in enumerate(QUERIES):
        found = stage.run.search(query, album, FOUND)
        shown = [(data_uri(decode(Path(hit.found), 3), TINY + 1), f"{hit.similarity:.2f}") for hit in found.shown]
        rows.append((f"of {found.searched} pictures", query, shown))
        stage.progress((i + 1) / len(QUERIES), query)
    reading = (
        "Words and pictures are vectors in one space. A text finds the pictures whose vectors point most nearly where "
        "its own does; the number is the cosine (Eq 3.1)."
    )
    return Shown([Piece("result", "Searches", part("strips", rows, True), reading, wide=True)])


def fill(album: Path, count: int) -> None:
    """Pictures that training never saw, as files: what a person's own folder would be."""
    if album.exists() and len(list(album.glob("*.png"))) == count:
        return
    album.mkdir(parents=True, exist_ok=True)
    for index in range(FIRST, FIRST + count):
        drawn = scene(index, size=64)
        sheet.to_picture(drawn.render()).save(album / f"{drawn.caption().replace(' ', '-')}-{index - FIRST:03d}.png")


def paint(stage: Stage) -> Shown:
    """Pictures from texts, as `olhar generate` draws them, and how they come out of the noise (Figure 5.2)."""
    drawn = draw(stage, stage.run, TEXTS)
    drew = "Drawn from texts, with other noise each; none of these pictures was chosen."
    went = (
        "From noise to a picture, left to right: at every step what the network believes the picture to be. It is "
        "told the text, and how much noise there is (Figure 5.2)."
    )
    return Shown(
        [
            Piece("result", "Drawn from a text", rows_of(drawn), drew, wide=True),
            Piece("inside", "Out of the noise", ways_of(drawn), went, wide=True),
        ],
        emblems=emblems(drawn),
    )


def paint_longer(stage: Stage) -> Shown:
    """The same by the model of `shapes` that comes along, which learnt for longer and in latents (Figure 5.3)."""
    drawn = draw(stage, load(SHAPES), SCENES)
    texts, images = zip(*((text, one.image) for text, some in drawn.items() for one in some), strict=True)
    found = mean_marks(texts, [read_scene(image) for image in images])
    reading = (
        "By the model that comes along, which was trained as this chapter's was, for longer, in the latents of an "
        f"autoencoder (Figure 5.3) and with two things in a picture. Read by geometry alone, {found['colors']:.0%} of "
        f"the colours, {found['shapes']:.0%} of the shapes and {found['relation']:.0%} of the places are as told."
    )
    went = "The same way back, in latents: what is believed at every step is decoded to be seen (Figure 5.3)."
    return Shown(
        [
            Piece("result", "Drawn by a model that learnt for longer", rows_of(drawn), reading, wide=True),
            Piece("inside", "Out of the noise, by that model", ways_of(drawn), went, wide=True),
        ],
        {"colors": found["colors"]},
        emblems(drawn),
    )


def draw(stage: Stage, run: Run, texts: Sequence[str]) -> dict[str, list[Drawn]]:
    """A few pictures of each text, kept in the chapter's folder."""
    wish = Wish(texts=tuple(texts), n=2 if stage.quick else 4, seed=0, strip=True)
    drawn = generate(run, wish, on_step=lambda share: stage.progress(share, "drawing"))
    found: dict[str, list[Drawn]] = {text: [] for text in texts}
    with sheet.new_folder(stage.folder) as folder:
        for _, one in sheet.save(drawn, folder, columns=wish.n):
            found[one.settings["text"]].append(one)
    return found


def rows_of(drawn: dict[str, list[Drawn]]) -> Markup:
    """A row of pictures for each text."""
    return strips([(text, [one.image for one in some]) for text, some in drawn.items()])


def ways_of(drawn: dict[str, list[Drawn]]) -> Markup:
    """How the first picture of each text came out of the noise."""
    return strips([(text, some[0].strip) for text, some in drawn.items()], "ways")


def strips(rows: Sequence[tuple[str, Sequence[Tensor]]], kind: str = "") -> Markup:
    """Pictures side by side, below what they were asked for."""
    shown = [("", text, [(data_uri(image, TINY + 1), "") for image in images]) for text, images in rows]
    return part("strips", shown, True, kind)


def emblems(drawn: dict[str, list[Drawn]]) -> list[str]:
    """The first picture of each text."""
    return [data_uri(some[0].image, TINY + 1) for some in drawn.values()]
