"""Attention maps: the weights are those that ran, a rollout is a product of what blocks mix, distances are exact."""

import pytest
import torch

from olhar.data.sample import Batch
from olhar.errors import UserError
from olhar.inspection.attention import attention_weights_of, entropy, looked_at, mean_distance, rollout
from olhar.inspection.instrument import Subject
from olhar.inspection.instruments.attention import ATTENTION, chosen, transformer
from olhar.models.classifier import Classifier
from olhar.models.vit import ViT
from olhar.tasks.classify import Classify


def vit(pool: str = "token") -> ViT:
    torch.manual_seed(0)
    return ViT(3, (8, 12), patch=4, width=16, depth=3, heads=2, pool=pool).eval()  # type: ignore[arg-type]


def classifier() -> Classify:
    return Classify(Classifier(vit(), 3), (0.5,) * 3, (0.25,) * 3, ("a", "b", "c"))


@pytest.mark.notes("images as tokens")
def test_the_weights_are_those_that_ran():
    model = vit()
    seen = {}
    block = model.blocks[1].attention
    handle = block.register_forward_hook(lambda m, i, o: seen.update(tokens=i[0], out=o))
    with torch.no_grad(), attention_weights_of(model) as weights:
        model(torch.randn(2, 3, 8, 12))
    handle.remove()
    assert list(weights) == [f"blocks.{i}.attention" for i in range(3)]
    own = weights["blocks.1.attention"]
    assert own.shape == (2, 2, 7, 7)
    value = block.split(block.value(seen["tokens"]))
    torch.testing.assert_close(block.out((own @ value).transpose(1, 2).flatten(2)), seen["out"])
    with torch.no_grad(), attention_weights_of(model) as after:
        pass
    assert not after, "hooks are gone"


def test_a_rollout_is_a_product_of_what_each_block_mixes():
    weights = [torch.rand(1, 2, 5, 5).softmax(-1) for _ in range(3)]
    rolled = rollout(weights)
    torch.testing.assert_close(rolled.sum(-1), torch.ones(1, 5))
    first, second, third = (0.5 * w.mean(1)[0] + 0.5 * torch.eye(5) for w in weights)
    torch.testing.assert_close(rolled[0], third @ second @ first)
    nobody_looks_around = [torch.eye(5).expand(1, 2, 5, 5)] * 4
    torch.testing.assert_close(rollout(nobody_looks_around)[0], torch.eye(5))


def test_what_the_whole_image_looks_at():
    weights = torch.rand(2, 7, 7).softmax(-1)
    torch.testing.assert_close(looked_at(weights, (2, 3), True)[1].flatten(), weights[1, 0, 1:])
    patches = torch.rand(6, 6).softmax(-1)
    torch.testing.assert_close(looked_at(patches, (2, 3), False).sum(), torch.tensor(1.0))


def test_distance_and_entropy():
    grid, tokens = (2, 2), 4
    alike = torch.full((1, 1, tokens, tokens), 0.25)
    # of each patch: itself 0, two neighbours 1, the diagonal √2
    torch.testing.assert_close(mean_distance(alike, grid, False), torch.tensor([(2 + 2**0.5) / 4]))
    torch.testing.assert_close(entropy(alike), torch.tensor([4.0]).log())
    itself = torch.eye(tokens)[None, None]
    assert mean_distance(itself, grid, False).item() == 0
    assert entropy(itself).item() == 0


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, "blocks.2.attention"),
        ("encoder.blocks.0", "blocks.0.attention"),
        ("encoder.blocks.1.attention", "blocks.1.attention"),
    ],
)
def test_a_block_is_chosen_by_its_name(asked: str | None, given: str):
    subject = Subject(classifier(), (3, 8, 12), lambda: iter(()), asked)
    found = transformer(subject.model)
    assert found is not None
    names = [f"blocks.{i}.attention" for i in range(3)]
    assert chosen(subject, found[1], found[0], names) == given


def test_the_instrument_gives_values_and_a_figure():
    batch: Batch = {"id": ["x", "y"], "image": torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)}
    subject = Subject(classifier(), (3, 8, 12), lambda: iter([batch]))
    assert ATTENTION.fits(subject) is None
    values = ATTENTION.look(subject)
    assert values.layer == "blocks.2.attention"
    assert values.heads.shape == (2, 2, 2, 3)
    assert values.rolled.shape == (2, 2, 3)
    columns, rows = values.table()
    assert len(rows) == 3 * 2
    assert {len(row) for row in rows} == {len(columns)}
    assert len(ATTENTION.figure(values).axes) == 2 * (2 + 2)
    assert ATTENTION.figure(values, dark=True).get_facecolor() != ATTENTION.figure(values).get_facecolor()
    assert ATTENTION.reading.count("\n") == 1


def test_a_part_without_attention_is_refused():
    subject = Subject(classifier(), (3, 8, 12), lambda: iter(()), "encoder.patches")
    with pytest.raises(UserError, match=r"no attention to show: try --layer encoder\.blocks\.2"):
        chosen(subject, vit(), "encoder", ["blocks.2.attention"])
