"""What the notes say of the inside of models, on models: Figures 2.4b, 2.5, 2.6, 2.7, and the cost of Algorithm 1."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from compare import close
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import olhar
from olhar.data.sample import Batch
from olhar.inspection.gradient_flow import fresh, gradient_norms
from olhar.inspection.instrument import Subject
from olhar.inspection.instruments.timing import TIMING
from olhar.inspection.loss_landscape import landscape, random_plane
from olhar.inspection.patches import top_patches
from olhar.inspection.receptive_field import receptive_fields
from olhar.inspection.timing import time_of_step
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.tasks.classify import Classify


def task(name: str, side: int, **arguments: object) -> Classify:
    torch.manual_seed(0)
    body = encoder(name, 3, (side, side), **arguments)
    return Classify(Classifier(body, 2), [0.5] * 3, [0.25] * 3, ["a", "b"]).eval()


def batch(count: int, side: int) -> Batch:
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(1))
    return {"id": [str(i) for i in range(count)], "image": pixels.to(torch.uint8), "label": torch.arange(count) % 2}


@pytest.fixture(scope="module")
def deep() -> Classify:
    """Twenty-four residual blocks of few channels."""
    return task("resnet18", 16, width=4, stem="small", blocks=(6, 6, 6, 6))


@pytest.mark.notes("Fig 2.4b")
def test_figure_2_4_a_linear_model_of_the_features_is_as_right_as_the_model(trained: Path):
    """Body and linear head: another linear classifier, learnt on the same features, does what the head does."""
    seen = olhar.load(trained).inspect("representation").values
    assert seen.model == pytest.approx(seen.probe, abs=0.15)
    assert seen.probe > 0.8
    assert seen.components.shape == (len(seen.ids), 2)
    assert seen.components.std(0)[0] >= seen.components.std(0)[1] > 0


@pytest.mark.notes("Fig 2.5", "C13")
def test_figure_2_5_a_patch_alone_excites_its_filter_as_much():
    """The nine of each filter, cut to its receptive field: shown alone, away from the border they do the same."""
    seen = task("cnn-tiny", 20, widths=(4, 6), pools=0)
    layer, filters = "encoder.convs.1", [0, 3, 5]
    field = receptive_fields(seen.model, (3, 20, 20))[layer]
    assert field is not None
    assert field.size == (5, 5)
    found = top_patches(seen, iter([batch(30, 20)]), seen.model.get_submodule(layer), field, filters)
    answers: dict[str, torch.Tensor] = {}
    seen.model.get_submodule(layer).register_forward_hook(lambda *call: answers.update(maps=call[2]))
    inside = 0
    for number, patches in zip(filters, found, strict=True):
        assert len(patches) == 9
        assert [p.value for p in patches] == sorted((p.value for p in patches), reverse=True)
        for patch in patches:
            if patch.pixels.shape[1:] == (5, 5):
                with torch.no_grad():
                    seen.model(seen.normalise(patch.pixels[None]))
                close(answers["maps"][0, number, 2, 2], patch.value, 1e-4)
                inside += 1
    assert inside > 9


@pytest.mark.notes("Fig 2.6")
def test_figure_2_6_gradients_reach_the_first_block_by_the_skips(deep: Classify):
    """Without skips they die out on the way through twenty-four blocks, or with normalisation grow a hundredfold."""
    images = batch(8, 16)
    first, last = "encoder.layer1.0.conv1.weight", "encoder.layer4.5.conv2.weight"
    norms = {
        (skips, normalised): gradient_norms(fresh(deep, skips, normalised), images)
        for skips in (True, False)
        for normalised in (True, False)
    }
    assert norms[False, False][first] < 1e-4 * norms[True, False][first]
    growth = {skips: norms[skips, True][first] / norms[skips, True][last] for skips in (True, False)}
    assert growth[True] < 0.2 * growth[False]
    twin = fresh(deep)
    twin(images)["loss"].backward()
    weights = {name: weight for name, weight in twin.model.named_parameters() if weight.ndim > 1}
    assert list(norms[True, True]) == list(weights)  # by depth
    shares = [weights[n].grad.norm() / weights[n].detach().norm() for n in (first, last)]  # type: ignore[union-attr]
    close(torch.stack(shares), [norms[True, True][n] for n in (first, last)], 1e-4)


@pytest.mark.notes("Fig 2.7")
@pytest.mark.parametrize("skips", [True, False])
def test_figure_2_7_the_middle_is_the_models_loss_with_and_without_skips(skips: bool):
    seen = fresh(task("resnet18", 16, width=4, stem="small", blocks=(1, 1, 1, 1)), skips).eval()
    images = batch(8, 16)
    with torch.no_grad():
        loss = float(seen(images)["loss"])
    surface = landscape(seen, images, random_plane(seen, points=3))
    close([surface.loss[1, 1], surface.centre], [loss, loss], 1e-5)
    assert np.array_equal(surface.loss, landscape(seen, images, random_plane(seen, 3)).loss)  # seeded
    finer = landscape(seen, images, random_plane(seen, 5))
    close(surface.loss[1], finer.loss[2, ::2], 1e-5)


class Slow(torch.autograd.Function):
    """The identity, which takes 10 ms, and 25 ms back."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        time.sleep(0.01)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        time.sleep(0.025)
        return gradient


@pytest.mark.notes("backward is the dearest step")
def test_step_4_of_algorithm_1_is_the_dearest(deep: Classify):
    """In multiply-adds twice the forward; and what a clock says of a model that takes known times."""
    images = batch(4, 16)
    with FlopCounterMode(display=False) as counter:
        loss = deep(images)["loss"]
        forward = counter.get_total_flops()
        loss.backward()
    assert counter.get_total_flops() - forward == pytest.approx(2 * forward, rel=0.05)
    deep.zero_grad()
    slow = task("linear", 16)
    slow.model.head.register_forward_hook(lambda *call: Slow.apply(call[2]))
    before = {name: value.clone() for name, value in slow.state_dict().items()}
    taken = time_of_step(slow, images, repeats=3)
    assert taken.forward >= 0.01
    assert taken.backward >= 0.025
    assert taken.update > 0
    assert taken.images == 4
    assert all(torch.equal(value, before[name]) for name, value in slow.state_dict().items())


def test_the_instrument_shows_shares_of_the_step(deep: Classify):
    images = batch(8, 16)
    values = TIMING.look(Subject(deep, (3, 16, 16), lambda: iter([images])))
    _, rows = values.table()
    assert [row[0] for row in rows] == ["forward", ".backward()", "update"]
    assert sum(row[2] for row in rows) == pytest.approx(1, abs=0.002)
