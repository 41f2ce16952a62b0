"""Any encoder of the timm library (an optional extra) behind the contract of the others.

Shapes: N batch, C channels, H W space.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from olhar.errors import UserError, nearest
from olhar.models.base import Encoder


class Timm(Encoder):
    """Any encoder of timm, by its name there, untrained.

    Levels are timm's features: five or four maps of falling size for convolutional networks and hierarchical
    transformers, the outputs of the last three blocks for plain ones. Where a size is not a multiple of the
    stride some of them round down.

    Args:
        name: as timm has it, such as "convnext_atto".
        args: passed on to timm's constructor.

    Raises:
        UserError: timm is not installed, has no such model, or cannot build it with these arguments.
    """

    def __init__(self, name: str, in_channels: int = 3, image_size: tuple[int, int] = (224, 224), **args: Any):
        try:
            import timm
        except ImportError:
            raise UserError(f'timm:{name} needs the timm library: pip install "olhar[timm]"') from None
        if not timm.is_model(name):
            raise UserError(f"timm has no model '{name}': {nearest(name, timm.list_models())}")
        # Those whose position codes fix the size have to be told it.
        fixed = bool(timm.models.get_pretrained_cfg_value(name, "fixed_input_size"))
        if fixed:
            args = {"img_size": image_size, **args}
        try:
            body: Any = timm.create_model(name, features_only=True, in_chans=in_channels, **args)
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            size = f"{image_size[0]}x{image_size[1]}"
            raise UserError(f"timm cannot build {name} for images of {size}: {error}") from None
        super().__init__(image_size, tuple(body.feature_info.channels()), tuple(body.feature_info.reduction()))
        self.any_size = not fixed
        self.channels_last_axis = getattr(body, "output_fmt", "NCHW") == "NHWC"
        self.body = body

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        levels = self.body(image)
        return [level.permute(0, 3, 1, 2) for level in levels] if self.channels_last_axis else levels
