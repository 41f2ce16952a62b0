"""Find images by a text or an image, and texts by either: one product of unit vectors (Eq 3.1) with all of a folder.

A folder is read once: the vectors of its images are kept in the run folder, and only those of new and changed files
are computed again.

Shapes: N images, T texts, E width of the common space.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from olhar.data.sample import Record, to_device
from olhar.errors import UserError
from olhar.language import Reader, Reads, is_image, reader_of, words_of
from olhar.predict import expand
from olhar.train.checkpoint import save_tensors

BATCH = 64  # images at a time
FOLDER = "search"  # in the run folder


@dataclass(frozen=True)
class Index:
    """The images of a folder: their paths, and a unit vector each, [N, E]."""

    paths: tuple[Path, ...]
    vectors: Tensor
    computed: int = 0  # how many were not known before
    unreadable: dict[str, str] = field(default_factory=dict)

    def nearest(self, query: Float[Tensor, " E"], top: int) -> list[tuple[int, float]]:
        """Places and cosines of the `top` most similar, the most similar first."""
        return nearest(self.vectors, query, top)


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

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        hits = [{"found": hit.found, "similarity": round(hit.similarity, 6)} for hit in self.shown]
        return {"query": self.query, "by": self.by, "kind": self.kind, "searched": self.searched, "hits": hits}


def search(run: Reads, query: str, folder: str | Path | None = None, top: int = 12, words: bool = False) -> Search:
    """What fits a query best.

    Args:
        query: a text, or the path of an image.
        folder: where to look for images, with all below it; None: the data the run learnt from.
        top: how many.
        words: look for texts instead: for an image among the captions of the training, for a text among their words.
    Raises:
        UserError: the run reads no texts, the folder is not there, or the query cannot be read.
    """
    reader = reader_of(run)
    by = "image" if is_image(query) else "text"
    vector = image_vector(run, reader, Path(query).expanduser()) if by == "image" else reader.vectors([query])[0]
    if words:
        captions = run.folder.captions
        texts = captions if by == "image" else [text for text in words_of(captions) if text != query.strip().lower()]
        start = time.perf_counter()
        best = nearest(reader.vectors(texts), vector, top)
        took = time.perf_counter() - start
        return Search(query, by, "texts", tuple(Hit(texts[i], v) for i, v in best), len(texts), 0, took)
    index = index_of(run, reader, Path(folder or run.folder.facts["data"]["path"]).expanduser())
    start = time.perf_counter()
    best = index.nearest(vector, top)
    took = time.perf_counter() - start
    shown = tuple(Hit(str(index.paths[i]), value) for i, value in best)
    return Search(query, by, "images", shown, len(index.paths), index.computed, took, index.unreadable)


def nearest(vectors: Float[Tensor, "N E"], query: Float[Tensor, " E"], top: int) -> list[tuple[int, float]]:
    """Places and cosines of the `top` rows most similar to `query`, by one product and a partial sort."""
    best = (vectors @ query).topk(min(top, len(vectors)))
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def image_vector(run: Reads, reader: Reader, path: Path) -> Float[Tensor, " E"]:
    """The unit vector of one image. Raises UserError where it cannot be read."""
    unreadable: dict[str, str] = {}
    paths, vectors = encode(run, reader, [path], unreadable)
    if not paths:
        raise UserError(next(iter(unreadable.values())))
    return vectors[0]


def index_of(run: Reads, reader: Reader, folder: Path) -> Index:
    """The index of a folder: what is known of it, and vectors of what is new.

    Raises UserError where there is no such folder, or no image in it.
    """
    if not folder.exists():
        raise UserError(f"There is no folder '{folder}' to search: give one with images.")
    root = folder if folder.is_dir() else folder.parent  # of a table, the folder it lies in
    with tempfile.TemporaryDirectory() as scratch:
        files = {str(path): stamp(path) for path in expand([root], Path(scratch))}
    kept = run.folder.path / FOLDER / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.safetensors"
    known, old = read_index(kept, stamp(run.folder.weights))
    unreadable = {name: reason for name, (mark, _, reason) in known.items() if reason and files.get(name) == mark}
    same = {name: at for name, (mark, at, _) in known.items() if at >= 0 and files.get(name) == mark}
    new = [Path(name) for name in files if name not in same and name not in unreadable]
    paths, vectors = encode(run, reader, new, unreadable)
    if not same and not paths:
        raise UserError(f"None of the {len(files)} images in {folder} can be read: run `olhar check {folder}`.")
    names = [*same, *map(str, paths)]
    parts = [old[list(same.values())]] if same else []
    whole = torch.cat([*parts, vectors]) if paths else parts[0]
    order = sorted(range(len(names)), key=lambda i: names[i])
    names, whole = [names[i] for i in order], whole[order]
    if new or len(same) < len(known) - len(unreadable):
        entries = {name: [files[name], i, ""] for i, name in enumerate(names)}
        entries |= {name: [files[name], -1, reason] for name, reason in unreadable.items() if name in files}
        write_index(kept, whole, entries, stamp(run.folder.weights))
    return Index(tuple(map(Path, names)), whole, len(paths), unreadable)


def encode(
    run: Reads, reader: Reader, paths: Sequence[Path], unreadable: dict[str, str]
) -> tuple[list[Path], Float[Tensor, "N E"]]:
    """The images that can be read and their unit vectors; the others go to `unreadable`, with the reason."""
    reader.task.eval()
    if not paths:
        return [], torch.empty(0, reader.task.model.image_projection.out_features)
    loader = run.loader([Record(id=str(path), image=path, split="test") for path in paths], BATCH)
    loader.forgiving = True
    found, vectors = [], []
    for batch in loader.epoch(0):
        with torch.inference_mode(), run.computing():
            vectors.append(reader.task.encode_images(to_device(batch, run.device)).cpu())
        found += map(Path, batch["id"])
    unreadable |= loader.unreadable
    return found, torch.cat(vectors) if vectors else torch.empty(0, reader.task.model.image_projection.out_features)


def stamp(path: Path) -> str:
    """Size and time of a file: another stamp, another content."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


Entries = dict[str, list[Any]]  # of each path: its stamp, the row of its vector or -1, why it could not be read


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
