"""Images without labels, to reconstruct: each is its own target."""

from olhar.config import DataConfig
from olhar.data import mask_folders, pairs
from olhar.data.listing import Candidate, Listing, count, join, kinds, split_above
from olhar.data.pairing import INSTANCES
from olhar.data.sample import SPLITS, Collection, Record, Split

CAN_DO = (
    "Without labels --task reconstruct learns from the images themselves: to compress them, to undo noise, to add "
    "colour, to fill holes, to enlarge."
)


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """Every image below the folder, where that is asked for and the images do not come in pairs."""
    if config.format != "plain" and (config.task != "reconstruct" or pairs.lay_out(listing.images)):
        return []
    if not listing.images:
        return []
    what = f"images alone ({len(listing.images):,} of them)"
    return [Candidate("plain", what, listing.images[0], "--data.format plain", lambda: read(listing))]


def read(listing: Listing) -> Collection:
    """Every image that is not a mask of another; its split is the first that one of its folders names."""
    names, masks = without_masks(listing)
    found: list[Split | None] = [split_above(name) for name in names]
    if "train" not in found:  # a folder called test among others is no split
        found = [None] * len(names)
    splits: list[Split] = ["train" if split is None else split for split in found]
    records = [Record(name, listing.root / name, split) for name, split in zip(names, splits, strict=True)]
    present = [split for split in SPLITS if split in splits]
    by = f"; splits by the folders {join([f'{split}/' for split in present])}" if len(present) > 1 else ""
    notes = [f"{count(len(masks), 'mask')} left out (first: {masks[0]})."] if masks else []
    return Collection(
        root=str(listing.root),
        format="plain",
        task="reconstruct",
        records=records,
        explanation=f"{count(len(names), 'image')} ({kinds(names)}), each to be reconstructed{by}",
        notes=tuple(notes),
        split_origin=dict.fromkeys(present, "their folders" if by else "all images"),
    )


def without_masks(listing: Listing) -> tuple[list[str], list[str]]:
    """The images of a folder, and the masks among them."""
    found = [layout for layout in mask_folders.lay_out(listing.images) if mask_folders.look_like_masks(listing, layout)]
    masks = {mask.name for layout in found for _, mask in layout.found.pairs}
    masks |= {mask.name for layout in found for mask in layout.found.second_left}
    if masks:
        masks |= {name for name in listing.images if mask_folders.in_folder(name, INSTANCES)}
    return [name for name in listing.images if name not in masks], sorted(masks)
