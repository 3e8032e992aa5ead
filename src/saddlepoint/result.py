"""What an attack found: the record that the driver keeps, and the result that the caller gets."""

import math
import time
from dataclasses import dataclass
from enum import Enum
from typing import final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Mask, PerRow
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.losses import Loss, fooled

SLACK = 1e-6
"""Of the width of the bounds: what rounding may do to a point on an edge; inputs further outside are an error."""
_ROUNDING = 1e-5  # of the radius: a sum of squares over many features in float32


@final
class Keep(Enum):
    """Which of the points that an attack looked at is returned."""

    MAX_LOSS = "max-loss"
    """A fooling point of the highest loss, else the point of the highest loss; every step is spent."""
    MIN_DISTANCE = "min-distance"
    """The fooling point nearest to x0, else x0."""
    FIRST_SUCCESS = "first-success"
    """The first fooling point, and the row is dropped; else the point of the highest loss. For robust accuracy."""
    LAST = "last"
    """The last point, whatever it is, without looking at it. For adversarial training and comparisons of iterates."""


@final
@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """One entry per row on every leading axis; a value that cannot lie.

    Attributes:
        x: (n, *f) the returned points: in the ball, in the box, of the type of the inputs.
        success: (n,) the model, asked again about exactly ``x``, is fooled (or says the target, where one was given).
        undefined: (n,) the model's output was not finite, and nothing fooled it: neither fooled nor robust.
            ``x`` is then the point where that happened.
        loss: (n,) the attack's loss at ``x`` (away from y, or towards the target), larger is better for the attacker.
        distance: (n,) distance of ``x`` from the input in the ball's norm, input units.
        forwards, backwards: (n,) passes that this row took. Verification is not counted.
        solved_at: (n,) number of forward passes at the first success, -1 where there was none.
    """

    x: Batch
    success: Mask
    undefined: Mask
    loss: PerRow
    distance: PerRow
    forwards: Labels
    backwards: Labels
    solved_at: Labels


@final
class Record:
    """Best point and counters of every row. The driver alone writes here, and settled rows are never written again.

    ``live`` are the rows still in the batch; ``x``, ``rank`` (what the kept point is ranked by), ``success``,
    ``settled`` are aligned with them.
    """

    def __init__(self, x0: Batch, keep: Keep, seconds: float = math.inf) -> None:
        n, flags = len(x0), torch.zeros(len(x0), dtype=torch.bool, device=x0.device)
        self.keep, self._deadline = keep, time.monotonic() + seconds
        self.forwards = self.backwards = self.fillers = 0  # fillers: forward passes of settled rows
        self.asked: int | Tensor = 0  # forward passes that single rows took beside those of the batch, (n,) if any did
        self.settled_rows = 0
        self.live = torch.arange(n, device=x0.device)
        self.x, self.success, self.settled = x0.clone(), flags, flags.clone()
        self.rank = torch.full((n,), -torch.inf, dtype=x0.dtype, device=x0.device)
        self._final = x0.clone()
        self._undefined = flags.clone()
        self._solved_at = torch.full((n,), -1, device=x0.device)
        self._spent = torch.zeros(2, n, dtype=torch.int64, device=x0.device)

    @property
    def late(self) -> bool:
        """The time is up."""
        return time.monotonic() > self._deadline

    def count(self, *, forwards: int = 0, backwards: int = 0) -> None:
        """Passes that every row of the batch took; settled rows count as fillers."""
        self.forwards += forwards
        self.backwards += backwards
        self.fillers += forwards * self.settled_rows

    def charge(self, each: Labels) -> Mask:
        """Add forward passes of single rows (n,) to those of the batch, for the open rows, which are returned."""
        self.asked = self.asked + torch.where(self.settled, 0, each)
        return ~self.settled

    @property
    def passes(self) -> int | Tensor:
        """Forward passes so far, of all open rows, or of each (n,)."""
        return self.forwards + self.asked

    def _asked(self, rows: Tensor) -> int | Tensor:
        return self.asked[rows] if isinstance(self.asked, Tensor) else self.asked

    def update(self, x: Batch, rank: PerRow, success: Mask, defined: Mask, total: Tensor) -> bool:
        """Keep what is better than the best so far: a success, then the higher rank; -inf is never kept.

        Args:  rank: the loss, or minus the distance under MIN_DISTANCE;  total: any number.
        Returns:  whether ``total``, a number, is finite; told here so that a step asks the device only once.
        """
        if self.keep is Keep.LAST:
            return math.isfinite(total)
        first, higher = success & ~self.success, (success == self.success) & (rank > self.rank)
        better = defined & ~self.settled & (first | higher)
        new = first & better
        over = ~defined
        if self.keep is Keep.FIRST_SUCCESS:
            over = over | success
        elif self.keep is Keep.MIN_DISTANCE:
            over = over | (success & (rank == 0))
        rare = (new | (over & ~self.settled)).any()
        event, total_value = torch.stack([rare.to(total.dtype), total]).tolist()
        self.rank = torch.where(better, rank, self.rank)
        _overwrite(self.x, better, x)  # its own buffer, never the attack's
        if event:
            self._solved_at[self.live[new]] = self.forwards + self._asked(new)
            self.success = self.success | new
            lost = ~defined & ~self.settled & ~self.success
            self._undefined[self.live[lost]] = True
            _overwrite(self.x, lost, x)  # the evidence
            self.settle(over)
        return math.isfinite(total_value)

    def settle(self, rows: Mask | bool) -> None:
        """Freeze these rows of the batch: their best point and their counters are final."""
        index = (rows & ~self.settled).nonzero().squeeze(1)
        if not len(index):
            return
        home = self.live[index]
        self._final.index_copy_(0, home, self.x.index_select(0, index))  # a third of the time of [home] = x[index]
        self._spent[0, home], self._spent[1, home] = self.forwards + self._asked(index), self.backwards
        self.settled = self.settled.index_fill(0, index, True)
        self.settled_rows += len(index)

    def compact(self, index: Tensor) -> None:
        """Go on with these rows of the batch only; all others are settled."""
        self.asked = self._asked(index)
        self.live, self.x = self.live[index], self.x[index]
        self.rank, self.success, self.settled = self.rank[index], self.success[index], self.settled[index]
        self.settled_rows = 0

    def put(self, x: Batch) -> None:
        """Under LAST, make x the best point of every row that is not settled."""
        if self.keep is Keep.LAST:
            self.x = torch.where(_column(self.settled, x), self.x, x) if self.settled_rows else x

    def points(self) -> Batch:
        """The best point of every row (n, *f); settles them all."""
        self.settle(~self.settled)
        return self._final

    def result(
        self, model: Classifier, ball: Ball, loss: Loss, x0: Batch, y: Labels, target: Labels | None
    ) -> AttackResult:
        """Ask the model once more about exactly the points that are returned."""
        x = self.points()
        with torch.no_grad(), model.frozen():
            logits = model.logits(x) if len(x) else x.new_zeros(0, 2)
        defined = logits.isfinite().all(1)
        success = fooled(logits, y, target, refuses=model.refuses) & defined
        distance = ball.distance(x, x0)
        # A nearest point is looked for outside the ball, too; kept by another rule it may lie there.
        success &= distance <= ball.radius(distance) * (1 + _ROUNDING) + SLACK * model.bounds.width
        if self.keep is Keep.MIN_DISTANCE:
            x = torch.where(_column(success | self._undefined, x), x, x0)
        return AttackResult(
            x=x,
            success=success,
            undefined=(self._undefined | ~defined) & ~success,
            loss=loss(logits, y, target),
            distance=ball.distance(x, x0),
            forwards=self._spent[0],
            backwards=self._spent[1],
            solved_at=self._solved_at,
        )


def _overwrite(kept: Batch, rows: Mask, x: Batch) -> None:
    """Copy these rows (n,) of x into ``kept``, in place; on the CPU by their numbers, in half the time."""
    if x.device.type == "cpu":
        index = rows.nonzero().squeeze(1)
        kept.index_copy_(0, index, x.index_select(0, index))
    else:
        torch.where(_column(rows, x), x, kept, out=kept)


def _column(mask: Mask, x: Batch) -> Tensor:
    """(n,) shaped to broadcast against x (n, *f)."""
    return mask.view(-1, *[1] * (x.dim() - 1))
