"""Stable Diffusion: a folder that diffusers wrote, at a fraction of the width, draws what diffusers draws."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from olhar import cli, sheet, stable, stable_folder
from olhar.data.text import ENDS, STARTS, byte_letters
from olhar.errors import UserError
from olhar.models import autoencoder, denoiser, text_encoder
from olhar.models.clip_names import text_weights
from olhar.models.sd_names import codec_weights, unet_weights
from olhar.ops.noise import CLEAN, betas
from olhar.stable_folder import StableFolder

PROMPT, AWAY, SEED = "A lion, in the snow", "a blue dog", 7
SIDE, FACTOR = 8, 4  # of the latents, and of the autoencoder
VERSIONS = ["1", "2"]
# What is published with version 1.5, and with 2.1.
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
TRUE_CODEC = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}


def write_tokenizer(folder: Path, pad: str) -> CLIPTokenizer:
    """A tokenizer that knows every byte and two merges, as vocab.json and merges.txt."""
    folder.mkdir()
    letters = byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), "li", "on</w>", STARTS[1], ENDS[1]]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nl i\no n</w>\n")
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": pad}}))
    return CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), pad_token=pad, model_max_length=77
    )


def new_pipeline(version: str, tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    """Random weights; 2.x differs in its heads, its projections, its activation and in what it says."""
    torch.manual_seed(0)
    second = version == "2"
    unet = UNet2DConditionModel(
        sample_size=SIDE,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24,
        attention_head_dim=(2, 4) if second else 8,
        use_linear_projection=second,
        layers_per_block=1,
    )
    codec = AutoencoderKL(
        block_out_channels=(32, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
    )
    reader = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=24,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            hidden_act="gelu" if second else "quick_gelu",
            bos_token_id=514,
            eos_token_id=515,
        )
    )
    if second:
        scheduler = DDIMScheduler(**SCHEDULE, prediction_type="v_prediction", set_alpha_to_one=False, clip_sample=False)
    else:
        scheduler = PNDMScheduler(**SCHEDULE, skip_prk_steps=True)
    parts = {"vae": codec.eval(), "unet": unet.eval(), "text_encoder": reader.eval()}
    return StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[StableDiffusionPipeline, Path]]:
    """By version: diffusers' own, and the folder that it wrote, which is not to be changed."""
    found = {}
    for version in VERSIONS:
        folder = tmp_path_factory.mktemp("published") / f"sd{version}"
        written = write_tokenizer(folder.with_name(f"tokenizer{version}"), "!" if version == "2" else ENDS[1])
        found[version] = new_pipeline(version, written), folder
        found[version][0].save_pretrained(folder)
        if version == "1":  # published with a vocabulary and merges; the other way is one file for both
            shutil.rmtree(folder / "tokenizer")
            folder.with_name("tokenizer1").rename(folder / "tokenizer")
    return found


def loaded(folder: Path, precision: str = "fp32") -> stable.Stable:
    return stable.load(folder, "cpu", precision)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_part_says_what_diffusers_says(version: str, pipelines):
    theirs, folder = pipelines[version]
    ours = loaded(folder)
    model, space = ours.task.model, ours.task.space
    padded = {"padding": "max_length", "max_length": 77, "truncation": True, "return_tensors": "pt"}
    texts = [PROMPT, "", "l" * 200]
    tokens = ours.tokenizer.encode(texts, 77)
    assert torch.equal(tokens, theirs.tokenizer(texts, **padded).input_ids)
    assert torch.equal(tokens[1], model.nothing)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, SIDE, SIDE, generator=generator)
    image = torch.rand(2, 3, SIDE * FACTOR, SIDE * FACTOR, generator=generator)
    with torch.inference_mode():
        states = theirs.text_encoder(tokens[:2]).last_hidden_state
        torch.testing.assert_close(model.reader(tokens[:2]), states, atol=1e-4, rtol=0)
        level = torch.tensor([37, 981])
        said = theirs.unet(x, level, states).sample
        torch.testing.assert_close(model(x, level, None, tokens[:2]), said, atol=1e-4, rtol=0)
        latent = theirs.vae.encode(2 * image - 1).latent_dist
        found = space.autoencoder.encode(2 * image - 1)
        torch.testing.assert_close(found.mean, latent.mean, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.variance.sqrt(), latent.std, atol=1e-4, rtol=0)
        decoded = theirs.vae.decode(x / 0.18215).sample
        torch.testing.assert_close(space.colours(x) / 127.5 - 1, decoded, atol=1e-4, rtol=0)
        assert min(states.std(), said.std(), latent.mean.std(), decoded.std()) > 0.01


@pytest.mark.parametrize("version", VERSIONS)
def test_five_steps_of_ddim_draw_the_image_that_diffusers_draws(version: str, pipelines):
    theirs, folder = pipelines[version]
    wishes = {"seed": SEED, "steps": 5, "guidance": 7.5, "negative": AWAY, "sampler": "ddim"}
    ours = loaded(folder).generate(PROMPT, **wishes)[0]
    latents = torch.randn(4, SIDE, SIDE, generator=torch.Generator().manual_seed(SEED))[None]
    scheduler = DDIMScheduler.from_config(theirs.scheduler.config, clip_sample=False)
    second = StableDiffusionPipeline(**{**theirs.components, "scheduler": scheduler}, requires_safety_checker=False)
    second.set_progress_bar_config(disable=True)
    given = {"negative_prompt": AWAY, "guidance_scale": 7.5, "num_inference_steps": 5, "output_type": "np"}
    found = ours.image.permute(1, 2, 0).numpy().astype(np.float64)
    # Half a level of 255 is what rounding leaves. Theirs multiplies a thousand numbers in float32, and the first steps
    # divide by what is left: that alone is a third of a level. With the product in float64 1e-4 of the range is left.
    for beyond in (0.5, 0.02):
        expected = second(PROMPT, latents=latents, **given).images[0] * 255
        assert expected.std() > 10
        assert np.abs(found - expected).max() <= 0.5 + beyond
        scheduler.alphas_cumprod = (1 - betas("scaled-linear", 1000)).cumprod(0)
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]


def test_the_true_size_has_diffusers_names_and_shapes():
    def shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
        return {name: tensor.shape for name, tensor in state.items()}

    with torch.device("meta"):
        codec = autoencoder("vae-stable-diffusion", 3, (512, 512))
        assert shapes(codec.state_dict()) == shapes(codec_weights(AutoencoderKL(**TRUE_CODEC).state_dict()))
        assert codec.latent_shape() == (4, 64, 64)
        for size, layers, heads, activation in ((768, 12, 12, "quick_gelu"), (1024, 23, 16, "gelu")):
            args = {"width": size, "layers": layers, "heads": heads, "activation": activation}
            reader = text_encoder("text-clip", 49_408, 77, 49_407, **args)
            config = CLIPTextConfig(
                hidden_size=size, intermediate_size=4 * size, num_hidden_layers=layers, num_attention_heads=heads
            )
            theirs = CLIPTextModel(config).state_dict()
            assert shapes(reader.state_dict()) == shapes(text_weights(theirs))
            older = {f"text_model.{name}": tensor for name, tensor in theirs.items()}
            assert shapes(text_weights(older)) == shapes(text_weights(theirs))
        second = UNet2DConditionModel(
            sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
        ours = denoiser("stable-diffusion", 4, (768, 768), 8, head_width=64, context_width=1024)
        assert shapes(ours.state_dict()) == shapes(unet_weights(second.state_dict()))
        looks = [stage.look for down in ours.down for stage in down.stages if stage.look is not None]
        assert [look.block.attention.heads for look in looks] == [5, 5, 10, 10, 20, 20]


def test_old_names_of_the_autoencoders_attention_are_known():
    with torch.device("meta"):
        new = AutoencoderKL().state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def before(name: str) -> str:
        for new_part, old_part in old.items():
            name = name.replace(f".{new_part}.", f".{old_part}.")
        return name

    def shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
        return {name: tensor.shape for name, tensor in codec_weights(state).items()}

    older = {before(name): tensor for name, tensor in new.items()}
    assert set(older) != set(new)
    oldest = {n: t[..., None, None] if ".attentions." in n and t.ndim == 2 else t for n, t in older.items()}
    assert shapes(new) == shapes(older) == shapes(oldest)


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_levels_are_those_of_the_scheduler(spacing: str, pipelines, tmp_path: Path):
    folder = copied(pipelines["1"][1], tmp_path)
    for last in (True, False):
        theirs = DDIMScheduler(**SCHEDULE, timestep_spacing=spacing, set_alpha_to_one=last)
        theirs.save_pretrained(folder / "scheduler")
        process = StableFolder(folder).noise().process
        for steps in (1, 5, 7, 50):
            theirs.set_timesteps(steps)
            assert process.levels(steps) == theirs.timesteps.tolist()
        signal = torch.tensor([process.at(level)[0] ** 2 for level in range(1000)])
        torch.testing.assert_close(signal, theirs.alphas_cumprod, atol=1e-5, rtol=0)
        assert process.at(CLEAN)[0] ** 2 == pytest.approx(float(theirs.final_alpha_cumprod), abs=1e-6)


def copied(folder: Path, to: Path) -> Path:
    """A folder that may be changed."""
    return shutil.copytree(folder, to / "copy")


def test_half_precision_is_read_and_computed_as_asked(pipelines, tmp_path: Path):
    folder = copied(pipelines["1"][1], tmp_path)
    for part, (whole, half) in stable_folder.WEIGHTS.items():
        state = {name: tensor.half() for name, tensor in load_file(folder / part / whole).items()}
        save_file(state, folder / part / half)
        (folder / part / whole).unlink()
    wishes = {"steps": 2, "sampler": "ddim"}
    expected = loaded(pipelines["1"][1]).generate(PROMPT, **wishes)[0].image.float()
    for precision, dtype, allowed in (("fp32", torch.float32, 1), ("bf16", torch.bfloat16, 16)):
        made = loaded(folder, precision)
        assert made.task.model.denoiser.stem.weight.dtype == dtype
        assert made.task.space.autoencoder.decoder.stem.weight.dtype == torch.float32
        assert (made.generate(PROMPT, **wishes)[0].image.float() - expected).abs().mean() < allowed


def test_from_a_folder_to_pictures(pipelines, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    folder = str(pipelines["1"][1])
    monkeypatch.chdir(tmp_path)
    options = ["--steps", "3", "--precision", "fp32", "--json"]
    assert cli.main(["generate", folder, PROMPT, "--n", "2", "--seed", "3", *options, "--strip"]) == 0
    files = json.loads(capsys.readouterr().out)
    assert [(f["seed"], f["guidance"], f["size"]) for f in files] == [(3, 7.5, "32x32"), (4, 7.5, "32x32")]
    first = Path(files[0]["file"])
    assert first.parent == Path("generated-1")
    assert sheet.settings_of(first)["text"] == PROMPT
    assert first.with_name(f"{first.stem}.strip.png").exists()
    # another size, from an image, where a mask is white: nowhere
    Image.new("L", (48, 32)).save("mask.png")
    Image.new("RGB", (48, 32), "orange").save("image.png")
    given = ["--init-image", "image.png", "--mask", "mask.png", "--size", "48x32"]
    assert cli.main(["generate", folder, PROMPT, *given, *options]) == 0
    kept = json.loads(capsys.readouterr().out)[0]
    with Image.open(kept["file"]) as picture:
        assert (np.asarray(picture) == [255, 165, 0]).all()


def test_what_is_no_stable_diffusion_is_said_in_a_sentence(pipelines, tmp_path: Path, capsys):
    folder = copied(pipelines["1"][1], tmp_path)

    def said(file: str, **changes) -> str:
        """What the command says of the folder with these settings changed."""
        kept = (folder / file).read_text()
        (folder / file).write_text(json.dumps({**json.loads(kept), **changes}))
        assert cli.main(["generate", str(folder), PROMPT, "--precision", "fp32"]) == 1
        (folder / file).write_text(kept)
        found = capsys.readouterr().err.strip()
        assert "\n" not in found
        return found

    assert "holds a StableDiffusionXLPipeline" in said("model_index.json", _class_name="StableDiffusionXLPipeline")
    assert "has addition_embed_type 'text_time'" in said("unet/config.json", addition_embed_type="text_time")
    assert "other blocks" in said("unet/config.json", up_block_types=["UpBlock2D", "AttnUpBlock2D"])
    assert "missing, too many or of another shape" in said("unet/config.json", in_channels=9, sample_size=8)
    assert "another shape, such as" in said("vae/config.json", block_out_channels=[32, 64, 64])
    assert "beta_schedule 'sigmoid'" in said("scheduler/scheduler_config.json", beta_schedule="sigmoid")
    assert "they are of two models" in said("text_encoder/config.json", vocab_size=100)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    assert cli.main(["generate", str(weights), PROMPT]) == 1
    assert "is one file: give a run, or the folder of a Stable Diffusion" in capsys.readouterr().err
    weights.rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert "is a pickle, which could run any code" in said("unet/config.json")
    (folder / "unet" / "diffusion_pytorch_model.bin").rename(weights)
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "not a safetensors file, or was cut short" in said("unet/config.json")
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(UserError, match=r"scheduler_config\.json is missing"):
        StableFolder(folder).noise()


def test_only_what_is_needed_is_fetched_and_only_when_asked(pipelines, monkeypatch, capsys, tmp_path: Path):
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    fetched = []

    def download(repository: str, name: str) -> str:
        if not (found := pipelines["1"][1] / name).exists():
            raise EntryNotFoundError("absent")
        fetched.append(name)
        return str(found)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, name: None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", "some/model", PROMPT]) == 1
    assert "(what is on the Hub comes with --download)" in capsys.readouterr().err
    assert fetched == []
    assert cli.main(["generate", "some/model", PROMPT, "--download", "--steps", "1", "--precision", "fp32"]) == 0
    assert {Path(name).suffix for name in fetched} == {".json", ".txt", ".safetensors"}
    assert len([name for name in fetched if name.endswith(".safetensors")]) == 3
