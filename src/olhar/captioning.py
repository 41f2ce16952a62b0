"""What a run needs to know of its captions: a tokenizer, and how large the model that reads them has to be.

Both are settled once, from the training captions, and kept in the run folder.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from olhar.config import Config
from olhar.data.captions import CAPTIONED
from olhar.data.sample import Collection, Record
from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.models import CLIPS, clip, encoder, text_encoder
from olhar.models.clip import Clip

# of the pixels of OpenAI's training images, which those of open_clip took over
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
MOST_KEPT = 20_000  # training captions that a run folder keeps, to describe new images with: 1 MB of text
# Words hidden and steps left out in training: few captions are soon known by heart.
DROPS = {"drop_words": 0.1, "drop_path": 0.1}
# px: of larger images a caption says what they show and not every line of it, and a stem that shrinks them at once
# leaves time for four times as many
DETAILED = 32
CLIP_LENGTH = 77  # tokens that published ones have positions for


def make_tokenizer(collection: Collection, config: Config) -> Tokenizer | None:
    """The one that is given, or one learnt from the training captions; None where there is nothing to read.

    Raises UserError where published weights would be given words they do not know.
    """
    if collection.task not in CAPTIONED or not all(record.captions for record in collection.records):
        return None
    if config.data.tokenizer:
        return Tokenizer.load(config.data.tokenizer)
    if config.model.name in CLIPS and config.model.weights:
        raise UserError(
            f"The weights of {config.model.name} know only the tokens they were trained with: give its "
            "tokenizer.json, or its list of merges, with --data.tokenizer."
        )
    return Tokenizer.train([caption for record in collection.split("train") for caption in record.captions])


def kept_captions(records: Sequence[Record]) -> list[str]:
    """The captions of a training, each once, the most frequent first; of too many the rest is left out."""
    counts = Counter(caption for record in records for caption in record.captions)
    return [caption for caption, _ in counts.most_common(MOST_KEPT)]


def text_facts(config: Config, collection: Collection, tokenizer: Tokenizer) -> dict[str, Any]:
    """What run.json's "model" says besides the image tower: the text tower, the common space, what is frozen."""
    name = config.model.name or ""
    published = CLIPS.get(name, {})
    captions = [caption for record in collection.split("train") for caption in record.captions]
    length = CLIP_LENGTH if published else tokenizer.fitting(captions)
    text = {
        "name": published.get("text") or config.model.text,
        "vocabulary": tokenizer.size,
        "length": length,
        "start": tokenizer.start,
        "end": tokenizer.end,
        "args": ({} if published else DROPS) | published.get("text_args", {}) | dict(config.model.text_args),
    }
    return {
        "text": text,
        "width": published.get("width") or config.model.width,
        "frozen": config.model.freeze,
        "fusion": config.model.fusion,
    }


def image_tower(name: str) -> tuple[str, dict[str, Any]]:
    """Key of MODELS and arguments of a name that may be that of a published CLIP."""
    published = CLIPS.get(name)
    return (published["image"], dict(published["image_args"])) if published else (name, {})


def pixels(name: str | None) -> tuple[list[float], list[float]] | None:
    """Mean and deviation of the pixels that a published CLIP was trained with; None for other names."""
    return (list(CLIP_MEAN), list(CLIP_STD)) if name in CLIPS else None


def make_clip(facts: dict[str, Any]) -> Clip:
    """The model that run.json's "model" describes, with new weights."""
    text = facts["text"]
    image = encoder(facts["name"], facts["in_channels"], tuple(facts["image_size"]), **facts["args"])
    reader = text_encoder(text["name"], text["vocabulary"], text["length"], text["end"], **text["args"])
    return clip(image, reader, facts["width"], facts["frozen"], facts.get("fusion", "none") != "none")
