"""What is chosen for tasks about every place: which view of an image, which network, how it learns."""

import pytest

from olhar.config import Config
from olhar.errors import UserError
from olhar.plan import Facts
from olhar.plan_pixels import LEAST_SCALE, LONGEST, PART, resolve_pixels

STREET = {"n_train": 367, "task": "segment", "num_classes": 11, "height": 360, "width": 480, "accelerator": False}


def chosen(changes: dict[str, object] | None = None, **facts: object) -> Config:
    config = Config().with_changes(changes or {})
    corruption = config.data.corruption
    return resolve_pixels(config, Facts(**(STREET | {"corruption": corruption} | facts))).config  # type: ignore[arg-type]


def test_nothing_is_left_open_and_everything_has_a_reason():
    for task in ("segment", "reconstruct"):
        for changes in ({}, {"data.corruption": "noise"}, {"data.corruption": "holes"}):
            plan = resolve_pixels(
                Config().with_changes(changes),
                Facts(**(STREET | {"task": task, "corruption": changes.get("data.corruption", "none")})),  # type: ignore[arg-type]
            )
            config = plan.config
            assert None not in (config.model.name, config.data.image_size, config.data.scale, config.optim.lr)
            assert None not in (config.train.batch_size, config.train.epochs, config.optim.weight_decay)
            assert all(decision.reason for decision in plan.decisions)


def test_an_image_is_seen_whole_unless_too_little_of_it_would_be_left():
    street = chosen({"data.image_size": 180})
    assert street.data.scale == 0.5
    assert chosen().data.scale == pytest.approx(192 / 360, abs=1e-5)
    aerial = chosen(height=3000, width=4000).data
    assert (aerial.scale, aerial.image_size) == (LEAST_SCALE, 192)
    assert chosen(height=64, width=64).data.scale == 1.0


def test_what_is_to_be_undone_keeps_its_scale():
    noise = chosen({"data.corruption": "noise"}, task="reconstruct").data
    assert (noise.scale, noise.image_size) == (1.0, PART)
    large = chosen({"data.corruption": "x2"}, task="reconstruct", height=3000, width=4000).data
    assert large.scale == pytest.approx(LONGEST / 4000)
    assert chosen(task="reconstruct", corruption="pairs", height=3000, width=4000).data.scale == 1.0
    assert chosen({"data.corruption": "holes"}, task="reconstruct").data.image_size == 192


def test_networks_fit_what_they_have_to_do():
    assert (chosen().model.name, chosen().model.decoder) == ("resnet18", "pyramid")
    assert chosen(accelerator=True).model.name == "resnet50"
    assert chosen(height=64, width=64).model.name == "unet-small"
    assert chosen(task="reconstruct").model.name == "autoencoder"
    assert chosen({"data.corruption": "noise"}, task="reconstruct").model.name == "unet-small"


def test_what_a_person_chose_stays():
    asked = {"model.name": "cnn", "data.scale": 0.3, "data.image_size": 100, "optim.lr": 0.01, "train.epochs": 3}
    config = chosen(asked)  # type: ignore[arg-type]
    assert (config.model.name, config.data.scale, config.data.image_size) == ("cnn", 0.3, 100)
    assert (config.optim.lr, config.train.epochs) == (0.01, 3)
    with pytest.raises(UserError, match="is no level of noise"):
        chosen({"data.noise": "loud"}, task="reconstruct")
