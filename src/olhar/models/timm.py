"""Any encoder of the timm library, an optional extra, behind the contract of the others.

Shapes: N batch, C channels, H W space, L tokens, D width.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from olhar.errors import UserError, nearest
from olhar.models.base import Encoder


class Timm(Encoder):
    """Any encoder of timm, by its name there, untrained.

    Args:
        name: as timm has it, such as "convnext_atto".
        args: passed on to timm's constructor.

    Raises:
        UserError: timm is not installed, has no such model, or cannot build it for these images.
    """

    def __init__(self, name: str, in_channels: int, image_size: tuple[int, int], **args: Any):
        try:
            import timm
        except ImportError:
            raise UserError(f'timm:{name} needs the timm library: pip install "olhar[timm]"') from None
        if not timm.is_model(name):
            raise UserError(f"timm has no model '{name}': {nearest(name, timm.list_models())}")
        if timm.models.get_pretrained_cfg_value(name, "fixed_input_size"):
            args.setdefault("img_size", image_size)
        try:
            body = timm.create_model(name, features_only=True, in_chans=in_channels, **args)
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"timm cannot build {name} for {image_size[0]}x{image_size[1]}: {error}") from None
        channels, strides = body.feature_info.channels(), body.feature_info.reduction()
        super().__init__(image_size, tuple(channels), tuple(strides))
        self.body = body

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        return self.body(image)
