"""Blocks after layers of any network, named as the network names them."""

import copy
from collections.abc import Sequence
from functools import partial
from itertools import count

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch
from saddlepoint.defenses.blocks.denoise import Denoise
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError, shown, unknown


def denoise(
    module: nn.Module, after: Sequence[str], *, like: Batch, kind: str = "softmax", size: int | None = None
) -> nn.Module:
    """A copy of a network with a :class:`Denoise` block after each of the named layers; the network itself stays.

    It computes exactly what the network does until it is trained. An ``nn.Sequential`` gets the block as one more
    layer, so that its weights keep their names; any other layer becomes the first of two. The new weights are drawn
    from torch's own generator.

    Args:
        module: any network;  after: names as in ``module.named_modules()``, such as "layer1".
        like: one input or more (n, *f): it is passed through once, in evaluation mode, to see how many channels there
            are.
        kind, size: of every block.

    Raises:
        SpecError for a name that the network does not have.
        SettingError if no name is given, or one twice, or kind and size mean nothing.
        ModelError if a layer is not called, or does not return feature maps (n, c, h, w).

    Source:  Xie, Wu, van der Maaten, Yuille & He 2019, arXiv:1812.03411: after the last block of each stage.
    """
    if isinstance(after, str):
        raise ArgumentTypeError(f"after={shown(after)} must be a list of names, such as [{after!r}]")
    names = {name for name, _ in module.named_modules() if name}
    for name in after:
        if name not in names:
            raise unknown("layer", name, names)
    if not after or len(set(after)) < len(after):
        raise SettingError(f"after={shown(after)} must name at least one layer, and none twice")
    twin = copy.deepcopy(module)
    channels = _channels(twin, after, like)
    for name in sorted(after, key=lambda each: -each.count(".")):  # the innermost first: outer names stay as they are
        layer = twin.get_submodule(name)
        block = Denoise(channels[name], kind, size=size).to(like).train(layer.training)
        if type(layer) is nn.Sequential:
            taken = {child for child, _ in layer.named_children()}  # append would write over one of that number
            layer.add_module(next(str(i) for i in count(len(layer)) if str(i) not in taken), block)
        else:
            parent, _, last = name.rpartition(".")
            setattr(twin.get_submodule(parent), last, nn.Sequential(layer, block).train(layer.training))
    return twin


def _channels(module: nn.Module, after: Sequence[str], like: Batch) -> dict[str, int]:
    """The channels of what these layers return, by name."""
    seen: dict[str, object] = {}

    def note(name: str, _layer: nn.Module, _args: object, output: object) -> None:
        seen[name] = output

    hooks = [module.get_submodule(name).register_forward_hook(partial(note, name)) for name in after]
    modes = [(each, each.training) for each in module.modules()]
    try:
        with torch.no_grad():
            module.eval()(like)
    finally:
        for hook in hooks:
            hook.remove()
        for each, training in modes:
            each.training = training
    for name in after:
        if name not in seen:
            raise ModelError(f"the layer {name!r} is not called on the way to the output; name one that is")
        output = seen[name]
        if not isinstance(output, Tensor) or output.dim() != 4:
            told = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(f"the layer {name!r} returns {told}; a block needs feature maps (n, c, h, w)")
    return {name: output.shape[1] for name, output in seen.items() if isinstance(output, Tensor)}
