"""When Auto-PGD halves its step, in Linf and L2."""

import math
from dataclasses import dataclass, replace
from typing import Self, final

import torch

from saddlepoint._typing import Mask, PerRow


@final
@dataclass(frozen=True)
class Halving:
    """What decides about a row's step size: all (n,).

    The loss at the last point; how often it rose since the last checkpoint; the highest loss at that checkpoint, and
    whether the step was halved there.
    """

    last: PerRow
    rises: PerRow
    checked: PerRow
    halved: Mask

    @classmethod
    def start(cls, like: PerRow) -> Self:
        """Before the first look."""
        none = torch.zeros_like(like)
        return cls(none, none, none, torch.zeros_like(like, dtype=torch.bool))

    def next(
        self, loss: PerRow, best: PerRow, size: PerRow, rho: float, t: int, steps: int
    ) -> tuple["Halving", PerRow, Mask]:
        """After t of so many steps: the control, the size of the step, and which rows go back to their best point.

        Args:  loss: now;  best: the highest so far;  rho: the share of steps in which it must rise.
        """
        never = torch.zeros_like(self.halved)
        if t == 0:
            return replace(self, last=loss, checked=loss), size, never
        rises, since = self.rises + higher(loss, self.last), since_checkpoint(t, steps)
        if not since:
            return replace(self, last=loss, rises=rises), size, never
        back = (rises < rho * since) | (~self.halved & ~higher(best, self.checked))
        return Halving(loss, torch.zeros_like(rises), best, back), torch.where(back, size / 2, size), back


def higher(loss: PerRow, old: PerRow) -> Mask:
    """Rows whose loss rose by more than rounding, which differs with the size of the batch."""
    return loss > old + 16 * torch.finfo(old.dtype).eps * old.abs()


def since_checkpoint(t: int, steps: int) -> int:
    """The steps from the last checkpoint to this one, 0 where t is none.

    The checkpoints are w_j = ceil(p_j steps), p_0 = 0, p_1 = .22, p_{j+1} = p_j + max(p_j - p_{j-1} - .03, .06).
    """
    before, p, last, mark = 0, 22, 0, math.ceil(22 * steps / 100)  # p in hundredths
    while mark < t and p < 100:
        before, p = p, p + max(p - before - 3, 6)
        last, mark = mark, math.ceil(p * steps / 100)
    return t - last if t == mark else 0
