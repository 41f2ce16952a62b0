from typing import Any

from olhar.config import Config
from olhar.plan import Facts
from olhar.plan_diffusion import resolve_diffusion

SCENES = {"n_train": 4000, "task": "diffuse", "num_classes": 0, "height": 64, "width": 64, "accelerator": False}


def settled(config: Config | None = None, **facts: Any) -> dict[str, Any]:
    """What is chosen, by name."""
    return {d.setting: d.value for d in resolve_diffusion(config or Config(), Facts(**SCENES | facts)).decisions}


def test_a_cpu_draws_in_patches_with_steps_it_has_time_for():
    plan = resolve_diffusion(Config(), Facts(**SCENES, captioned=True))
    assert plan.config.model.args == {"patch": 4}
    chosen = settled(captioned=True)
    assert (chosen["model.name"], chosen["model.text"]) == ("denoiser-mini", "text-small")
    assert (chosen["optim.name"], chosen["optim.lr"], chosen["train.batch_size"]) == ("muon", 0.02, 32)
    assert (chosen["objective.predict"], chosen["objective.noise_schedule"]) == ("image", "shifted-cosine")


def test_without_patches_the_velocity_is_said():
    chosen = settled(height=16, width=16)
    assert (chosen["objective.predict"], chosen["objective.noise_schedule"]) == ("velocity", "cosine")


def test_in_latents_the_network_reads_the_words_itself():
    chosen = settled(captioned=True, shrunk=16)
    assert (chosen["model.name"], chosen["model.text"], chosen["train.batch_size"]) == ("dit-mini", "text-words", 128)
    assert (chosen["objective.levels"], settled()["objective.levels"]) == ("logit-normal", "uniform")
    chosen = settled(Config().with_changes({"model.name": "denoiser-tiny"}), captioned=True, shrunk=16)
    assert chosen["model.text"] == "text-small"
    assert settled(shrunk=16, accelerator=True)["model.name"] == "dit-small"


def test_half_an_hour_is_enough_for_twice_the_layers():
    def args(**given: Any) -> dict[str, Any]:
        changes = {"train.budget": "30min"} | {key.replace("_", ".", 1): value for key, value in given.items()}
        facts = Facts(**SCENES, captioned=True, shrunk=16)
        return resolve_diffusion(Config().with_changes(changes), facts).config.model.args

    assert args() == {"depth": 8}
    assert args(model_args={"width": 64}) == {"width": 64, "depth": 8}
    assert args(train_budget="29min") == {}
    assert args(model_args={"depth": 3}) == {"depth": 3}
    assert args(model_name="dit-small") == args(model_name="dit-mini") == {}


def test_what_was_asked_for_stays():
    asked = Config().with_changes({"objective.noise_schedule": "flow", "optim.name": "adamw"})
    chosen = settled(asked)
    assert (chosen["objective.noise_schedule"], chosen["optim.name"]) == ("flow", "adamw")
    assert 0 < chosen["optim.lr"] < 0.01
