"""Draw with a published Stable Diffusion (Figure 5.3; Rombach et al. 2022, arXiv 2112.10752): a folder becomes what
`generate` asks a run for.

stable = olhar.stable.load("stable-diffusion-v1-5")
stable.generate("a lion in the snow", seed=7)
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from olhar.generate import Drawn, Wish, generate
from olhar.layers.residual import ResidualBlock
from olhar.layers.space import Latents
from olhar.models import guided
from olhar.stable_folder import StableFolder, find
from olhar.tasks import Task
from olhar.tasks.diffuse import Diffuse
from olhar.train.device import DTYPES, Precision, autocast, choose_precision, pick_device, to_format

GUIDANCE = 7.5  # what the published ones are used with
COLOURS = [0.5] * 3  # mean and deviation of what their autoencoder takes: from -1 to 1


class Stable:
    """A text encoder, a U-Net and an autoencoder, ready to draw.

    Args:
        folder: in diffusers' layout.
        device: where to compute.
        precision: of the text encoder and the U-Net, or "auto": the faster one on this machine, measured.
    """

    def __init__(self, folder: StableFolder, device: torch.device, precision: str = "auto"):
        self.path, self.device = folder.path, device
        self.tokenizer = folder.tokenizer()
        noise, (codec, scale) = folder.noise(), folder.codec()
        space = Latents(codec, COLOURS, COLOURS)
        space.scale.fill_(1 / scale)
        self.precision = measured(folder, device, precision)
        dtype = DTYPES.get(self.precision.choice, torch.float32)
        reader, denoiser = folder.reader(self.tokenizer, dtype), folder.denoiser(codec.factor, dtype)
        to_format(denoiser, self.precision.memory_format)
        model = guided(denoiser, reader, self.tokenizer.start, self.tokenizer.end, padding=True)
        model.nothing = self.tokenizer.encode([""], reader.length)[0]
        task = Diffuse(model, COLOURS, COLOURS, predict=noise.says, schedule="scaled-linear", space=space)
        task.process = noise.process  # as it was published
        self.task: Task = task.to(device).eval()
        self.facts: dict[str, Any] = {"model": {"image_size": denoiser.image_size}, "guidance": GUIDANCE}

    def computing(self) -> AbstractContextManager[Any]:
        """While this holds, heavy operations use the chosen number format."""
        return autocast(self.device, self.precision.choice)

    def generate(self, texts: Sequence[str] | str = (), batch_size: int = 1, **wishes: Any) -> list[Drawn]:
        """New images of texts; see `olhar.generate.Wish` for all that can be asked."""
        several = (texts,) if isinstance(texts, str) else tuple(texts)
        return list(generate(self, Wish(texts=several or (None,), **wishes), batch_size))


def measured(folder: StableFolder, device: torch.device, precision: str) -> Precision:
    """The number format and memory format of the U-Net: what is not given is tried on one block of it."""
    width = folder.read("unet/config.json")["block_out_channels"][0]
    block, x = ResidualBlock(width, width, groups=32).to(device), torch.randn(2, width, 16, 16, device=device)
    return choose_precision(lambda n: block(x[:n]).float().square().mean(), block, device, 2, precision, seconds=0.2)


def load(name: str | Path, device: str = "auto", precision: str = "auto", download: bool = False) -> Stable:
    """A folder in diffusers' layout, or a repository org/name on the Hub. Raises UserError where it is not one."""
    return Stable(StableFolder(find(str(name), download)), pick_device(device), precision)
