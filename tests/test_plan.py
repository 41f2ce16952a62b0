"""What a plan chooses where nobody did, and that it never overrules a person."""

import pytest

from olhar.config import Config, all_settings
from olhar.errors import UserError
from olhar.options import documentation
from olhar.plan import USED_BY, Candidate, Facts, candidates, ema_decay, pick, refuse_unused, resolve
from olhar.tasks import TASKS

CIFAR = {"n_train": 45_000, "task": "classify", "num_classes": 10, "height": 32, "width": 32, "accelerator": False}
PHOTOS = CIFAR | {"n_train": 900, "height": 480, "width": 640}


def chosen(config: Config | None = None, **facts: object) -> Config:
    return resolve(config or Config(), Facts(**(CIFAR | facts))).config  # type: ignore[arg-type]


def test_nothing_is_left_open():
    for facts in (CIFAR, PHOTOS, CIFAR | {"height": 8, "width": 8, "upright": True}, PHOTOS | {"accelerator": True}):
        plan = resolve(Config(), Facts(**facts))
        config = plan.config
        settled = (config.model.name, config.data.image_size, config.train.batch_size, config.train.epochs)
        assert None not in (*settled, config.optim.lr, config.optim.weight_decay, config.optim.clip, config.data.flip)
        assert "auto" not in (config.data.augment, config.optim.name)
        assert all(decision.reason for decision in plan.decisions)


def test_what_a_person_chose_stays():
    asked = {"model.name": "mlp", "optim.lr": 0.3, "train.batch_size": 7, "train.epochs": 2, "data.flip": True}
    plan = resolve(Config().with_changes(asked), Facts(**(CIFAR | {"upright": True})))
    settled = plan.config.to_dict()
    for setting, value in asked.items():
        section, name = setting.split(".")
        assert settled[section][name] == value
        assert next(d.reason for d in plan.decisions if d.setting == setting) == "as asked"


def test_images_decide_the_size_and_the_augmentation():
    assert chosen().data.image_size == 32
    assert chosen(**PHOTOS).data.image_size == 128
    assert chosen(**PHOTOS | {"accelerator": True}).data.image_size == 224
    assert chosen(**PHOTOS | {"height": 100, "width": 150}).data.image_size == 96
    few = [chosen(height=s, width=s, n_train=2000).data.augment for s in (8, 32, 300)]
    assert few == ["tiny", "small", "natural"]
    assert chosen(n_train=45_000).data.augment == "mild"  # shown ten times
    assert chosen(Config().with_changes({"train.epochs": 50})).data.augment == "small"
    assert chosen(upright=True).data.flip is False


def test_few_images_get_small_batches():
    for n in (10, 100, 1000, 45_000):
        batch = chosen(n_train=n).train.batch_size
        assert batch is not None
        assert batch <= max(8, n / 16)
    assert chosen(world=3).train.batch_size == 510  # what three processes can share evenly


def test_settings_of_an_optimizer_belong_together():
    resnet = {"model.name": "resnet18"}
    sgd = chosen(Config().with_changes(resnet)).optim
    assert (sgd.name, sgd.weight_decay, sgd.clip) == ("sgd", 5e-4, 0.0)
    adam = chosen(Config().with_changes(resnet | {"optim.name": "adamw"})).optim
    assert (adam.name, adam.weight_decay, adam.clip) == ("adamw", 0.05, 1.0)
    assert chosen(task="regress").optim.clip == 1.0  # its first errors may be of any size
    assert chosen(pretrained=True, **PHOTOS).optim.name == "adamw"
    # the linear scaling rule
    half = chosen(Config().with_changes(resnet | {"train.batch_size": 64})).optim.lr
    assert half == pytest.approx(0.05)


def test_a_transformer_from_random_weights_has_a_recipe_of_its_own():
    vit = chosen(Config().with_changes({"model.name": "vit-ti4"}))
    assert (vit.optim.name, vit.optim.clip, vit.train.batch_size, vit.data.augment) == ("muon", 1.0, 128, "mild")
    assert chosen(Config().with_changes({"model.name": "vit-b16"}), pretrained=True, **PHOTOS).optim.name == "adamw"


def test_a_budget_takes_the_strongest_model_that_gets_enough_passes():
    options = [Candidate("large", 32, 30), Candidate("middle", 32, 10), Candidate("small", 32, 0)]
    speeds = {"large": 100.0, "middle": 400.0, "small": 2000.0}
    for seconds, name in ((20_000, "large"), (1000, "small"), (3000, "middle")):
        picked = pick(options, 60_000, seconds, lambda o: speeds[o.model])
        assert picked.model == name, (seconds, picked)
        assert picked.passes == pytest.approx(seconds * speeds[name] / 60_000)
        assert "passes" in picked.reason


def test_candidates_fit_the_images():
    assert [c.model for c in candidates(Facts(**CIFAR | {"height": 8, "width": 8}))] == ["cnn-tiny"]
    assert {c.image_size for c in candidates(Facts(**CIFAR))} == {32}
    assert {c.image_size for c in candidates(Facts(**PHOTOS))} == {224, 128, 96}
    assert {c.image_size for c in candidates(Facts(**PHOTOS), asked=160)} == {160}


def test_the_average_remembers_a_fiftieth_of_the_run():
    assert ema_decay(5000)[0] == pytest.approx(0.99)
    assert ema_decay(10)[0] == 0.5
    assert ema_decay(10**9)[0] == 0.9999


def test_a_setting_that_the_task_does_not_use_is_refused():
    changed: dict[str, object] = {
        "model.decoder": "unet",
        "model.detector_args": {"width": 32},
        "objective.box_loss": "giou",
        "objective.variance": "learned",
        "data.noise": "5-50",
    }
    for setting, value in changed.items():
        config = Config().with_changes({setting: value})
        for task in TASKS:
            if task in USED_BY[setting]:
                refuse_unused(config, task)
            else:
                option = setting.replace("_", "-")
                with pytest.raises(UserError, match=f"--{option} is for .* and this is to {task}: leave it out"):
                    refuse_unused(config, task)
    for task in TASKS:
        refuse_unused(Config().with_changes({"optim.lr": 0.1, "data.flip": False}), task)


def test_every_setting_that_is_said_to_be_for_a_task_is_refused_elsewhere():
    said = {name for name, words in documentation().items() if words.startswith(("To ", "For "))}
    assert said <= set(USED_BY) <= set(all_settings())
    assert {task for tasks in USED_BY.values() for task in tasks} <= set(TASKS)
