"""The curvature that L-BFGS remembers, of every row its own."""

from dataclasses import dataclass, replace
from typing import Self, final

import torch
from torch import Tensor

from saddlepoint._typing import Mask, PerRow

_CURVED = 1e-10


@final
@dataclass(frozen=True)
class Memory:
    """The last steps of each row and the changes of its gradient, in rings of m + 1 slots: both (n, m + 1, d).

    ``head`` (n,) is the slot that is written next, and never in use; ``used`` (n,) of the m before it are.
    """

    steps: Tensor
    changes: Tensor
    head: Tensor
    used: Tensor

    @classmethod
    def empty(cls, x: Tensor, size: int) -> Self:
        """Room for ``size`` pairs of each row of x (n, d)."""
        blank, zero = x.new_zeros(len(x), size + 1, x.shape[1]), torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return cls(blank, blank, zero, zero)

    def with_pair(self, rows: Mask, step: Tensor, change: Tensor) -> Self:
        """These rows (n,) remember a step and the change of the gradient over it, both (n, d).

        The others write to their head too, but leave it where it is: selecting rows would cost another copy.
        """
        slots = self.steps.shape[1]
        here = torch.arange(len(step), device=step.device) * slots + self.head
        steps, changes = (
            ring.view(-1, ring.shape[2]).index_copy(0, here, new).view_as(ring)
            for ring, new in ((self.steps, step), (self.changes, change))
        )
        used = torch.where(rows, (self.used + 1).clamp_max(slots - 1), self.used)
        return type(self)(steps, changes, torch.where(rows, (self.head + 1) % slots, self.head), used)

    def forget(self, rows: Mask) -> Self:
        """These rows (n,) remember nothing."""
        return replace(self, used=torch.where(rows, 0, self.used))

    def direction(self, grad: Tensor, free: Tensor, scale: PerRow) -> Tensor:
        """The quasi-Newton direction -H grad on the free features, -grad on the others.

        The two loops of L-BFGS with inner products over the free features, each row over its own pairs of positive
        curvature. Without any, H is ``scale``.

        Args:  grad (n, d);  free (n, d), 1 for free features and 0 for others;  scale (n,).
        Source:  Nocedal 1980, "Updating quasi-Newton matrices with limited storage"; the split of the features as in
            Bertsekas 1982, "Projected Newton methods for optimization problems with simple constraints".
        """
        steps, changes = self._ordered(self.steps), self._ordered(self.changes) * free[:, None]
        curvature, square = (steps * changes).sum(2), changes.square().sum(2)
        size = steps.shape[1]
        known = (torch.arange(size, device=grad.device) < self.used[:, None]) & (curvature > _CURVED * square)
        inverse = torch.where(known, 1 / torch.where(known, curvature, 1), 0)
        ratio = torch.where(known, curvature / torch.where(known, square, 1), 0)
        rest, shares = grad * free, []
        for i in range(size):
            share = inverse[:, i] * (steps[:, i] * rest).sum(1)
            rest = torch.addcmul(rest, changes[:, i], share[:, None], value=-1)
            shares.append(share)
        newest = known.int().argmax(1, keepdim=True)
        rest = rest * torch.where(known.any(1), ratio.gather(1, newest).squeeze(1), scale)[:, None]
        for i in reversed(range(size)):
            share = shares[i] - inverse[:, i] * (changes[:, i] * rest).sum(1)
            rest = torch.addcmul(rest, steps[:, i], share[:, None])
        return torch.lerp(grad, rest, free).neg_()

    def _ordered(self, ring: Tensor) -> Tensor:
        """The m slots before the head, newest first: (n, m, d)."""
        rows, slots, features = ring.shape
        back = torch.arange(1, slots, device=ring.device)
        first = torch.arange(rows, device=ring.device)[:, None] * slots
        index = first + (self.head[:, None] - back) % slots
        return ring.view(-1, features).index_select(0, index.flatten()).view(rows, slots - 1, features)
