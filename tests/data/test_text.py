"""The tokenizer against open_clip's, and its own promises; captions in batches."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from olhar.data.loader import Loader
from olhar.data.sample import Record
from olhar.data.text import STARTS, Tokenizer, byte_letters
from olhar.data.wording import Wording
from olhar.errors import UserError

MERGES = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
CAPTIONS = [
    *("A dog on a sofa", "a dog under a table", "Two dogs run", "the dog's sofa", "a cat and a dog", "a small dog"),
    *(
        "um cão no sofá",
        "um cão pequeno",
        "O cão corre",
        "два кота",
        "два кота спят",
        "猫が寝ている",
        "猫が走る",
        "👍🏽 ok",
    ),
]
HARD = [
    *(
        "a photo of a cat",
        "It's the dogs' ball; they'll play!!",
        "  many   blanks\tand\nlines ",
        "naïve café, 日本語 🙂🙂",
    ),
    *(
        "3 dogs, 25 cats & 1,000 mice",
        "&amp; &lt;b&gt; &amp;amp;",
        "UPPER İSTANBUL straße",
        "“curled” ‘quotes’ it’s",
        "",
    ),
    *("e\u0301 composed", "a<end_of_text>b"[:1], "x" * 300, "!!!! ?!", "word " * 100),
]


@pytest.fixture(scope="module")
def clip() -> Tokenizer:
    return Tokenizer.load(MERGES)


def test_tokens_of_clip_equal_open_clips(clip: Tokenizer):
    reference = SimpleTokenizer()
    assert clip.size == reference.vocab_size == 49408
    assert (clip.start, clip.end, clip.pad) == (reference.sot_token_id, reference.eot_token_id, 0)
    for length in (77, 12):
        assert torch.equal(clip.encode(HARD, length), reference(HARD, length))


def test_a_saved_tokenizer_is_the_same(clip: Tokenizer, tmp_path: Path):
    """Of both kinds, and its signs are found again; other people's files hold padding and truncation too."""
    for tokenizer in (clip, Tokenizer.train(CAPTIONS, 400), Tokenizer.train(CAPTIONS, lower=False)):
        tokenizer.encoding.enable_truncation(4)
        tokenizer.encoding.enable_padding(length=50)
        tokenizer.save(tmp_path / "tokenizer.json")
        tokenizer.encoding.no_truncation()
        tokenizer.encoding.no_padding()
        again = Tokenizer.load(tmp_path / "tokenizer.json")
        assert (again.pad, again.start, again.end, again.size) == (
            *(tokenizer.pad, tokenizer.start, tokenizer.end),
            tokenizer.size,
        )
        assert torch.equal(again.encode(HARD + CAPTIONS, 20), tokenizer.encode(HARD + CAPTIONS, 20))


def test_any_language_comes_back():
    tokenizer = Tokenizer.train(CAPTIONS)
    tokens = tokenizer.encode(CAPTIONS, 40)
    assert tokens.dtype == torch.int64
    assert tokenizer.decode(tokens) == [caption.lower() for caption in CAPTIONS]
    unseen = ["Ελληνικά", "हिन्दी 🦜", "e\u0301"]
    assert tokenizer.decode(tokenizer.encode(unseen, 60)) == ["ελληνικά", "हिन्दी 🦜", "é"]
    assert Tokenizer.train(CAPTIONS, lower=False).decode(tokens[:0]) == []
    cased = Tokenizer.train(CAPTIONS, lower=False)
    assert cased.decode(cased.encode(CAPTIONS, 40)) == CAPTIONS


def test_clip_decodes(clip: Tokenizer):
    assert clip.decode(clip.encode(["A photo  of a Cat", "naïve 🙂"], 20)) == ["a photo of a cat", "naïve 🙂"]


def test_a_word_is_the_same_wherever_it_stands():
    tokenizer = Tokenizer.train(CAPTIONS)
    assert tokenizer.pieces(["dog"])[0] == tokenizer.pieces(["a  DOG"])[0][-1:]
    assert len(tokenizer.pieces(["dog"])[0]) == 1


def test_training_is_deterministic_whatever_the_order():
    one, other = Tokenizer.train(CAPTIONS, 280), Tokenizer.train(CAPTIONS[::-1], 280)
    assert one.encoding.to_str() == other.encoding.to_str()
    assert one.size == 280
    assert Tokenizer.train([], 10).size == 256 + 3  # every byte has a token all the same


def test_a_long_text_is_cut_and_keeps_its_end():
    tokenizer = Tokenizer.train(CAPTIONS)
    whole = tokenizer.encode(["a dog on a sofa"], 12)[0].tolist()
    cut = tokenizer.encode(["a dog on a sofa"], 5)[0].tolist()
    assert whole[0] == cut[0] == tokenizer.start
    assert cut[:4] == whole[:4]
    assert cut[4] == whole[tokenizer.lengths(["a dog on a sofa"])[0] - 1] == tokenizer.end
    assert set(whole[whole.index(tokenizer.end) + 1 :]) == {tokenizer.pad}
    assert tokenizer.encode([], 5).shape == (0, 5)


def test_the_mask_ends_with_the_end_though_pads_may_be_ends_or_words(clip: Tokenizer):
    ours = Tokenizer.train(CAPTIONS)
    texts = ["a dog", "!!", "a dog on a sofa under a table"]
    for tokenizer in (ours, clip, Tokenizer(clip.encoding, clip.end, clip.end, clip.end)):
        lengths = tokenizer.lengths(texts)
        mask = tokenizer.mask(tokenizer.encode(texts, 10))
        assert mask.sum(1).tolist() == [min(n, 10) for n in lengths]
        assert (mask.long().diff(dim=1) <= 0).all()


def test_words_know_their_tokens(clip: Tokenizer):
    text = "A  red cat's unheardofword, \u00e9t\u00e9 &amp; \N{CAT FACE}"
    for tokenizer in (clip, Tokenizer.train(["a red cat", "a red cat's ball"])):
        words, length = tokenizer.words(text, 77), len(tokenizer.pieces([text])[0]) + 2
        assert [word for word, _ in words[:3]] == ["A", "red", "cat"]
        assert [word for word, _ in words if "h" in word] == ["unheardofword"]
        assert "\u00e9t\u00e9" in [word for word, _ in words]
        assert words[-1][0] == "\N{CAT FACE}"
        assert [place for _, places in words for place in places] == list(range(1, length - 1))
        assert tokenizer.words(text, 4) == words[:2]
    assert "&" in [word for word, _ in clip.words(text, 77)]


def test_signs_in_a_caption_are_plain_text(clip: Tokenizer):
    for tokenizer, sign in ((Tokenizer.train(CAPTIONS), "<end>"), (clip, "<|endoftext|>")):
        tokens = tokenizer.encode([f"a {sign} dog"], 30)
        assert (tokens == tokenizer.end).sum() == 1
        assert "dog" in tokenizer.decode(tokens)[0]


def test_the_length_that_fits_nearly_all():
    tokenizer = Tokenizer.train(CAPTIONS)
    short, long = tokenizer.lengths(["a dog", "a dog " * 20])
    assert tokenizer.fitting(["a dog"] * 199 + ["a dog " * 20]) == short
    assert tokenizer.fitting(["a dog"] * 50 + ["a dog " * 20]) == long
    assert tokenizer.fitting(["a dog " * 60]) == 77


def test_what_is_no_tokenizer_is_said(tmp_path: Path):
    with pytest.raises(UserError, match=r"There is no .*nothing\.json"):
        Tokenizer.load(tmp_path / "nothing.json")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not a tokenizer\.json"):
        Tokenizer.load(tmp_path / "a.json")
    (tmp_path / "merges.txt").write_text("#version\na b\n")
    with pytest.raises(UserError, match="holds 1 merges"):
        Tokenizer.load(tmp_path / "merges.txt")
    Tokenizer.train(CAPTIONS).save(tmp_path / "b.json")
    tree = (tmp_path / "b.json").read_text().replace("<end>", "<fin>")
    (tmp_path / "b.json").write_text(tree)
    with pytest.raises(UserError, match="no token for the end"):
        Tokenizer.load(tmp_path / "b.json")
    assert STARTS[0] in json.loads(tree)["model"]["vocab"]


def test_letters_for_bytes_are_those_of_the_reference():
    assert byte_letters() == list(open_clip.tokenizer.bytes_to_unicode().values())


# --- captions in batches ----------------------------------------------------------------------------------------


class Blank:
    """A source of an empty image."""

    def render(self) -> torch.Tensor:
        return torch.zeros(3, 8, 8, dtype=torch.uint8)


RECORDS = [Record(f"{i}", Blank(), "train", captions=tuple(f"{i} {k}" for k in range(1 + i % 3))) for i in range(30)]


def test_evaluation_sees_the_first_caption_and_training_all_of_them():
    tokenizer = Tokenizer.train(CAPTIONS)
    plain = Wording(RECORDS, tokenizer, 8)({}, range(30), 5)
    assert plain["text"] == [f"{i} 0" for i in range(30)]
    assert torch.equal(plain["tokens"], tokenizer.encode(plain["text"], 8))
    assert "tokens" not in Wording(RECORDS)({}, [3], 0)
    drawn = Wording(RECORDS, tokenizer, 8, seed=1, shuffle=True)
    seen = [drawn({}, range(30), epoch) for epoch in range(40)]
    for i, record in enumerate(RECORDS):
        assert {batch["text"][i] for batch in seen} == set(record.captions)
    assert torch.equal(seen[7]["tokens"], tokenizer.encode(seen[7]["text"], 8))
    again = drawn({}, [4, 2], 7)  # by the image, not by the place in the batch
    assert again["text"] == [seen[7]["text"][4], seen[7]["text"][2]]
    other = Wording(RECORDS, seed=2, shuffle=True)
    assert any(other({}, range(30), e)["text"] != seen[e]["text"] for e in range(3))


def test_the_loader_adds_captions_to_its_batches():
    from olhar.data.reading import Preprocess

    tokenizer = Tokenizer.train(CAPTIONS)
    words = Wording(RECORDS, tokenizer, 8, seed=0, shuffle=True)
    loader = Loader(RECORDS, read=Preprocess(8).read, batch_size=7, seed=0, shuffle=True, finish=words)
    for batch in loader.epoch(3):
        assert batch["tokens"].shape == (7, 8)
        places = [int(id) for id in batch["id"]]
        assert batch["text"] == words({}, places, 3)["text"]
