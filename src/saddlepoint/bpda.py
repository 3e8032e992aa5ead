"""What stands between the input and a classifier, and what an attack may take for its gradient (BPDA)."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias, cast, final, runtime_checkable

import torch
from torch import Tensor, nn

from saddlepoint.balls.bounds import Bounds
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError, shown

Map: TypeAlias = Callable[[Tensor], Tensor]
Backward: TypeAlias = str | Map | None
"""None: what the transform declares, autograd where it declares nothing;  "identity";  or a differentiable map."""


@runtime_checkable
class Declares(Protocol):
    """A transform that says what its gradient is worth: see ``defenses.transforms.Transform``."""

    bounds: Bounds
    differentiable: bool
    random: bool

    def surrogate(self, x: Tensor) -> Tensor:
        """A differentiable map near this one."""

    def settings(self) -> dict[str, Any]:
        """What its numbers depend on, apart from parameters and buffers."""


def bpda(forward: Map, backward: str | Map = "identity") -> Map:
    """A function with the values of one map and the gradient of another.

    The value is that of ``forward``, bit for bit. The gradient is that of ``backward`` at the same input: the upstream
    gradient itself, unchanged, for "identity"; else the upstream gradient times the Jacobian of that map.

    Args:  forward: of inputs (n, *f), differentiable or not;  backward: a differentiable map to the same shape.

    Raises:  SettingError, when called, if the two do not have one shape.
    Source:  Athalye, Carlini & Wagner 2018, arXiv:1802.00420, section 4.1.

    >>> x = torch.tensor([0.2, 0.7], requires_grad=True)
    >>> y = bpda(torch.round)(x)
    >>> y.tolist(), torch.autograd.grad(y, x, torch.tensor([3.0, 5.0]))[0].tolist()
    ([0.0, 1.0], [3.0, 5.0])
    """

    def both(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(x)
        with torch.no_grad():
            value = forward(x)
        near = x if isinstance(backward, str) else backward(x)
        if near.shape != value.shape:
            raise SettingError(
                f"the transform makes {tuple(value.shape)} of {tuple(x.shape)}, what stands for it in the backward "
                f"pass {tuple(near.shape)}; give a backward that is a map to the same shape"
            )
        return cast(Tensor, _Swap.apply(near, value.detach()))  # type: ignore[no-untyped-call]

    return both


class _Swap(torch.autograd.Function):
    """The second tensor, with the gradient of the first."""

    @staticmethod
    def forward(_ctx: Any, _near: Tensor, value: Tensor) -> Tensor:  # noqa: ANN401 (torch's)
        return value.view_as(value)

    @staticmethod
    def backward(_ctx: Any, grad: Tensor) -> Any:  # noqa: ANN401
        return grad, None


@final
class Stage(nn.Module):
    """A transform with what stands for it in the backward pass.

    Args:  transform: a ``Transform``, any module, or a function of a batch;  backward: see :data:`Backward`.

    Raises:
        ArgumentTypeError: if one of them cannot be called.
        SettingError: if backward is another word than "identity".
    """

    def __init__(self, transform: Map, backward: Backward = None) -> None:
        super().__init__()
        if inspect.isclass(transform) or not callable(transform):
            raise ArgumentTypeError(
                f"transform={shown(transform)} must be a Transform, a module or a function of a batch; a name goes "
                "into a spec: saddlepoint.load_model('zoo:mnist-standard | median:2')"
            )
        if isinstance(backward, str) and backward != "identity":
            raise SettingError(f"backward={shown(backward)} must be 'identity', a differentiable map, or None")
        if inspect.isclass(backward) or not (backward is None or isinstance(backward, str) or callable(backward)):
            raise ArgumentTypeError(f"backward={shown(backward)} must be 'identity', a differentiable map, or None")
        self.transform: Any = transform
        self.given: Any = backward
        way = _declared(transform) if backward is None else backward
        self._map: Map = transform if way is None else bpda(transform, way)
        self._typed = _dtype(transform) is not None  # to look for parameters takes longer than a small filter
        self.training = False  # what is inside has flags of its own

    def forward(self, x: Tensor) -> Tensor:
        dtype = _dtype(self.transform) if self._typed else None
        found = self._map(x if dtype is None else x.to(dtype))
        if not isinstance(found, Tensor) or found.shape[:1] != x.shape[:1]:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ModelError(f"the transform made {got} of {tuple(x.shape)}; it must return one row per input")
        return found

    @property
    def random(self) -> bool:
        """Whether every pass draws anew, by row id."""
        return isinstance(self.transform, Declares) and self.transform.random

    @property
    def lasting(self) -> bool:
        """Whether another process can tell that it is the same: not of a function."""
        return isinstance(self.transform, nn.Module) and isinstance(self.given, str | nn.Module | None)

    @property
    def title(self) -> str:
        """What reports call it: the name and the settings of a ``Transform``, the class of a module."""
        if not isinstance(self.transform, Declares):
            return str(getattr(self.transform, "__qualname__", type(self.transform).__qualname__))
        name = getattr(self.transform, "name", type(self.transform).__qualname__)
        return " ".join([name, *(f"{key}={value}" for key, value in self.transform.settings().items())])

    def describe(self) -> str:
        """What its numbers depend on, apart from parameters and buffers."""
        return f"{_described(self.transform)} {_described(self.given)}"


@final
class Prepended(nn.Module):
    """Stages, the normalisation, and a module.

    Args:  stages: the first gets the inputs;  module: gets what the last returns, normalised, in its own precision.
    """

    def __init__(self, stages: Iterable[Stage], normalise: Map, module: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.training = self.stages.training = False
        self.normalise, self.inner = normalise, module

    def forward(self, x: Tensor) -> Any:  # noqa: ANN401 (what the user's module returns)
        for stage in self.stages:
            x = stage(x)
        x, dtype = self.normalise(x), _dtype(self.inner)
        return self.inner(x if dtype is None else x.to(dtype))


def _declared(transform: Any) -> Map | None:  # noqa: ANN401 (a Protocol and a function exclude each other for mypy)
    """The surrogate of a transform that says that autograd does not do."""
    return transform.surrogate if isinstance(transform, Declares) and not transform.differentiable else None


def _dtype(module: object) -> torch.dtype | None:
    """Of the first parameter of a module that has one."""
    if not isinstance(module, nn.Module):
        return None
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), None)


def _described(value: object) -> str:
    if value is None or isinstance(value, str):
        return str(value)
    kind = type(value) if isinstance(value, nn.Module) or not hasattr(value, "__qualname__") else value
    name = f"{getattr(kind, '__module__', '')}.{kind.__qualname__}"
    if isinstance(value, Declares):
        return f"{name} {sorted(value.settings().items())}"
    return f"{name} {value!r}" if isinstance(value, nn.Module) else name
