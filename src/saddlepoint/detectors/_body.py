"""A classifier as a module, with a look at the layers inside; nothing is counted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels, Logits
from saddlepoint.checks import check_classes, check_inputs, check_labels
from saddlepoint.classifier import Classifier
from saddlepoint.errors import DataError, ModelError, unknown

Layers: TypeAlias = Sequence[str | None]
"""Names of submodules, whose outputs are meant; None: the input of the last linear layer."""


@final
class Body(nn.Module):
    """What a classifier computes: normalisation, then its module; tensor code only, so that it can be exported.

    Args:  model: a random one is asked once.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.module: Callable[[Tensor], Any] = model.module
        self.register_buffer("mean", _placed(model.mean, model.device), persistent=False)
        self.register_buffer("std", _placed(model.std, model.device), persistent=False)
        self._dtype, self._autocast, self._device = model.dtype, model.autocast, model.device.type

    def forward(self, x: Batch) -> Logits:
        """Logits (n, k), k >= 2, of inputs (n, *f), in their precision.

        Raises:  ModelError if the module does not return one row of logits for each input.
        """
        inner = x if self.mean is None else x - _per_channel(self.mean, x)
        inner = inner if self.std is None else inner / _per_channel(self.std, x)
        with torch.autocast(self._device, self._autocast) if self._autocast else nullcontext():
            output = self.module(inner if self._dtype is None else inner.to(self._dtype))
        logits = getattr(output, "logits", output)  # the output classes of Hugging Face carry it
        if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[0] != x.shape[0]:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(f"the model returned {got} for inputs {tuple(x.shape)}; a detector needs logits (n, k)")
        logits = logits.to(x.dtype)
        return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits

    def features(self, x: Batch, layers: Layers) -> tuple[Logits, list[Tensor]]:
        """Logits, and what the layers hold, (n, ...) each, in one pass.

        Raises:  ModelError if there is no such layer, or the pass does not go through it.
        """
        seen: dict[str | None, Tensor] = {}
        with self._watched(layers, seen):
            logits = self(x)
        for layer in layers:
            if layer not in seen or seen[layer].shape[:1] != x.shape[:1]:
                raise ModelError(
                    f"layer {layer or 'before the last linear one'!r} gave nothing for {x.shape[0]} inputs; name "
                    "another layer"
                )
        return logits, [seen[layer].to(x.dtype) for layer in layers]

    @contextmanager
    def _watched(self, layers: Layers, seen: dict[str | None, Tensor]) -> Iterator[None]:
        """Within it, a pass leaves what the layers hold in ``seen``."""
        handles = []
        try:
            for name in layers:
                layer = self._layer(name)
                if name is None:
                    handles.append(layer.register_forward_pre_hook(partial(_keep_input, seen)))
                else:
                    handles.append(layer.register_forward_hook(partial(_keep_output, seen, name)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _layer(self, name: str | None) -> nn.Module:
        if not isinstance(self.module, nn.Module):
            raise ModelError("the model is a function, whose layers cannot be seen; give an nn.Module")
        named: dict[str, nn.Module] = dict(self.module.named_modules())
        if name is None:
            linear = [layer for layer in named.values() if isinstance(layer, nn.Linear)]
            if not linear:
                raise ModelError(f"the model has no linear layer; name another one: {', '.join(filter(None, named))}")
            return linear[-1]
        if name not in named:
            raise unknown("layer", name, filter(None, named))
        return named[name]


def _keep_input(seen: dict[str | None, Tensor], _layer: nn.Module, given: tuple[Tensor, ...]) -> None:
    seen[None] = given[0]


def _keep_output(seen: dict[str | None, Tensor], name: str, _layer: nn.Module, _given: object, output: Tensor) -> None:
    seen[name] = output


def _placed(value: Tensor | None, device: torch.device) -> Tensor | None:
    return None if value is None else value.to(device=device, dtype=torch.float32)


def _per_channel(value: Tensor, x: Batch) -> Tensor:
    return value.to(x.dtype).view(-1, *[1] * (x.dim() - 2)) if value.dim() else value.to(x.dtype)


def checked_rows(model: Classifier, x: Tensor, y: Tensor) -> tuple[Batch, Labels]:
    """The clean rows that a detector is fitted to.

    Raises:  InputError for what no attack would take either;  DataError if there is none.
    """
    x = check_inputs(model, x)
    if not len(x):
        raise DataError("there are no rows to fit the detector to; give clean rows with their labels")
    return x, check_labels(y, x, "y")


def collected(
    model: Classifier, body: Body, x: Batch, y: Labels, layers: Layers, *, batch_size: int = 512
) -> tuple[Logits, list[Tensor]]:
    """Logits and features of all rows, in evaluation mode, without gradients, in chunks.

    Raises:  InputError if a label is no class of the model.
    """
    logits: list[Tensor] = []
    found: list[list[Tensor]] = []
    with torch.no_grad(), model.frozen():
        for part in x.split(batch_size):
            told, features = body.features(part, layers)
            logits.append(told)
            found.append(features)
    every = torch.cat(logits)
    check_classes(every, y=y)
    return every, [torch.cat(parts) for parts in zip(*found, strict=True)]
