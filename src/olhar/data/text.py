"""Captions as numbers: a byte-pair encoding learnt from the user's own captions, or one that is given.

The encoding works on bytes, so that no language, sign or emoji is unknown to it (Sennrich et al. 2016,
arXiv:1508.07909; on bytes, Radford et al. 2019). The library `tokenizers` does the work.

Shapes: N texts, L tokens.
"""

import gzip
import html
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Int64
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Encoding
from torch import Tensor

from olhar.errors import UserError

SIZE = 4096  # words and pieces of words: enough for the captions of some ten thousand images, and a small table
SHARE_WHOLE = 0.99  # of the captions that must fit; the longest few would make all others mostly padding
MOST_TOKENS = 77  # the length of OpenAI's CLIP: the cost of attention grows with its square
# What tokenizers call the beginning and the end of a text, and what fills up shorter ones. Ours come first.
STARTS = ("<start>", "<|startoftext|>", "<start_of_text>", "<s>", "[CLS]", "<bos>", "<|begin_of_text|>")
ENDS = ("<end>", "<|endoftext|>", "<end_of_text>", "</s>", "[SEP]", "<eos>", "<|end_of_text|>")
PADS = ("<pad>", "[PAD]", "<|pad|>")
SPACES = Regex(r"\s+")

# OpenAI's CLIP (Radford et al. 2021, arXiv:2103.00020)
CLIP_MERGES = 49152 - 256 - 2  # of the 262,000 of its file; what is left of 49,152 are two for each byte, less two
CLIP_WORD_END = "</w>"
CLIP_WORDS = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
CURLED = (("[\u02bc\u2018-\u201b]", "'"), ("[\u201c-\u201f]", '"'))  # quotes that it was never shown


class Tokenizer:
    """Texts to tokens and back. Make one with `train`, `load` or `from_merges`.

    Attributes:
        pad, start, end: ids of what fills up a text, and stands before and after it. In a foreign vocabulary `pad`
            may be a word or the end too: `mask` says what belongs to a text.
        size: how many tokens there are; ids are 0 to size - 1.
    """

    def __init__(self, encoding: Encoding, pad: int, start: int, end: int):
        self.encoding, self.pad, self.start, self.end = encoding, pad, start, end
        self.size = max(encoding.get_vocab(with_added_tokens=True).values()) + 1
        encoding.no_truncation()
        encoding.no_padding()
        encoding.encode_special_tokens = True  # a caption that says <end> does not end there
        self.word_end = getattr(encoding.model, "end_of_word_suffix", None) or ""

    @classmethod
    def train(cls, captions: Sequence[str], size: int = SIZE, lower: bool = True) -> "Tokenizer":
        """Learn which pieces are common in `captions`: at most `size` tokens, 256 bytes and 3 signs among them.

        The same captions give the same tokenizer, in any order. Texts are made NFC, blanks single, and, unless
        `lower` is False, letters small; a word has the same tokens wherever it stands.
        """
        encoding = Encoding(models.BPE())
        changes = [normalizers.NFC(), normalizers.Replace(SPACES, " "), normalizers.Strip()]
        encoding.normalizer = normalizers.Sequence([*changes, normalizers.Lowercase()] if lower else changes)
        encoding.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        encoding.decoder = decoders.ByteLevel()
        signs = [PADS[0], STARTS[0], ENDS[0]]
        trainer = trainers.BpeTrainer(
            vocab_size=max(size, 256 + len(signs)),
            min_frequency=2,  # what occurs once teaches nothing about a whole that its parts do not
            special_tokens=signs,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        encoding.train_from_iterator(sorted(captions), trainer)
        return cls(encoding, *range(len(signs)))  # special tokens get the first ids

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """A `tokenizer.json`, of this project or any other, or CLIP's list of merges (.txt, .gz).

        Raises UserError where the file is absent or neither, and where nothing in it marks the end of a text.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(
                f"There is no {path}: give a tokenizer.json, or leave it out to learn one from the captions."
            )
        if path.suffix != ".json":
            return cls.from_merges(path)
        try:
            encoding = Encoding.from_file(str(path))
        except Exception as error:  # the library raises plain Exception for whatever it finds
            raise UserError(
                f"{path} is not a tokenizer.json ({str(error)[:80]}): give one in Hugging Face's layout."
            ) from error
        return cls(encoding, *special_ids(encoding, path))

    @classmethod
    def from_merges(cls, path: str | Path) -> "Tokenizer":
        """CLIP's tokenizer from its list of merges, packed or not: `bpe_simple_vocab_16e6.txt.gz`, or `merges.txt`.

        Tokens equal OpenAI's, padding with 0 included. Text whose letters were garbled is not mended, as theirs is.
        Raises UserError for any other file.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
            lines = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8").split("\n")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read as a list of merges ({error}): get it again.") from error
        merges = [(a, b) for a, b in (line.split() for line in lines[1 : CLIP_MERGES + 1] if line.count(" ") == 1)]
        if len(merges) < CLIP_MERGES:
            raise UserError(f"{path} holds {len(merges):,} merges where CLIP has {CLIP_MERGES:,}: give its own file.")
        letters = byte_letters()
        words = [*letters, *(letter + CLIP_WORD_END for letter in letters), *(a + b for a, b in merges)]
        vocabulary = {word: i for i, word in enumerate([*words, STARTS[1], ENDS[1]])}
        encoding = Encoding(models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix=CLIP_WORD_END))
        straight = [normalizers.Replace(Regex(curled), plain) for curled, plain in CURLED]
        changes = [normalizers.NFC(), *straight, normalizers.Replace(SPACES, " "), normalizers.Lowercase()]
        encoding.normalizer = normalizers.Sequence(changes)
        split = pre_tokenizers.Split(CLIP_WORDS, behavior="removed", invert=True)
        bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        encoding.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_of])
        encoding.decoder = decoders.ByteLevel()
        encoding.add_special_tokens([STARTS[1], ENDS[1]])
        return cls(encoding, *special_ids(encoding, path))

    def save(self, path: str | Path) -> None:
        """Write a `tokenizer.json` that `load` reads."""
        self.encoding.save(str(path))

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without start, end and padding."""
        return [found.ids for found in self.encoding.encode_batch([*map(self.plain, texts)], add_special_tokens=False)]

    def plain(self, text: str) -> str:
        """A text without signs like &amp;, for CLIP, which was given those of web pages, some twice over."""
        return html.unescape(html.unescape(text)) if self.word_end else text

    def words(self, text: str, length: int) -> list[tuple[str, list[int]]]:
        """The words and signs of a text in their order, and of each the places of its pieces among the tokens that
        `encode` gives."""
        plain = self.plain(text)
        found = self.encoding.encode(plain, add_special_tokens=False)
        words: dict[int | None, tuple[int, int, list[int]]] = {}
        for place, (word, (start, end)) in enumerate(zip(found.word_ids, found.offsets, strict=True), start=1):
            if place < length - 1:  # the rest is cut before its end token
                first, last, places = words.get(word, (start, end, []))
                # a letter of several bytes may be in several pieces
                words[word] = min(first, start), max(last, end), [*places, place]
        return [(plain[first:last].strip(), places) for first, last, places in words.values()]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, with start and end."""
        return [len(ids) + 2 for ids in self.pieces(texts)]

    def fitting(self, texts: Sequence[str], most: int = MOST_TOKENS) -> int:
        """The least L for which 99% of the texts are whole, at most `most`."""
        lengths = sorted(self.lengths(texts))
        return min(most, lengths[min(len(lengths) - 1, int(SHARE_WHOLE * len(lengths)))])

    def encode(self, texts: Sequence[str], length: int) -> Int64[Tensor, "N L"]:
        """Start, the text, end, then padding; a text that is too long is cut before its end token."""
        assert length >= 2, "a text needs room for its start and its end"
        tokens = torch.full((len(texts), length), self.pad, dtype=torch.int64)
        for row, ids in zip(tokens, self.pieces(texts), strict=True):
            ids = [self.start, *ids[: length - 2], self.end]
            row[: len(ids)] = torch.tensor(ids)
        return tokens

    def mask(self, tokens: Int64[Tensor, "N L"]) -> Bool[Tensor, "N L"]:
        """True from the start token to the end token, False on the padding."""
        ends = tokens == self.end
        ends[:, 0] = False  # some vocabularies have one sign for both
        return (ends.cumsum(1) - ends.long()) == 0

    def decode(self, tokens: Int64[Tensor, "N L"]) -> list[str]:
        """The texts, as far as they were encoded: without what was cut off, and as `train` changed them."""
        inside = self.mask(tokens) & (tokens != self.start) & (tokens != self.end)
        rows = [row[keep].tolist() for row, keep in zip(tokens, inside, strict=True)]
        texts = self.encoding.decode_batch(rows, skip_special_tokens=False)
        return [(text.replace(self.word_end, " ") if self.word_end else text).strip() for text in texts]


def special_ids(encoding: Encoding, path: Path) -> tuple[int, int, int]:
    """The ids of pad, start and end. Raises UserError where no known name marks an end."""

    def first(names: Sequence[str]) -> int | None:
        return next((i for name in names if (i := encoding.token_to_id(name)) is not None), None)

    end = first(ENDS)
    if end is None:
        known = ", ".join(ENDS)
        raise UserError(f"{path} has no token for the end of a text: add one of {known}, or leave the file out.")
    start, pad = first(STARTS), first(PADS)
    if pad is None:  # OpenAI's fills up with zeros; others without a name for it repeat the end
        pad = 0 if getattr(encoding.model, "end_of_word_suffix", None) == CLIP_WORD_END else end
    return pad, end if start is None else start, end


def byte_letters() -> list[str]:
    """A printable letter for each byte, in the order of CLIP's vocabulary: those that print as they are come first,
    the others are letters from 256 on."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, printing), *(chr(256 + n) for n in range(256 - len(printing)))]
