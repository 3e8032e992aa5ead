"""The step of Auto-PGD in L1: how many features it moves, and how far."""

from dataclasses import dataclass
from typing import Self, final

import torch

from saddlepoint._typing import Batch, Mask, PerRow
from saddlepoint.balls import Bounds
from saddlepoint.balls.ball import movable

_FIRST, _LESS, _SHORTEST = 0.2, 1.5, 10.0  # share of the features; what it and the step fall by; the step's range


@final
@dataclass(frozen=True)
class Thinning:
    """The share of its features that a row moves in a step, and how many its best point had changed, both (n,)."""

    share: PerRow
    changed: PerRow

    @classmethod
    def start(cls, x: Batch, x0: Batch, given: bool) -> Self:
        """At a random point: a fifth of the features; at a point that was ``given``, 2/3 of those that it changes."""
        changed, features = _changed(x, x0), max(1, x0[:1].numel())
        if given:
            return cls(changed / features / _LESS, changed)
        return cls(torch.full_like(changed, _FIRST), torch.full_like(changed, features))

    def next(
        self, best: Batch, x0: Batch, size: PerRow, eps: PerRow, t: int, steps: int
    ) -> tuple["Thinning", PerRow, Mask]:
        """After t of so many steps: the control, the size of the step, and which rows go back to their best point."""
        every = max(steps * 4 // 100, 1)
        if t == 0 or t % every:
            return self, size, torch.zeros_like(size, dtype=torch.bool)
        changed = _changed(best, x0)
        sparser = changed < 0.95 * self.changed
        size = torch.where(sparser, eps, torch.maximum(size / _LESS, eps / _SHORTEST))
        return Thinning(changed / max(1, x0[:1].numel()) / _LESS, changed), size, sparser


def sparse_step(grad: Batch, share: PerRow, x: Batch, bounds: Bounds) -> Batch:
    """A step of L1 length 1 along the signs of each row's largest gradients, all of one size; ties count too.

    Args:  grad, x: (n, *f);  share: (n,), of the features, that move: rounded down, and at least one. Features that the
        box stops do not count.
    """
    flat = grad.flatten(1)
    if not flat.numel():
        return grad
    features, size = flat.shape[1], movable(flat, x.flatten(1), bounds)
    place = features - (share * features + 1e-3).floor().clamp(1, features).long()
    least = size.sort(1).values.gather(1, place[:, None])
    sign = torch.where((size >= least) & (size > 0), flat.sign(), 0)
    return (sign / sign.abs().sum(1, keepdim=True).clamp_min(1)).view(grad.shape)


def _changed(x: Batch, x0: Batch) -> PerRow:
    return (x != x0).flatten(1).sum(1).to(x.dtype)
