"""Look inside a model while it works: hooks on the named parts of its real forward, never a second forward.

Shapes: N batch, C channels, H W space.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from olhar.errors import UserError, nearest


@contextmanager
def capture(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Keep what the named submodules give, for as long as the `with` lasts.

        with capture(model, ["encoder.layer1"]) as activations:
            model(image)
        activations["encoder.layer1"]  # [N, C, H, W]

    The tensors are as the model made them, on its device and with their gradient history. A submodule that is
    called several times leaves its last output. The model goes on with a copy, so that layers that work in place
    afterwards do not write over what was kept.

    Raises:
        UserError: the model has no submodule of that name.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise UserError(f"The model has no part '{name}': {nearest(name, filter(None, modules))}")
    activations: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            activations[name] = output
            return copied(output)

        return hook

    handles = [modules[name].register_forward_hook(keep(name)) for name in names]
    try:
        yield activations
    finally:
        for handle in handles:
            handle.remove()


def copied(output: Any) -> Any:
    """What a module returned, with every tensor copied: through the copy gradients flow back to the original."""
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, dict):
        return {key: copied(value) for key, value in output.items()}
    return type(output)(copied(item) for item in output) if type(output) in (list, tuple) else output


def dry_run(model: nn.Module, input_shape: Sequence[int]) -> None:
    """The model's own forward on one image of `input_shape` (C, H, W), with shapes alone: no memory, no time.

    Parameters and input are on torch's meta device (where attention takes no fused path, so that every operation
    shows), the model in evaluation mode; it is left as it was.
    """
    values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in values.items()}
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            functional_call(model, shapes, (torch.empty(1, *input_shape, device="meta"),))
    finally:
        for module, mode in modes.items():
            module.training = mode


def output_shapes(model: nn.Module, input_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Submodule name -> the shape of what it gives for one image of `input_shape`, without the batch axis, in the order
    in which they finish; of several tensors the last. Submodules that are not called are left out."""
    shapes: dict[str, tuple[int, ...]] = {}

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if tensors := tensors_of(output):
                shapes[name] = tuple(tensors[-1].shape[1:])

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        dry_run(model, input_shape)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def tensors_of(output: Any) -> list[Tensor]:
    """Every tensor in what a module returned: a tensor, or lists, tuples and dicts of them."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for item in output for tensor in tensors_of(item)]
    return []
