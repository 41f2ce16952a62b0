"""The patches of a filter, and the loss around the weights, on models whose answers are known."""

import numpy as np
import pytest
import torch

from olhar.data.sample import Batch
from olhar.inspection.loss_landscape import landscape, mean_loss, path_plane, random_direction, random_plane
from olhar.inspection.patches import top_patches
from olhar.inspection.receptive_field import receptive_fields
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.tasks.classify import Classify


@pytest.fixture(scope="module")
def task() -> Classify:
    torch.manual_seed(0)
    model = Classifier(encoder("cnn-tiny", 3, (16, 16)), 3)
    return Classify(model, [0.5] * 3, [0.2] * 3, ["a", "b", "c"]).eval()


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 3, 16, 16), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (30,), generator=generator)
    return [
        {"id": [f"{i}" for i in range(s, s + 10)], "image": images[s : s + 10], "label": labels[s : s + 10]}
        for s in (0, 10, 20)
    ]


def test_the_patches_are_the_strongest_and_hold_all_that_excites(task: Classify, batches: list[Batch]):
    layer, filters = "encoder.convs.1", [0, 5, 63]
    field = receptive_fields(task.model, (3, 16, 16))[layer]
    found = top_patches(task, iter(batches), task.model.get_submodule(layer), field, filters, count=4)
    images = torch.cat([batch["image"] for batch in batches])
    seen = {}
    handle = task.model.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.update(maps=o))
    with torch.no_grad():
        task.model(task.normalise(images))
        every = seen["maps"][:, filters].flatten(2).amax(2)
        for column, patches in enumerate(found):
            strongest = every[:, column].topk(4).values
            assert [patch.value for patch in patches] == pytest.approx(strongest.tolist(), rel=1e-5)
            assert len({patch.id for patch in patches}) == 4
            for patch in patches:  # all else may change: the filter does not notice
                top, left, bottom, right = patch.window
                other = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
                other[0, :, top:bottom, left:right] = patch.pixels
                task.model(task.normalise(other))
                y, x = patch.position
                assert float(seen["maps"][0, filters[column], y, x]) == pytest.approx(patch.value, rel=1e-4)
    handle.remove()


def test_the_middle_of_the_landscape_is_the_models_loss_and_the_weights_stay(task: Classify, batches: list[Batch]):
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with torch.no_grad():
        loss = float(task(batches[0])["loss"])
    told: list[float] = []
    surface = landscape(task, batches[0], random_plane(task, 5), tell=told.append)
    assert surface.loss[2, 2] == pytest.approx(loss, rel=1e-6)
    assert surface.centre == pytest.approx(loss, rel=1e-6)
    assert told == sorted(told)
    assert (len(told), told[-1]) == (25, 1)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    again = landscape(task, batches[0], random_plane(task, 5))
    assert np.array_equal(surface.loss, again.loss)
    assert not np.array_equal(surface.loss, landscape(task, batches[0], random_plane(task, 5, seed=9)).loss)


def test_each_point_is_the_loss_there(task: Classify, batches: list[Batch]):
    first, second = random_direction(task, 0), random_direction(task, 1)
    weights = {name: value.detach() for name, value in task.named_parameters()}
    moved = {name: value + 0.5 * first[name] - 1.0 * second[name] for name, value in weights.items()}
    surface = landscape(task, batches[0], random_plane(task, 5))
    with torch.no_grad():
        assert surface.loss[0, 3] == pytest.approx(mean_loss(task, moved, batches[0]), rel=1e-5)


def test_the_plane_of_a_path_holds_it(task: Classify, batches: list[Batch]):
    one, other = random_direction(task, 5), random_direction(task, 6)
    weights = {name: value.detach() for name, value in task.named_parameters()}

    def moved(x: float, y: float) -> dict[str, torch.Tensor]:
        return {name: value + x * one[name] + y * other[name] for name, value in weights.items()}

    path = [moved(1.0, 0.4), moved(0.6, 0.5), moved(0.2, 0.1)]
    plane = path_plane(task, path, 9)
    assert plane.share is not None
    assert plane.share[0] > plane.share[1] > 0
    assert sum(plane.share) == pytest.approx(1)
    assert plane.x.min() < min(plane.path[:, 0].min(), 0)
    assert plane.x.max() > max(plane.path[:, 0].max(), 0)
    for step, (x, y) in zip(path, plane.path.tolist(), strict=True):
        for name, value in weights.items():
            torch.testing.assert_close(value + x * plane.first[name] + y * plane.second[name], step[name])
    surface = landscape(task, batches[0], plane)
    corner = {n: w + plane.x[0] * plane.first[n] + plane.y[-1] * plane.second[n] for n, w in weights.items()}
    with torch.no_grad():
        assert surface.loss[-1, 0] == pytest.approx(mean_loss(task, corner, batches[0]), rel=1e-4)


def test_a_direction_has_each_filters_length(task: Classify):
    direction = random_direction(task, 3)
    for name, value in task.named_parameters():
        if value.ndim > 1:
            lengths = [t.flatten(1).norm(dim=1) for t in (direction[name], value.detach())]
            torch.testing.assert_close(*lengths)
        else:
            assert not direction[name].any()


def test_fewer_images_are_looked_at_where_time_is_short(task: Classify, batches: list[Batch]):
    many: Batch = {"id": ["x"] * 64, "image": torch.zeros(64, 3, 16, 16, dtype=torch.uint8)}
    many["label"] = torch.zeros(64, dtype=torch.int64)
    assert landscape(task, many, random_plane(task, 3), seconds=1e-9).images == 32
