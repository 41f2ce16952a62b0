"""Find images by a text or an image, and texts by either: one product of unit vectors (Eq 3.1) with all of a folder.

A folder is read once: the vectors of its images are kept in the run folder, and only those of new and changed files
are computed again. Where words look at patches, the few nearest are read once more and put in order by it.

Shapes: N images, T texts, k nearest, P patches, L tokens, E width of the common space.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.sample import Record, to_device
from olhar.errors import UserError
from olhar.language import Reader, Reads, reader_of, words_of
from olhar.models.clip import Encoded
from olhar.ops.rerank import SHORTLIST, rerank
from olhar.predict import expand, missing
from olhar.train.checkpoint import save_tensors

BATCH = 64  # images at a time
PIECE = 512  # images after which it is told how far the reading is
FOLDER = "search"  # in the run folder


Tell = Callable[[float], None]


@dataclass(frozen=True)
class Index:
    """The images of a folder: their paths, and a unit vector each, [N, E]."""

    paths: tuple[Path, ...]
    vectors: Tensor
    computed: int = 0  # how many were not known before
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """One thing that was found: a path or a text, and its cosine with the query."""

    found: str
    similarity: float


@dataclass(frozen=True)
class Search:
    """The answer to a query. `shown` are what was found, most similar first."""

    query: str
    by: str  # "text" or "image"
    kind: str  # of what was found: "images" or "texts"
    shown: tuple[Hit, ...]
    searched: int
    computed: int = 0  # images that were read for it
    seconds: float = 0.0  # of the search itself
    unreadable: dict[str, str] = field(default_factory=dict)
    closely: bool = False  # the similarities are of words with patches, not of vectors

    @property
    def measure(self) -> str:
        """What a similarity is called."""
        return "fit" if self.closely else "cosine"

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        hits = [{"found": hit.found, "similarity": round(hit.similarity, 6)} for hit in self.shown]
        return {"query": self.query, "by": self.by, "kind": self.kind, "searched": self.searched, "hits": hits}


def search(
    run: Reads,
    query: str,
    folder: str | Path | None = None,
    top: int = 12,
    words: bool = False,
    tell: Tell = lambda share: None,
) -> Search:
    """What fits a query best.

    Args:
        query: a text, or the path of an image.
        folder: where to look for images, with all below it; None: the data the run learnt from.
        top: how many.
        words: look for texts instead: for an image among the captions of the training, for a text among their words.
        tell: told which share of the images that are not known yet is read.
    Raises:
        UserError: the run reads no texts, the folder is not there, or the query cannot be read.
    """
    reader = reader_of(run)
    by = "image" if is_image(query) else "text"
    asked = read_image(run, reader, Path(query).expanduser()) if by == "image" else reader.read([query])
    if words:
        captions = captions_of(run)
        texts = captions if by == "image" else [text for text in words_of(captions) if text != query.strip().lower()]
        known = reader.read(texts)
        start = time.perf_counter()
        # two texts are compared as wholes: neither has patches to look at
        closer = comparing(reader, asked.parts, known.parts) if by == "image" else None
        best = nearest(known.whole, asked.whole[0], top, closer, reader.task.model.share)
        shown = tuple(Hit(texts[i], value) for i, value in best)
        return Search(query, by, "texts", shown, len(texts), 0, time.perf_counter() - start, closely=closer is not None)
    index = index_of(run, reader, Path(folder or run.folder.facts["data"]["path"]).expanduser(), tell)
    start = time.perf_counter()
    closer = None
    if by == "text" and asked.parts is not None:
        closer = looking(run, reader, index, asked.parts)
    best = nearest(index.vectors, asked.whole[0], top, closer, reader.task.model.share)
    took = time.perf_counter() - start
    shown = tuple(Hit(str(index.paths[i]), value) for i, value in best)
    bad = index.unreadable
    return Search(query, by, "images", shown, len(index.paths), index.computed, took, bad, closer is not None)


def is_image(query: str) -> bool:
    """Whether a query is the path of a file that is there. Raises UserError where it is one of an image that is not."""
    try:
        path = Path(query).expanduser()
        if path.is_file():
            return True
    except (OSError, RuntimeError, ValueError):  # too long for a name, or in nobody's home
        return False
    if path.suffix.lower() in IMAGE_EXTENSIONS and len(query.split()) == 1:
        raise UserError(missing(path))
    return False


def captions_of(run: Reads) -> list[str]:
    """Those that the run learnt from. Raises UserError where there are none."""
    if not run.folder.captions_file.exists():
        raise UserError(f"{run.folder.path} learnt from no captions of its own: leave out --words, and give a folder.")
    return run.folder.captions


Compare = Callable[[Tensor], Tensor]  # of the places of some [k], how alike they are to what was asked, [k]


def nearest(
    vectors: Float[Tensor, "N E"],
    query: Float[Tensor, " E"],
    top: int,
    closer: Compare | None = None,
    share: float = 1.0,
) -> list[tuple[int, float]]:
    """Places and similarities of the `top` rows most similar to `query`, by one product and a partial sort; with
    `closer` the first of them in the order it gives."""
    alike = (vectors @ query)[None]
    if closer is None:
        values, places = alike.topk(min(top, len(vectors)))
    else:
        places, values = rerank(alike, lambda _, some: closer(some), share, max(top, SHORTLIST))
    return list(zip(places[0, :top].tolist(), values[0, :top].tolist(), strict=True))


def comparing(reader: Reader, patches: Tensor | None, words: Tensor | None) -> Compare | None:
    """How well some texts fit an image, by patches [1, P, E] and words [T, L, E]; None without them."""
    fusion = reader.task.model.fusion
    if fusion is None or patches is None or words is None:
        return None
    return lambda some: fusion.scores(patches.to(reader.device), words[some].to(reader.device))[0].detach().cpu()


def looking(run: Reads, reader: Reader, index: "Index", words: Float[Tensor, "1 L E"]) -> Compare:
    """How well some images of an index, read again, fit a text."""
    fusion = reader.task.model.fusion
    assert fusion is not None

    def compare(some: Tensor) -> Tensor:
        paths = [index.paths[i] for i in some.tolist()]
        _, seen, unreadable = encode(run, reader, paths, closely=True)
        if unreadable:
            raise UserError(next(iter(unreadable.values())))
        assert seen.parts is not None
        return fusion.scores(seen.parts.to(reader.device), words.to(reader.device))[:, 0].detach().cpu()

    return compare


def read_image(run: Reads, reader: Reader, path: Path) -> Encoded:
    """The unit vectors of one image. Raises UserError where it cannot be read."""
    paths, read, unreadable = encode(run, reader, [path], closely=True)
    if not paths:
        raise UserError(next(iter(unreadable.values())))
    return read


def index_of(run: Reads, reader: Reader, folder: Path, tell: Tell = lambda share: None) -> Index:
    """The index of a folder: what is known of it, and vectors of what is new. What was read is kept when it is stopped.

    Raises UserError where there is no such folder, or no image in it.
    """
    if not folder.exists():
        raise UserError(f"There is no folder '{folder}' to search: give one with images.")
    root = folder if folder.is_dir() else folder.parent  # of a table, the folder it lies in
    files, unreadable = stamps(root)
    place = run.folder.path / FOLDER / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.safetensors"
    known, old = read_index(place, stamp(run.folder.weights))
    unreadable |= {name: reason for name, (mark, _, reason) in known.items() if reason and files.get(name) == mark}
    same = {name: at for name, (mark, at, _) in known.items() if at >= 0 and files.get(name) == mark}
    new = [name for name in files if name not in same and name not in unreadable]
    names, parts = [*same], [old[list(same.values())]] if same else []
    try:
        for first in range(0, len(new), PIECE):
            some = new[first : first + PIECE]
            read, vectors, refused = encode(run, reader, [root / name for name in some])
            names += [str(path.relative_to(root)) for path in read]
            parts.append(vectors.whole)
            unreadable |= {str(Path(name).relative_to(root)): reason for name, reason in refused.items()}
            tell((first + len(some)) / len(new))
    finally:
        if new or len(same) < sum(at >= 0 for _, at, _ in known.values()):
            entries: Entries = {name: [files[name], i, ""] for i, name in enumerate(names)}
            entries |= {name: [files[name], -1, reason] for name, reason in unreadable.items() if name in files}
            write_index(place, torch.cat(parts) if parts else torch.empty(0, 0), entries, stamp(run.folder.weights))
    if not names:
        raise UserError(f"None of the {len(unreadable)} images in {folder} can be read: run `olhar check {folder}`.")
    order = sorted(range(len(names)), key=lambda i: names[i])
    paths, computed = tuple(root / names[i] for i in order), len(names) - len(same)
    return Index(paths, torch.cat(parts)[order], computed, {str(root / name): why for name, why in unreadable.items()})


def stamps(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of every image below `root`, by its path from there, the stamp; and why there is none of some, such as links to
    nothing."""
    files: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for path in expand([root], Path(scratch)):
            try:
                files[str(path.relative_to(root))] = stamp(path)
            except OSError as error:
                unreadable[str(path.relative_to(root))] = f"{path}: {error.strerror}."
    return files, unreadable


def encode(
    run: Reads, reader: Reader, paths: Sequence[Path], closely: bool = False
) -> tuple[list[Path], Encoded, dict[str, str]]:
    """The images that can be read and their unit vectors, `closely` with those of their patches; and of the others the
    reason."""
    reader.task.eval()
    nothing = torch.empty(0, reader.task.model.image_projection.out_features)
    loader = run.loader([Record(id=str(path), image=path, split="test") for path in paths], BATCH)
    loader.forgiving = True
    found, vectors, patches = [], [nothing], []
    for batch in loader.epoch(0):
        with torch.inference_mode(), run.computing():
            read = reader.task.read_images(to_device(batch, run.device))
        vectors.append(read.whole.cpu())
        if closely and read.parts is not None:
            patches.append(read.parts.cpu())
        found += map(Path, batch["id"])
    return found, Encoded(torch.cat(vectors), torch.cat(patches) if patches else None), loader.unreadable


def stamp(path: Path) -> str:
    """Size and time of a file: another stamp, another content."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


Entries = dict[
    str, list[Any]
]  # of each path from the folder on: its stamp, the row of its vector or -1, why it could not be read


def read_index(path: Path, weights: str) -> tuple[Entries, Tensor]:
    """What an index of the same weights holds; nothing where there is none, or it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            if facts.get("weights") == weights:
                return json.loads(facts["files"]), file.get_tensor("vectors")
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError):
        pass  # made again from the images
    return {}, torch.empty(0, 0)


def write_index(path: Path, vectors: Tensor, entries: Entries, weights: str) -> None:
    """Keep an index; where the run folder cannot be written to, it is made anew each time."""
    try:
        path.parent.mkdir(exist_ok=True)
        save_tensors({"vectors": vectors}, path, {"weights": weights, "files": json.dumps(entries)})
    except (OSError, UserError):
        pass
