"""Learning to draw: the contract of the task, what it hides and what it fixes; drawing with its parts and whole."""

import json
import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

import olhar
from olhar import build, cli, sheet
from olhar.config import Config, DataConfig
from olhar.data.recognise import recognise
from olhar.errors import UserError
from olhar.generate import SHOWN, Drawing, Wish, generate
from olhar.metrics import results
from olhar.ops.noise import Estimate
from olhar.tasks.diffuse import Diffuse

N, SIDE = 6, 8
PIXELS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
SMALL = {"widths": (16, 32), "heads": 2, "attention": (1,)}
TEXT = {"name": "text-small", "vocabulary": 20, "length": 5, "start": 1, "end": 2, "args": {"width": 16, "heads": 2}}
CASES = ["nothing", "class", "text"]


def facts_of(case: str) -> dict:
    facts = {"name": "denoiser-tiny", "args": SMALL, "in_channels": 3, "image_size": [SIDE, SIDE]}
    return facts | ({"text": TEXT} if case == "text" else {})


def new_task(case: str, **settings) -> Diffuse:
    torch.manual_seed(0)
    names = {"class_names": ["cat", "dog", "owl"] if case == "class" else []}
    task = build.make_task("diffuse", facts_of(case), PIXELS | names | settings)
    assert isinstance(task, Diffuse)
    return task


def batch(case: str) -> dict:
    generator = torch.Generator().manual_seed(2)
    found = {
        "id": [f"{i}.png" for i in range(N)],
        "image": torch.randint(0, 256, (N, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator),
    }
    if case == "class":
        found["label"] = torch.tensor([0, 1, 2] * 2)
    if case == "text":
        found |= {"tokens": torch.tensor([[1, 5 + i, 7, 2, 0] for i in range(N)]), "text": ["a cat"] * N}
    return found


def awake(task: Diffuse) -> Diffuse:
    """With weights that say something: a new denoiser says 0."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return task


@pytest.mark.parametrize("case", CASES)
def test_contract(case: str):
    task, data = new_task(case), batch(case)
    parts = task(data)
    # a new network says nothing: its error is the variance of the target, its loss what guessing gives
    assert parts["loss"].item() == pytest.approx(0.5 * math.log(2 * math.pi) + parts["mse"].item() / 2, rel=1e-5)
    assert abs(parts["loss"].item() - task.chance) < 0.3
    awake(task)(data)["loss"].backward()
    assert not [name for name, p in task.named_parameters() if p.grad is None or not p.grad.isfinite().all()]

    task.eval()
    with torch.inference_mode():
        output = task.output(data)
        metrics = task.metrics()
        task.update(metrics, output, data)
        found = results(metrics)
        assert found["mse"] == pytest.approx(float(output.error().mean()), rel=1e-5)
        assert [p.id for p in task.decode(output, data)] == data["id"]
    assert len(task.draw(output, data)) == len(task.details(output, data)) == len(task.describe_truth(data)) == N
    json.dumps([p.row() for p in task.decode(output, data)] + task.details(output, data))
    again = build.make_task("diffuse", facts_of(case), task.settings())
    again.load_state_dict(task.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval().output(data).said.mean, output.said.mean)


def test_a_batch_can_be_learnt():
    task, data = new_task("class", predict="noise"), batch("class")
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        task(data)["loss"].backward()
        optimizer.step()
    task.eval()
    with torch.inference_mode():
        assert float(task(data)["mse"]) < 0.7  # a network that says nothing has 1


def test_figures_of_validation_do_not_depend_on_chance_or_on_the_batch():
    task, data = awake(new_task("nothing")).eval(), batch("nothing")
    with torch.inference_mode():
        first = task.output(data)
        torch.manual_seed(5)
        half = task.output({"id": data["id"][3:], "image": data["image"][3:]})
    torch.testing.assert_close(first.error()[3:], half.error(), rtol=1e-4, atol=1e-5)
    assert len(set(first.level.tolist())) > 3


def test_a_share_of_the_conditions_is_hidden_in_training():
    seen = []
    task = new_task("class", drop=0.25)
    task.model.register_forward_pre_hook(lambda module, given: seen.append(given[2]))
    data = batch("class") | {"id": ["x"] * 600, "label": torch.zeros(600, dtype=torch.int64)}
    data["image"] = data["image"][:1].expand(600, -1, -1, -1)
    with torch.no_grad():
        task.train()(data)
        task.eval()(data)
    assert 0.18 < (seen[0] == 3).float().mean() < 0.32
    assert not (seen[1] == 3).any()
    words = new_task("text", drop=1.0)
    label, tokens = words.hidden(None, batch("text")["tokens"], torch.tensor([True, False] * 3))
    assert label is None
    assert tokens[0].tolist() == [1, 2, 2, 2, 2]
    assert tokens[1].tolist() == [1, 6, 7, 2, 0]


class Trained:
    """A run without a folder."""

    def __init__(self, task: Diffuse, case: str):
        self.task, self.device, self.facts = task.eval(), torch.device("cpu"), {"model": facts_of(case)}
        self.tokenizer = None

    def computing(self):
        return nullcontext()


def drawn(task: Diffuse, case: str = "class", batch_size: int = 16, **wishes) -> list:
    return list(generate(Trained(task, case), Wish(**{"steps": 4, **wishes}), batch_size))


@pytest.mark.parametrize("sampler", ["dpm2m", "ddpm"])
def test_a_seed_says_which_image_whatever_stands_beside_it(sampler: str):
    task = awake(new_task("class"))
    four = drawn(task, texts=("cat", "dog"), n=2, sampler=sampler)
    single = drawn(task, texts=("dog",), seed=1, sampler=sampler, batch_size=1, strip=True)[0]
    assert [(d.settings["text"], d.settings["seed"]) for d in four] == [("cat", 0), ("cat", 1), ("dog", 0), ("dog", 1)]
    assert (four[3].image.int() - single.image.int()).abs().max() <= 1
    assert (four[2].image.int() - single.image.int()).abs().max() > 1
    assert len(single.strip) == 9


@pytest.mark.notes("Fig 5.3")
def test_guidance_goes_from_without_to_with_and_beyond():
    task, x, cat = awake(new_task("class")).eval(), torch.randn(2, 3, SIDE, SIDE), torch.tensor(0)

    task.estimate = lambda said, x, levels: Estimate(said, said)  # type: ignore[method-assign]

    def said(guidance: float, negative: str | None = None):
        wish = Wish(texts=("cat",), guidance=guidance, negative=negative)
        return Drawing(Trained(task, "class"), wish).think(x, 500, [cat, cat]).image

    with torch.no_grad():
        levels = torch.full((2,), 500)
        plain, other, without = (task.say(x, levels, torch.tensor([k, k]), None) for k in (0, 1, 3))
        torch.testing.assert_close(said(1.0), plain)
        torch.testing.assert_close(said(0.0), without)
        torch.testing.assert_close(said(3.0), without + 3 * (plain - without))
        torch.testing.assert_close(said(3.0, "dog"), other + 3 * (plain - other))


@pytest.mark.notes("Fig 5.3")
def test_a_mask_keeps_the_image_and_strength_says_how_much_of_it(tmp_path: Path):
    task = awake(new_task("nothing"))
    image = torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    mask[:, :, :4] = 255
    sheet.to_picture(image).save(tmp_path / "image.png")
    sheet.to_picture(mask).save(tmp_path / "mask.png")
    given = {"init_image": tmp_path / "image.png", "steps": 10}
    for sampler in ("dpm2m", "ddim", "heun", "ddpm"):
        made = drawn(task, "nothing", mask=tmp_path / "mask.png", strength=1.0, sampler=sampler, **given)[0].image
        assert torch.equal(made[:, :, 4:], image[:, :, 4:])
        assert not torch.equal(made[:, :, :4], image[:, :, :4])
    away = [
        float((drawn(task, "nothing", strength=s, **given)[0].image.float() - image).abs().mean()) for s in (0.1, 0.9)
    ]
    assert away[0] < away[1]


def test_of_an_image_of_other_proportions_the_middle_is_begun_from(tmp_path: Path):
    task = awake(new_task("nothing"))
    image = torch.randint(0, 256, (3, SIDE, 2 * SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(1, SIDE, 2 * SIDE, dtype=torch.uint8)
    mask[:, :, SIDE // 2] = 255
    sheet.to_picture(image).save(tmp_path / "image.png")
    sheet.to_picture(mask).save(tmp_path / "mask.png")
    made = drawn(task, "nothing", init_image=tmp_path / "image.png", mask=tmp_path / "mask.png", strength=1.0, steps=4)[
        0
    ].image
    middle = image[:, :, SIDE // 2 : SIDE // 2 + SIDE]
    assert torch.equal(made[:, :, 1:], middle[:, :, 1:])
    assert not torch.equal(made[:, :, :1], middle[:, :, :1])


def test_a_negative_alone_is_gone_away_from():
    task, x = awake(new_task("class")).eval(), torch.randn(2, 3, SIDE, SIDE)
    task.estimate = lambda said, x, levels: Estimate(said, said)  # type: ignore[method-assign]
    drawing = Drawing(Trained(task, "class"), Wish(guidance=3.0, negative="dog"))
    with torch.no_grad():
        levels = torch.full((2,), 500)
        other, without = (task.say(x, levels, torch.tensor([k, k]), None) for k in (1, 3))
        torch.testing.assert_close(drawing.think(x, 500, [None, None]).image, other + 3 * (without - other))


def test_the_way_is_shown_from_its_first_thought_to_its_last():
    [one] = drawn(awake(new_task("nothing")), "nothing", steps=20, strip=True)
    assert len(one.strip) == SHOWN
    assert torch.equal(one.strip[-1], one.image)


@pytest.mark.parametrize(
    ("case", "wish", "expected"),
    [
        ("class", {"guidance": 3.0}, "Guidance goes towards what a text says: give a text, or leave --guidance out"),
        ("class", {"texts": ("cat",), "negative": "dog", "guidance": 1.0}, "Guidance of 1 goes away from nothing"),
        (
            "class",
            {"texts": ("cat",), "strength": 0.5},
            "how much of an image is drawn anew: give it with --init-image",
        ),
        ("nothing", {"texts": ("a cat",)}, "learnt from images alone and cannot be told 'a cat'"),
        ("class", {"texts": ("cta",)}, "did you mean 'cat'?"),
        ("class", {"size": (9, 12)}, "give sides that are multiples of 2, such as 12 x 8"),
        ("class", {"sampler": "dmp2m"}, "did you mean 'dpm2m'?"),
        ("class", {"steps": 2000}, "1 to 1000 steps, not 2000"),
        ("class", {"mask": "mask.png"}, "give the image with --init-image"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(case: str, wish: dict, expected: str):
    with pytest.raises(UserError, match=expected.replace("?", r"\?")):
        drawn(new_task(case), case, **wish)


def test_a_mask_of_another_size_is_refused(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    Image.new("L", (8, 6)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="8 x 6 and the image 8 x 8"):
        drawn(new_task("nothing"), "nothing", init_image=tmp_path / "image.png", mask=tmp_path / "mask.png")


def test_drawing_is_learnt_from_captions_classes_or_images_alone(colours: Path, tmp_path: Path):
    wanted = DataConfig(task="diffuse")
    found = recognise(colours, config=wanted)
    assert (found.task, found.class_names) == ("diffuse", ("blue", "green", "red"))
    assert "to draw images of 3 classes" in found.explanation
    for i in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    alone = recognise(tmp_path, config=wanted)
    assert (alone.task, alone.class_names, alone.records[0].label) == ("diffuse", (), None)
    assert "to draw such images" in alone.explanation
    digits = recognise("digits", config=wanted)
    assert (digits.task, len(digits.class_names)) == ("diffuse", 10)
    drawings = recognise("shapes:n=80", config=wanted)
    assert (drawings.task, bool(drawings.records[0].captions)) == ("diffuse", True)
    with pytest.raises(UserError, match="3 training images are too few"):
        olhar.train(tmp_path, config=Config(data=wanted), quiet=True, run=tmp_path / "run", allow=("few",))


QUICK = {"train.precision": "fp32", "train.memory_format": "contiguous", "epochs": 2}
QUICK["model.args"] = {"widths": "16,32", "heads": 2, "attention": "1"}


def test_from_a_folder_to_pictures(colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = olhar.train(colours, task="diffuse", model="denoiser-tiny", run=tmp_path / "run", quiet=True, **QUICK)
    assert run.result["val"]["mse"] > 0
    assert cli.main(["generate", str(run.path), "red", "blue", "--n", "2", "--steps", "3", "--strip", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)
    assert [(f["text"], f["seed"], f["steps"]) for f in files] == [
        ("red", 0, 3), ("red", 1, 3), ("blue", 0, 3), ("blue", 1, 3)
    ]  # fmt: skip
    first = Path(files[0]["file"])
    assert sheet.settings_of(first) == {k: v for k, v in files[0].items() if k != "file"}
    again = run.generate("red", steps=3)[0]
    with Image.open(first) as picture:
        pixels = pil_to_tensor(picture)
    assert (pixels.int() - again.image.int()).abs().max() <= 1
    assert first.with_name(f"{first.stem}.strip.png").exists()
    assert (first.parent / "grid.png").exists()
    assert cli.main(["generate", str(run.path), "violet"]) == 1
    assert "'violet' is none of them" in capsys.readouterr().err


def test_an_interrupted_generation_keeps_what_is_finished(tmp_path: Path):
    task = awake(new_task("class"))

    def some():
        yield from drawn(task, n=2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(sheet.save(some(), tmp_path))
    assert len(list(tmp_path.glob("*image*.png"))) == 2
    assert (tmp_path / "grid.png").exists()


def test_a_full_disk_is_said_of_the_grid_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = Image.Image.save

    def full(picture: Image.Image, path: Path, **how: object) -> None:
        if path.name == "grid.png":
            raise OSError(28, "No space left on device")
        write(picture, path, **how)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"Could not write into .*: No space left on device"):
        list(sheet.save(drawn(awake(new_task("class")), n=2), tmp_path))


def test_a_run_that_does_not_draw_says_so(trained: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["generate", str(trained)]) == 1
    assert "train one with --task diffuse" in capsys.readouterr().err


def test_each_generation_has_a_folder_of_its_own_which_goes_where_nothing_was_written(tmp_path: Path):
    with sheet.new_folder(tmp_path) as first, sheet.new_folder(tmp_path) as second:
        assert (first.name, second.name) == ("generated-1", "generated-2")
        (second / "0.png").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["generated-2"]
    with pytest.raises(UserError, match=r"0\.png/generated-1: Not a directory: say where with --out"):
        sheet.new_folder(second / "0.png").__enter__()
