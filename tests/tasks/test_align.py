"""Alignment: the loss is the objective's, answers are ordered by similarity, and all captions of an image count."""

import math
from dataclasses import replace

import pytest
import torch

from olhar import build
from olhar.config import Config
from olhar.data.sample import Batch, Collection, Record
from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.metrics import results
from olhar.models import clip, encoder, text_encoder
from olhar.objectives.contrastive import Contrastive, token_keys
from olhar.plan import Facts
from olhar.plan_text import resolve_text
from olhar.tasks.align import Align, Candidates, CaptionPrediction

TOKENS = torch.tensor([[1, 4, 2, 0], [1, 5, 6, 2], [1, 4, 2, 0]])


def task(fused: bool = False, **settings) -> Align:
    torch.manual_seed(0)
    model = clip(encoder("cnn-tiny", 3, (16, 16)), text_encoder("text-small", 9, 4, 2, layers=1), 8, fused=fused)
    return Align(model, [0.5] * 3, [0.2] * 3, **settings).eval()


def batch() -> Batch:
    image = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"id": ["a", "b", "c"], "image": image, "tokens": TOKENS, "text": ["a cat", "two dogs", "a cat"]}


def test_captions_with_the_same_tokens_are_one():
    keys = token_keys(TOKENS)
    assert keys[0] == keys[2] != keys[1]
    every = torch.cartesian_prod(*[torch.arange(12)] * 3)
    assert len(token_keys(every).unique()) == 12**3


def test_the_loss_knows_that_a_caption_repeats():
    made, data = task(batch_size=64), batch()
    output = made.output(data)
    assert isinstance(output, Contrastive)
    expected = output.nll(torch.tensor([0, 1, 0]))
    assert torch.allclose(made.nll(output, data), expected)
    assert made.losses(output, data)["loss"].item() == pytest.approx(expected.mean().item())
    assert made.losses(output, data)["scale"].item() == pytest.approx(1 / 0.07)
    assert made.chance == math.log(64)


def test_answers_are_ordered_by_similarity():
    made, data = task(), batch()
    vectors = torch.nn.functional.normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    made.candidates = Candidates(tuple(f"text {i}" for i in range(12)), vectors)
    with torch.inference_mode():
        cosines = made.read_images(data).whole @ vectors.T
        answers = made.predict(data)
    for answer, row in zip(answers, cosines, strict=True):
        assert isinstance(answer, CaptionPrediction)
        order = row.argsort(descending=True)[:10]
        assert answer.captions == tuple(f"text {i}" for i in order.tolist())
        assert answer.similarities == pytest.approx(row[order].tolist(), abs=1e-6)
        assert answer.probabilities == pytest.approx((row / 0.07).softmax(0)[order].tolist(), abs=1e-5)
        assert answer.row()["caption"] == answer.captions[0]


def test_every_caption_of_an_image_is_a_candidate():
    made, data = task(), batch()
    data["others"] = [torch.tensor([[1, 7, 2, 0], [1, 8, 2, 0]]), torch.zeros(0, 4, dtype=torch.int64), TOKENS[1:2]]
    with torch.inference_mode():
        found = made.metrics()
        made.update(found, made.output(data), data)
        values = results(found)
    # captions: 4 | 5 6 | 7 | 8; image a has three of the four, b one, c two; 5 6 has two images, and so has 4
    chance = ((3 + 1 + 2) / 4 / 3 + (2 + 2 + 1 + 1) / 3 / 4) / 2
    assert values["recall_1_chance"] == pytest.approx(chance)
    assert values["image_to_text_recall_5"] == 1


def test_with_words_that_look_at_patches_the_nearest_are_ordered_by_them():
    made, data = task(fused=True, batch_size=64), batch()
    fusion = made.model.fusion
    assert fusion is not None
    with torch.inference_mode():
        output = made.output(data)
        image, text = made.read_images(data), made.model.read_text(data["tokens"])
        assert image.parts is not None
        assert text.parts is not None
        assert text.parts.norm(dim=-1).round().tolist() == [[0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
        scores = fusion.scores(image.parts, text.parts)
        made.candidates = Candidates(("a cat", "two dogs"), text.whole[:2], text.parts[:2])
        answers = made.predict(data)
        key = token_keys(TOKENS)
        plain, closer = Contrastive(*output_of(output)), output.closer
        assert closer is not None
        assert torch.allclose(made.nll(output, data), (plain.nll(key) + closer.nll(key)) / 2)
        assert torch.allclose(closer.logits, fusion.scale * scores)
        assert made.model.share == pytest.approx(0.5)  # before the training both scales are the paper's
        both = (scores + image.whole @ text.whole.T) / 2
        for answer, row in zip(answers, both[:, :2], strict=True):
            assert isinstance(answer, CaptionPrediction)
            assert answer.similarities == pytest.approx(row.sort(descending=True).values.tolist(), abs=1e-6)
            assert sum(answer.probabilities) == pytest.approx(1)
        found = made.metrics()
        data["others"] = [TOKENS[1:2], TOKENS[:0], TOKENS[:2]]
        made.update(found, output, data)
        assert 0 <= results(found)["mean_recall_before"] <= 1


def output_of(output: Contrastive) -> tuple:
    return output.image, output.text, output.scale


def test_every_parameter_of_a_fusion_learns_and_one_batch_is_learnt():
    made, data = task(fused=True, batch_size=3), batch()
    data["tokens"] = torch.tensor([[1, 4, 2, 0], [1, 5, 6, 2], [1, 7, 2, 0]])
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = made(data)["loss"]
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
        optimizer.step()
    assert loss.item() < 0.9 < math.log(3)


def test_patches_are_those_of_the_coarsest_map_that_still_shows_where():
    made = task(fused=True).model
    stride = made.image_encoder.strides[made.level]
    assert (16 // stride) ** 2 >= 49
    assert all((16 // coarser) ** 2 < 49 for coarser in made.image_encoder.strides if coarser > stride)
    with pytest.raises(UserError, match="Fusion needs an encoder that gives maps"):
        clip(encoder("linear", 3, (16, 16)), text_encoder("text-small", 9, 4, 2), 8, fused=True)


def collection() -> Collection:
    records = [
        Record(id=f"{i}", image=build.Path("x"), split="train" if i else "val", captions=(f"a {w} cat", f"one {w}"))
        for i, w in enumerate(["red", "green", "blue", "black", "white", "grey"])
    ]
    return Collection(root="r", format="captions", task="align", records=records, explanation="")


def test_text_settings_follow_the_captions_and_published_towers_their_own():
    from olhar import captioning

    data, plain = collection(), Config().with_changes({"model.text": "text-small", "model.width": 32})
    tokenizer = captioning.make_tokenizer(data, plain)
    assert tokenizer is not None
    facts = captioning.text_facts(plain, data, tokenizer)
    assert facts["text"]["vocabulary"] == tokenizer.size
    assert facts["text"]["length"] == max(tokenizer.lengths(["a green cat", "a black cat"]))
    assert captioning.kept_captions(data.split("train"))[0].startswith("a green")
    published = Config().with_changes({"model.name": "clip-vit-b32"})
    assert captioning.text_facts(published, data, tokenizer)["text"]["length"] == 77
    assert captioning.image_tower("clip-vit-b32") == ("vit-b32", {"pre_norm": True, "activation": "quick_gelu"})
    with pytest.raises(UserError, match=r"give its tokenizer\.json"):
        captioning.make_tokenizer(data, published.with_changes({"model.weights": "x.safetensors"}))
    assert isinstance(tokenizer, Tokenizer)


def test_the_plan_has_large_batches_and_refuses_what_makes_no_sense():
    facts = Facts(n_train=1500, task="align", num_classes=0, height=72, width=72, accelerator=False)
    plan = resolve_text(Config(), facts)
    assert (plan.config.train.batch_size, plan.config.data.image_size) == (128, 64)
    assert plan.config.data.flip is False
    assert plan.config.train.epochs == 60  # 100 would show 150,000 pairs, and few are known by heart before
    timed = Config().with_changes({"train.budget": "1h"})
    assert resolve_text(timed, facts).config.train.epochs == 60
    assert resolve_text(timed, replace(facts, n_train=30_000)).config.train.epochs is None
    with pytest.raises(UserError, match="keeps random weights"):
        resolve_text(Config().with_changes({"model.freeze": "image"}), facts)
