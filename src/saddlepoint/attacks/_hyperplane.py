"""The nearest point of a hyperplane inside the box, in Linf, L2 and L1, for many rows at once."""

import torch
from torch import Tensor

from saddlepoint._typing import PerRow
from saddlepoint.balls import Bounds

_ROUNDS = 200


def to_hyperplane(x: Tensor, w: Tensor, missing: PerRow, bounds: Bounds, norm: str) -> Tensor:
    """The shortest step (n, d) from x to {z: <w, z - x> = missing} within the box.

    No feature moves away from the plane, and none further than the box lets it: with rates a = |w| and caps c the
    sizes are min(s, c) in Linf and min(s a, c) in L2, for the s at which <a, size> is what is missing; in L1 the
    features of the largest rates go all the way, one after the other. Where the plane does not meet the box, the step
    goes to the corner that comes nearest to it; without any rate there is no step.

    Args:  x: (n, d) in the box;  w: (n, d), finite;  missing: (n,), of any sign;  norm: "linf", "l2" or "l1".
    """
    scale = w.abs().amax(1, keepdim=True) if w.shape[1] else w.new_zeros(len(w), 1)
    scale = torch.where(scale > 0, scale, 1)  # rates are squared below
    rate, goal, direction = w.abs() / scale, missing.abs()[:, None] / scale, w.sign() * missing.sign()[:, None]
    cap = torch.where(direction > 0, bounds.upper - x, x - bounds.lower)
    if norm == "l1":
        return direction * _steepest_first(rate, cap, goal)
    if norm == "linf":
        level = _level(rate, cap, goal)
        return direction * torch.minimum(level, cap)
    moves = rate > torch.finfo(w.dtype).tiny ** 0.5  # slower features gain nothing that rounding would keep
    reach = torch.where(moves, cap / torch.where(moves, rate, 1), 0)
    level = _level(torch.where(moves, rate.square(), 0), reach, goal)
    return direction * torch.minimum(torch.minimum(level, reach) * rate, cap)


def _level(rate: Tensor, cap: Tensor, goal: Tensor) -> Tensor:
    """The s (n, 1) with sum_i rate_i min(s, cap_i) = goal, the largest useful one where the goal is beyond it.

    The sum is concave and piecewise linear in s: Newton's method from 0 comes up to the root from below, and is there
    once it is on the right piece, usually within ten rounds, without sorting.
    """
    level = torch.zeros_like(goal)
    for _ in range(_ROUNDS):
        open_ = cap > level
        slope = torch.where(open_, rate, 0).sum(1, keepdim=True)
        full = torch.where(open_, 0, rate * cap).sum(1, keepdim=True)
        further = torch.where(slope > 0, (goal - full) / torch.where(slope > 0, slope, 1), level)
        there = further <= level * (1 + 4 * torch.finfo(level.dtype).eps)
        level = torch.where(there, level, further)  # a row that is there does not drift while others go on
        if bool(there.all()):
            break
    return torch.where(slope > 0, level, cap.amax(1, keepdim=True) if cap.shape[1] else level)


def _steepest_first(rate: Tensor, cap: Tensor, goal: Tensor) -> Tensor:
    """Sizes (n, d): all of the cap for the largest rate, then the next, until <rate, size> is the goal."""
    order = rate.argsort(dim=1, descending=True, stable=True)
    rate, cap = rate.gather(1, order), torch.where(rate > 0, cap, 0).gather(1, order)
    gain = rate * cap
    rest = (goal - (gain.cumsum(1) - gain)).clamp_min(0)
    size = torch.minimum(rest / torch.where(rate > 0, rate, 1), cap)
    return torch.zeros_like(size).scatter(1, order, size)
