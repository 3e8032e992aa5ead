"""The L1 ball: the sizes of all changes add up to at most eps."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, PerRow, is_number
from saddlepoint.balls.ball import Ball, movable
from saddlepoint.balls.bounds import Bounds
from saddlepoint.errors import RadiusError, shown
from saddlepoint.noise import Noise

_ROUNDS = 100


@final
@dataclass(frozen=True, eq=False)
class L1(Ball):
    """sum_i |x_i - x0_i| <= eps.

    Args:
        eps: in input units, one number or one per row (n,).
        share: of the features that one step moves, those of the largest gradients (at least one of them, ties all).
            1 / d, or less, is the steepest step; the larger default makes progress on many features at once.

    Source:  the step is SLIDE's: Tramer & Boneh 2019, arXiv:1904.13000, section 4.2, with q = 1 - share.
    """

    share: float = 0.01
    norm: ClassVar[str] = "l1"

    def __post_init__(self) -> None:
        self.check_eps()
        if not is_number(self.share) or not 0 <= self.share <= 1:
            raise RadiusError(
                f"share={shown(self.share)} must lie in [0, 1]: the share of the features that a step moves"
            )

    def widest(self, bounds: Bounds, features: int) -> float:
        return bounds.width * features

    def distance(self, x: Batch, x0: Batch) -> PerRow:
        return (x - x0).abs().flatten(1).sum(1)

    def project(self, x: Batch, x0: Batch, bounds: Bounds) -> Batch:
        """Nearest point of ball and box: every change shrinks by the same amount, then stops at the box.

        The amount is the root of a piecewise linear, decreasing function; Newton's method inside a bracket finds it
        exactly once it is on the right piece, usually within ten rounds.
        """
        point, start = x.flatten(1), x0.flatten(1)
        delta, radius = point - start, self.radius(start)
        room = torch.where(delta > 0, bounds.upper - start, start - bounds.lower)
        size = torch.minimum(delta.abs(), room)
        far = size.sum(1, keepdim=True) > radius * (1 + 8 * torch.finfo(x.dtype).eps)
        if bool(far.any()):
            size = _shrunk(delta.abs(), room, torch.as_tensor(radius, dtype=x.dtype, device=x.device))
            moved = start + size * delta.sign()
            # One amount for all rounds many features the same way; rounded towards x0 they add up to no more than eps.
            moved = torch.where((moved - start).abs() > size, moved.nextafter(start), moved)
            point = torch.where(far, moved, point)
        return point.view(x0.shape).clamp(bounds.lower, bounds.upper)

    def random_start(self, x0: Batch, bounds: Bounds, noise: Noise) -> Batch:
        """Uniform in the ball: d + 1 exponential shares of eps, the last one left over, random signs; then the box."""
        wide = x0.new_empty(len(x0), 2 * x0[:1].numel() + 1)
        draw = noise.uniform(wide)
        d = x0[:1].numel()
        shares = -(1 - draw[:, : d + 1]).log()
        shares = shares[:, :d] / shares.sum(1, keepdim=True).clamp_min(torch.finfo(x0.dtype).tiny)
        delta = shares * torch.where(draw[:, d + 1 :] < 0.5, -1, 1) * self.radius(x0.flatten(1))
        return self.project(x0 + delta.view(x0.shape), x0, bounds)  # with many features rounding could add up

    def steepest_step(self, grad: Batch, x: Batch | None = None, bounds: Bounds | None = None) -> Batch:
        flat = grad.flatten(1)
        size = flat.abs() if x is None or bounds is None else movable(flat, x.flatten(1), bounds)
        kept = max(1, math.ceil(self.share * size.shape[1] - 1e-9)) if size.shape[1] else 0
        least = size.topk(kept, 1).values[:, -1:] if kept else size
        sign = torch.where((size >= least) & (size > 0), flat.sign(), 0)
        return (sign / sign.abs().sum(1, keepdim=True).clamp_min(1)).view(grad.shape)


def _shrunk(size: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """min(max(size - t, 0), room) for the t >= 0 at which each row (n, d) adds up to ``radius``."""
    low, high = torch.zeros_like(size[:, :1]), size.amax(1, keepdim=True)
    t = low
    for _ in range(_ROUNDS):
        left = (size - t).clamp_min(0)
        cut = torch.minimum(left, room)
        excess = cut.sum(1, keepdim=True) - radius
        low, high = torch.where(excess > 0, t, low), torch.where(excess > 0, high, t)
        there = excess.abs() <= radius * 4 * torch.finfo(size.dtype).eps
        if bool(there.all()):
            break
        slope = ((left > 0) & (left <= room)).sum(1, keepdim=True)
        newton = t + excess / slope.clamp_min(1)
        usable = (slope > 0) & (newton > low) & (newton < high)
        following = torch.where(there, t, torch.where(usable, newton, (low + high) / 2))  # no row waits and drifts
        if bool((following == t).all()):
            break
        t = following
    t = torch.where(excess > radius * 4 * torch.finfo(size.dtype).eps, high, t)  # out of rounds: the feasible end
    return torch.minimum((size - t).clamp_min(0), room)
