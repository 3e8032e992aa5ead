"""The norm under test, and the points that it is tested on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor

from saddlepoint.balls import Ball, Bounds
from saddlepoint.noise import Noise

ROWS, SHAPE = 40, (3, 2, 2)
UNIT = Bounds(0.0, 1.0)
DTYPES = (torch.float32, torch.float64)


@final
@dataclass(frozen=True)
class Kind:
    """A norm under test, and whether its ball is convex."""

    ball: type[Ball]
    convex: bool

    def of(self, eps: float | Tensor) -> Ball:
        """The ball of this radius."""
        return cast(Callable[[Any], Ball], self.ball)(eps)

    def radii(self) -> tuple[float, float, float]:
        """A small, a middling and the largest radius in the box."""
        widest = self.of(0.0).widest(UNIT, math.prod(SHAPE))
        return max(widest / 30, 1.0) if self.ball.norm == "l0" else widest / 30, widest / 4, widest  # L0 counts


def points(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows x0 of the box, some features at its faces, and x all around it, one of them x0 itself."""
    like = torch.empty(ROWS, *SHAPE, dtype=dtype)
    x0 = (Noise(0).uniform(like) * 1.4 - 0.2).clamp(0, 1)
    x = x0 + Noise(1).normal(like) * torch.logspace(-3, 1, ROWS, dtype=dtype).view(-1, 1, 1, 1)
    x[3::5, 0] = x0[3::5, 0]
    return x0, x


def mixed(kind: Kind, dtype: torch.dtype) -> Tensor:
    """One eps per row, 0 among them."""
    return torch.tensor((0.0, *kind.radii()), dtype=dtype).repeat(ROWS // 4)
