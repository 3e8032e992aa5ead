"""Exponential moving averages of weights, and copies of all that a module holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

State: TypeAlias = dict[str, Tensor]


def snapshot(module: nn.Module) -> State:
    """A copy of a module's parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def follow(average: State, module: nn.Module, decay: float) -> None:
    """Move the average, in place, one step after the module: a <- decay a + (1 - decay) w; integers are copied.

    An average that is empty begins as the module.
    """
    for name, tensor in module.state_dict().items():
        if name in average and tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name] = tensor.detach().clone()


@contextmanager
def holding(module: nn.Module, state: State) -> Iterator[None]:
    """The module with other weights (its own if there are none), and afterwards with its own again, to the bit."""
    if not state:
        yield
        return
    own = snapshot(module)
    try:
        put(module, state)
        yield
    finally:
        put(module, own)


def put(module: nn.Module, state: State) -> None:
    """Give a module these weights."""
    with torch.no_grad():
        module.load_state_dict(state)
