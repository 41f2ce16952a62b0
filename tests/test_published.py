"""Weights of a CLIP nobody trained here: told by their shapes, and asked at once."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import olhar
from olhar import cli
from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.models.clip_names import heads_of
from olhar.tasks.align import Align

WORDS = Tokenizer.train(["a red dot", "a blue dot", "red", "blue"])


def theirs(quick: bool, head_width: int = 64, heads: int = 2, mlp_ratio: float = 4.0) -> nn.Module:
    """open_clip's architecture, small."""
    import open_clip

    torch.manual_seed(0)
    vision = {"layers": 2, "width": 64, "head_width": head_width, "patch_size": 8, "image_size": 24}
    vision |= {"mlp_ratio": mlp_ratio}
    text = {"context_length": 12, "vocab_size": WORDS.size, "width": 128, "heads": heads, "layers": 3}
    text |= {"pool_type": "eos", "eos_id": WORDS.end}  # its own takes the largest number for the end
    return open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text, quick_gelu=quick).eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "tiny-clip"
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in theirs(False).state_dict().items()}, folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": False}}))
    WORDS.save(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name, colour in {"red": (220, 30, 30), "blue": (30, 40, 220)}.items():
        (folder / name).mkdir()
        for i in range(2):
            pixels = np.full((24, 24, 3), 255 * i, np.uint8)
            pixels[6:18, 6:18] = colour
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_they_give_open_clips_vectors_and_are_searched(weights: Path, images: Path, tmp_path: Path):
    run = olhar.adopt(weights, run=tmp_path / "run")
    assert isinstance(run.task, Align)
    model, reference = run.task.model, theirs(False)
    pictures, tokens = torch.randn(2, 3, 24, 24), WORDS.encode(["a red dot", "blue"], 12)
    with torch.inference_mode():
        assert torch.allclose(model.encode_image(pictures), reference.encode_image(pictures, normalize=True), atol=1e-5)
        assert torch.allclose(model.encode_text(tokens), reference.encode_text(tokens, normalize=True), atol=1e-5)
    found = olhar.load(tmp_path / "run").search("a red dot", images)
    assert found.searched == 4
    assert len(found.shown) == 4
    told = run.evaluate(images, classes=["red", "blue"], prompts=["a {} dot"])
    assert told["accuracy_chance"] == 0.5
    assert run.predict(images / "red", classes=["red", "blue"])[0].row()["caption"] in ("red", "blue")
    with pytest.raises(UserError, match="There is no folder 'no data of its own' to search: give one"):
        run.search("red")
    with pytest.raises(UserError, match="name what images may show with --classes"):
        run.predict(images)


def test_the_command_says_how_to_ask(weights: Path, images: Path, tmp_path: Path, capsys):
    assert cli.main(["adopt", str(weights / "model.safetensors"), "--run", str(tmp_path / "run")]) == 0
    assert f"olhar search {tmp_path / 'run'}" in capsys.readouterr().out
    assert cli.main(["search", str(tmp_path / "run"), "red", str(images), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["searched"] == 4
    assert cli.main(["report", str(tmp_path / "run")]) == 0


def test_the_activation_is_told_by_what_lies_beside(weights: Path, tmp_path: Path):
    for config, expected in (
        ({"text_config": {"hidden_act": "gelu"}}, "gelu"),
        ({"text_config": {}}, "quick_gelu"),
        (None, "quick_gelu"),
    ):
        folder = tmp_path / f"{expected}-{config is None}"
        folder.mkdir()
        (folder / "model.safetensors").symlink_to(weights / "model.safetensors")
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        run = olhar.adopt(folder, run=folder / "run", tokenizer=weights / "tokenizer.json")
        assert run.facts["model"]["args"]["activation"] == expected


def test_heads_are_told_by_what_lies_beside(weights: Path, tmp_path: Path):
    reference = theirs(False, head_width=16, heads=8)
    save_file({k: v.contiguous() for k, v in reference.state_dict().items()}, tmp_path / "model.safetensors")
    open_clips = {"model_cfg": {"vision_cfg": {"width": 64, "head_width": 16}, "text_cfg": {"heads": 8}}}
    faces = {key: {"num_attention_heads": n} for key, n in (("vision_config", 4), ("text_config", 8))}
    faces["text_config"]["hidden_act"] = "gelu"
    pictures, tokens = torch.randn(2, 3, 24, 24), WORDS.encode(["a red dot", "blue"], 12)
    for name, config in (("open_clip_config.json", open_clips), ("config.json", faces)):
        (tmp_path / name).write_text(json.dumps(config))
        run = olhar.adopt(tmp_path, run=tmp_path / f"run-{name}", tokenizer=weights / "tokenizer.json")
        assert isinstance(run.task, Align)
        with torch.inference_mode():
            image, text = run.task.model.encode_image(pictures), run.task.model.encode_text(tokens)
            assert torch.allclose(image, reference.encode_image(pictures, normalize=True), atol=1e-5)
            assert torch.allclose(text, reference.encode_text(tokens, normalize=True), atol=1e-5)
    with pytest.raises(UserError, match=r"How many heads a tower 1280 wide has, no shape tells: put the config\.json"):
        heads_of(1280)  # of ViT-H/14, whose heads are 80 wide


def test_what_is_no_such_clip_is_said(weights: Path, tmp_path: Path):
    (tmp_path / "model.safetensors").symlink_to(weights / "model.safetensors")
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        olhar.adopt(tmp_path)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(UserError, match="holds no CLIP"):
        olhar.adopt(other)
    state = theirs(False).state_dict()
    save_file({k: v.contiguous() for k, v in state.items() if "visual.conv1" not in k}, other)
    with pytest.raises(UserError, match="no vision transformer"):
        olhar.adopt(other, tokenizer=weights / "tokenizer.json")
    save_file(
        {k: v.contiguous() for k, v in state.items() if "visual" in k}, other
    )  # of CoCa, or of another text tower
    with pytest.raises(UserError, match="not CLIP's own transformer"):
        olhar.adopt(other, tokenizer=weights / "tokenizer.json")
    save_file({k: v.contiguous() for k, v in theirs(False, mlp_ratio=4.5).state_dict().items()}, other)
    with pytest.raises(UserError, match="64 wide has layers of 288, not of 256"):
        olhar.adopt(other, tokenizer=weights / "tokenizer.json")
    assert cli.main(["adopt", str(tmp_path / "none.safetensors")]) == 1
