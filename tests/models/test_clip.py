"""Two towers: beside open_clip and transformers with the same weights, and what is learnt of them."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from olhar.errors import UserError
from olhar.models import CLIPS, clip, encoder, text_encoder
from olhar.models.clip import Clip
from olhar.models.clip_names import clip_names
from olhar.models.weights import load_towers
from olhar.train.checkpoint import save_tensors

END = 98
TOKENS = torch.tensor([[97, 5, 6, 7, END, 0, 0, 0], [97, 8, 9, END, 0, 0, 0, 0], [97, 0, 3, 2, 1, 4, 5, END]])
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def ours(activation: str = "quick_gelu", vocabulary: int = 99, frozen="none") -> Clip:
    """CLIP's architecture at a reduced width."""
    torch.manual_seed(1)
    sizes = {"patch": 8, "width": 64, "depth": 2, "heads": 2, "pre_norm": True, "activation": activation}
    reader = {"width": 48, "layers": 2, "heads": 4, "activation": activation}
    image = encoder("vit-b32", 3, (32, 32), **sizes)
    return clip(image, text_encoder("text-clip", vocabulary, 8, END, **reader), 16, frozen).eval()


def small(frozen="none") -> Clip:
    torch.manual_seed(0)
    return clip(encoder("cnn-tiny", 3, (16, 16)), text_encoder("text-small", 99, 8, END), 16, frozen)


def open_clip_model(quick: bool) -> nn.Module:
    import open_clip

    torch.manual_seed(2)
    vision = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 8, "image_size": 32}
    text = {"context_length": 8, "vocab_size": 99, "width": 48, "heads": 4, "layers": 2}
    return open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text, quick_gelu=quick).eval()


@torch.inference_mode()
@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_open_clips_weights_give_its_embeddings(tmp_path: Path, activation: str):
    theirs, model = open_clip_model(activation == "quick_gelu"), ours(activation)
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "a.safetensors")
    report = load_towers(model, tmp_path / "a.safetensors")
    assert len(report.loaded) == len(model.state_dict())
    assert not report.unexpected
    (image, _), (text, _), scale = model(IMAGES, TOKENS)
    found = theirs(IMAGES, TOKENS)
    for own, other in zip((image, text, scale), found, strict=True):
        assert torch.allclose(own, other, atol=1e-5)


@torch.inference_mode()
def test_hugging_faces_weights_give_its_embeddings(tmp_path: Path):
    import transformers

    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(3)
    text = {"hidden_size": 48, "intermediate_size": 192, "num_attention_heads": 4, "num_hidden_layers": 2}
    text |= {"vocab_size": 99, "max_position_embeddings": 8, "eos_token_id": END, "bos_token_id": 97}
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2, "num_hidden_layers": 2}
    vision |= {"image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    theirs, model = transformers.CLIPModel(config).eval(), ours()
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    load_towers(model, tmp_path)
    found = theirs(input_ids=TOKENS, pixel_values=IMAGES)
    assert torch.allclose(model.encode_image(IMAGES), normalize(found.image_embeds, dim=1), atol=1e-5)
    assert torch.allclose(model.encode_text(TOKENS), normalize(found.text_embeds, dim=1), atol=1e-5)
    assert torch.allclose(model.scale, theirs.logit_scale.exp())


def test_vit_b32_has_the_names_and_shapes_of_open_clips():
    import open_clip

    with torch.device("meta"):
        config = open_clip.get_model_config("ViT-B-32-quickgelu")
        theirs = open_clip.CLIP(**{k: v for k, v in config.items() if k != "quick_gelu"}, quick_gelu=True)
        parts = CLIPS["clip-vit-b32"]
        image = encoder(parts["image"], 3, (224, 224), **parts["image_args"])
        model = clip(image, text_encoder(parts["text"], 49408, 77, 49407), parts["width"])
    renamed = {name: t.shape for name, t in clip_names(theirs.state_dict()).items()}
    assert renamed == {name: t.shape for name, t in model.state_dict().items()}
    assert sum(p.numel() for p in model.parameters()) == 151_277_313


def test_other_weights_are_refused_in_one_sentence(tmp_path: Path):
    state = ours().state_dict()
    save_file(state, tmp_path / "own.safetensors")
    load_towers(ours(), tmp_path / "own.safetensors")
    with pytest.raises(UserError, match=r"knows 99 tokens, and the tokenizer has 120: give the tokenizer\.json"):
        load_towers(ours(vocabulary=120), tmp_path / "own.safetensors")
    state["image_projection.weight"] = torch.zeros(8, 64)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"another CLIP: image_projection\.weight of this one do not fit"):
        load_towers(ours(), tmp_path / "other.safetensors")


def test_published_weights_leave_a_fusion_new(tmp_path: Path):
    save_file(small().state_dict(), tmp_path / "plain.safetensors")
    torch.manual_seed(5)
    model = clip(encoder("cnn-tiny", 3, (16, 16)), text_encoder("text-small", 99, 8, END), 16, fused=True)
    report = load_towers(model, tmp_path / "plain.safetensors")
    assert {name.partition(".")[0] for name in report.missing} == {"fusion"}
    assert torch.equal(model.image_projection.weight, small().image_projection.weight)
    assert "untrained: fusion." in report.sentence


def test_the_image_tower_alone_may_have_weights(tmp_path: Path):
    """Those of any encoder; the text tower stays new."""
    other, model = encoder("cnn-tiny", 3, (16, 16)), small()
    save_file(other.state_dict(), tmp_path / "encoder.safetensors")
    load_towers(model, tmp_path / "encoder.safetensors")
    for name, tensor in other.state_dict().items():
        assert torch.equal(model.image_encoder.state_dict()[name], tensor), name
    with pytest.raises(UserError, match="no text tower to freeze"):
        load_towers(small("text"), tmp_path / "encoder.safetensors")


@pytest.mark.parametrize("frozen", ["image", "text"])
def test_a_frozen_tower_is_loaded_and_saved_as_any_other(frozen: str, tmp_path: Path):
    model, plain = small(frozen), small()
    save_file(plain.state_dict(), tmp_path / "clip.safetensors")
    load_towers(model, tmp_path / "clip.safetensors")
    save_tensors(model.state_dict(), tmp_path / "run.safetensors")
    assert load_file(tmp_path / "run.safetensors").keys() == plain.state_dict().keys()


@pytest.mark.parametrize("frozen", ["image", "text"])
def test_a_frozen_tower_keeps_its_weights_and_statistics(frozen: str):
    model = small(frozen).train()
    tower = {"image": model.image_encoder, "text": model.text_encoder}[frozen]
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    (image, _), (text, _), scale = model(torch.randn(3, 3, 16, 16), TOKENS)
    (scale * image * text).sum().backward()
    optimizer.step()
    assert not tower.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())
    assert model.image_projection.weight.grad is not None


def test_the_scale_begins_at_the_papers_and_never_passes_a_hundred():
    model = small()
    assert model.scale.item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        model.log_scale.fill_(9.0)
        assert model.scale.item() == pytest.approx(100)
    scale: Tensor = model.scale
    scale.backward()  # from the bound a gradient leads back
    assert model.log_scale.item() == pytest.approx(math.log(100))
    assert model.log_scale.grad is not None
    assert model.log_scale.grad.item() == pytest.approx(100)


def test_vectors_are_of_unit_length_within_autocast_too():
    model = small().eval()
    with torch.autocast("cpu", torch.bfloat16):
        (image, _), (text, _), _ = model(torch.randn(3, 3, 16, 16), TOKENS)
    for vectors in (image, text):
        assert vectors.dtype == torch.float32
        assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
