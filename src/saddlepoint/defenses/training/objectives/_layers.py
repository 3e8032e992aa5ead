"""The Jacobians of a net's layers, in closed form, seen while the layers are computed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from saddlepoint.errors import ModelError

_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
_FROM_OUTPUT: dict[str, Callable[[Tensor], Tensor]] = {  # the slope of an activation, from what it returned
    "relu": lambda a: (a > 0).to(a.dtype),
    "tanh": lambda a: 1 - a.square(),
    "sigmoid": lambda a: a * (1 - a),
}
_OTHERS = {"celu", "elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu6", "selu", "silu"}
_OTHERS |= {
    "hardshrink",
    "hardsigmoid",
    "log_sigmoid",
    "prelu",
    "rrelu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
}


@final
class _Layer:
    """One layer of one pass: |W_i|^2 of its outputs, and what came after them."""

    def __init__(self, output: Tensor, reached: Tensor) -> None:
        self.output, self.reached = output, reached  # the last tensor of the layer; (1, ...) or as output
        self.slope: Tensor | None = None

    def squares(self) -> Tensor:
        """The squared norm of each output's row of the Jacobian (n, ...)."""
        slope = torch.ones_like(self.output) if self.slope is None else self.slope
        return slope.square() * self.reached


@final
class Watch(TorchFunctionMode):
    """Sees layers being computed, whether modules or functions compute them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[_Layer] = []
        self.passes = 0
        self._last: dict[int, _Layer] = {}  # by the id of its output, which the layer keeps alive
        self._padded: dict[int, tuple[Tensor, Tensor]] = {}  # padded inputs, with ones where they are not padding

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (torch's own)
        given = dict(kwargs or {})
        before = args[0] if args and isinstance(args[0], Tensor) else None
        output = func(*args, **given)
        if before is None or not isinstance(output, Tensor) or not torch.is_grad_enabled():
            return output
        if func is functional.linear:
            weight = args[1] if len(args) > 1 else given["weight"]
            self._add(output, weight.square().sum(1))
        elif func in _CONVOLUTIONS:
            self._add(output, self._convolution(func, args, given))
        elif func is functional.pad and args[1:2] and before.dim() > 2:
            self._pad(output, args, given)
        elif (layer := self._last.get(id(before))) is not None and layer.slope is None:
            self._follow(layer, before, output, func, args, given)
        return output

    def _add(self, output: Tensor, reached: Tensor) -> None:
        layer = _Layer(output, reached)
        self.layers.append(layer)
        self._last[id(output)] = layer

    def _follow(
        self,
        layer: _Layer,
        before: Tensor,
        output: Tensor,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        given: dict[str, Any],
    ) -> None:
        name = getattr(func, "__name__", "").strip("_")
        if func is functional.batch_norm:
            scale = _scale(*args[1:], **given)
            layer.reached = layer.reached * scale.square().view(-1, *[1] * (output.dim() - 2))
        elif name in _FROM_OUTPUT:
            layer.slope = _FROM_OUTPUT[name](output)
        elif name in _OTHERS:
            if output is before:
                raise ModelError(f"{name} changes its input in place, so that its slope is lost; use inplace=False")
            layer.slope = torch.autograd.grad(output, before, torch.ones_like(output), create_graph=True)[0]
        else:
            return
        del self._last[id(before)]  # its id may go to another tensor
        layer.output = output
        self._last[id(output)] = layer

    def _convolution(self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]) -> Tensor:
        x, weight = args[0], args[1] if len(args) > 1 else given["weight"]
        rest = {key: value for key, value in given.items() if key not in ("weight", "bias")}
        _, ones = self._padded.get(id(x), (x, torch.ones_like(x[:1])))
        found: Tensor = func(ones, weight.square(), None, *args[3:], **rest)
        return found

    def _pad(self, output: Tensor, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        mode = args[2] if len(args) > 2 else given.get("mode", "constant")
        if mode != "constant":
            raise ModelError(f"padding by {mode!r} has no closed form here; use zero padding, or the objective alone")
        self._padded[id(output)] = (output, functional.pad(torch.ones_like(args[0][:1]), args[1]))


@contextmanager
def watched(module: nn.Module) -> Iterator[Watch]:
    """Every pass of the module with gradients is seen."""
    watch = Watch()

    def count(*_: object) -> None:
        watch.passes += torch.is_grad_enabled()

    hook = module.register_forward_hook(count)
    try:
        with watch:
            yield watch
    finally:
        hook.remove()


def _scale(
    running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """What batch normalisation multiplies by in evaluation mode."""
    if running_var is None:
        raise ModelError("batch normalisation without running statistics mixes rows; use track_running_stats=True")
    scale = (running_var.clone() + eps).rsqrt()
    return scale if weight is None else scale * weight
