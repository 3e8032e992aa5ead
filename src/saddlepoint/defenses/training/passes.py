"""Rows that go through a module, counted whoever calls it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from saddlepoint.classifier import Meter


@contextmanager
def counted(module: nn.Module) -> Iterator[Meter]:
    """A meter of the rows that go forward and backward through a module, called directly or as functional_call."""
    meter = Meter()

    def count(_module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        meter.forwards += len(args[0])
        logits = getattr(output, "logits", output)
        if isinstance(logits, Tensor) and logits.requires_grad:
            logits.register_hook(partial(meter.backward, len(args[0])))

    hook = module.register_forward_hook(count)
    try:
        yield meter
    finally:
        hook.remove()
