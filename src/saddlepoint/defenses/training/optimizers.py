"""Optimizers as values."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias, final

import torch
from torch import nn

from saddlepoint.errors import SettingError, shown


@final
@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) with torch's moments.

    Args:  weight_decay: lambda in grad + lambda w, for parameters of two dimensions or more.
    """

    weight_decay: float = 0.0
    name: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        _check_decay(self.weight_decay)

    def make(self, module: nn.Module, rate: float) -> torch.optim.Optimizer:
        """The optimizer of a module's parameters."""
        return torch.optim.Adam(groups(module, self.weight_decay), lr=rate)


@final
@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent: v <- momentum v + grad + weight_decay w;  w <- w - rate v.

    Args:  momentum: in [0, 1);  nesterov: step along grad + momentum v;
        weight_decay: for parameters of two dimensions or more.
    """

    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    name: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        _check_decay(self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise SettingError(f"momentum={shown(self.momentum)} must lie in [0, 1)")
        if self.nesterov and not self.momentum:
            raise SettingError("nesterov=True needs a momentum above 0; give one, such as momentum=0.9")

    def make(self, module: nn.Module, rate: float) -> torch.optim.Optimizer:
        """The optimizer of a module's parameters."""
        return torch.optim.SGD(
            groups(module, self.weight_decay), lr=rate, momentum=self.momentum, nesterov=self.nesterov
        )


Optimizer: TypeAlias = Adam | SGD
OPTIMIZERS: dict[str, type[Adam] | type[SGD]] = {"adam": Adam, "sgd": SGD}


def groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that are trained; weights decay, while norms and biases (one dimension) do not.

    Without decay it is one group, in the module's own order.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not weight_decay:
        return [{"params": trained}]
    weights, rest = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() <= 1]
    return [{"params": part, "weight_decay": decay} for part, decay in ((weights, weight_decay), (rest, 0.0)) if part]


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer as JSON."""
    return {"name": optimizer.name, **asdict(optimizer)}


def check_whole(name: str, value: object) -> None:
    """Raises:  SettingError if the value is no integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingError(f"{name}={shown(value)} must be an integer")


def _check_decay(weight_decay: float) -> None:
    if not 0 <= weight_decay < math.inf:
        raise SettingError(f"weight_decay={shown(weight_decay)} must be a finite number >= 0, such as 5e-4")
