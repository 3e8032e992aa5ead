"""The L0 ball: at most eps features are changed."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, PerRow
from saddlepoint.balls.ball import Ball, movable
from saddlepoint.balls.bounds import Bounds
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, eq=False)
class L0(Ball):
    """The number of features with x_i != x0_i is at most eps; every channel of a pixel is a feature. Not convex.

    Args:  eps: in features, one number or one per row (n,); a fraction is rounded down.
    """

    norm: ClassVar[str] = "l0"

    def __post_init__(self) -> None:
        self.check_eps()

    def widest(self, bounds: Bounds, features: int) -> float:
        return float(features)

    def distance(self, x: Batch, x0: Batch) -> PerRow:
        return (x != x0).flatten(1).sum(1).to(x.dtype)

    def project(self, x: Batch, x0: Batch, bounds: Bounds) -> Batch:
        """A nearest point of ball and box: of the changes, the eps whose loss would cost most stay, the first on ties.

        Undoing the change v_i of a feature costs v_i^2 - (v_i - c_i)^2, c_i being what the box leaves of it.
        """
        inside = x.clamp(bounds.lower, bounds.upper)
        delta, moved = (x - x0).flatten(1), (inside - x0).flatten(1)
        worth = torch.where(moved != 0, moved * (2 * delta - moved), -1)
        return torch.where(self._largest(worth) & (moved != 0), inside.flatten(1), x0.flatten(1)).view(x0.shape)

    def random_start(self, x0: Batch, bounds: Bounds, noise: Noise) -> Batch:
        """As many features as eps says, drawn without replacement, each uniform in the box."""
        kept = self._largest(noise.uniform(x0).flatten(1))
        value = bounds.lower + bounds.width * noise.child("value").uniform(x0).flatten(1)
        return torch.where(kept, value, x0.flatten(1)).view(x0.shape).clamp_(bounds.lower, bounds.upper)

    def steepest_step(self, grad: Batch, x: Batch | None = None, bounds: Bounds | None = None) -> Batch:
        """The feature of the largest slope moves by 1: one feature, however far, is all that norm 1 allows.

        Attacks made for L0 (JSMA, C&W L0, FMN) choose how far; steps of a fixed size do not suit this ball.
        """
        flat = grad.flatten(1)
        size = flat.abs() if x is None or bounds is None else movable(flat, x.flatten(1), bounds)
        kept = self._largest(size, 1) & (size > 0)
        return torch.where(kept, flat.sign(), 0).view(grad.shape)

    def _largest(self, worth: Tensor, count: int | None = None) -> Tensor:
        """Mask (n, d) of the ``count`` largest entries of each row, the first of equal ones; None means eps."""
        order = worth.argsort(stable=True, dim=1, descending=True)
        places = torch.arange(order.shape[1], device=order.device)
        rank = torch.empty_like(order).scatter_(1, order, places.expand_as(order))
        radius = self.radius(worth) if count is None else count
        return rank < (radius.floor() if isinstance(radius, Tensor) else radius // 1)
