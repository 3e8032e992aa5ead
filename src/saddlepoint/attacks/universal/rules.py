"""How one perturbation is moved on by the next rows: one at a time, a block at a time, or by the gradient."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks.ddn import DDN
from saddlepoint.attacks.deepfool import DeepFool
from saddlepoint.attacks.universal.task import Task
from saddlepoint.errors import SettingError, shown
from saddlepoint.losses import cross_entropy
from saddlepoint.solve import Attack

_FIRST = 4  # rows that are looked at together at first; as many again each time that all of them are fooled


class Rule(Protocol):
    """What a fit asks for again and again."""

    @property
    def name(self) -> str:
        """What the file of a fitted perturbation calls it."""

    def step(self, task: Task, v: Tensor, order: Labels, start: int) -> tuple[Tensor, int]:
        """The next perturbation v (1, *f), and the place in ``order`` (n,) of the first row not seen yet."""


@final
@dataclass(frozen=True, kw_only=True)
class Sequential:
    """The published algorithm: every row that v does not fool yet adds what it takes to fool it, one after the other.

    v <- P(v + r),  r the least perturbation that the attack finds for x_i + v.  Rows ahead are looked at together under
    the v at hand; those before the first that is not fooled would not have changed it, and are skipped. A row is only
    skipped if it is fooled by a margin of more than half of the digits; of any other the attack itself decides, from
    that row alone. So the result is that of the loop over single rows, bit for bit, whatever the kernels of the model
    make of a larger batch.

    Args:
        attack: for the least distance. None: ``DeepFool(steps=8)`` or, with a target, which DeepFool does not take,
            ``DDN(steps=20)``.
        ahead: at most so many rows are looked at together.

    Raises:  SettingError if ahead is no integer >= 1.
    Source:  Moosavi-Dezfooli, Fawzi, Fawzi & Frossard 2017, arXiv:1610.08401, Algorithm 1. Eight steps are the authors'
        rule: they drop a row that took DeepFool more.
    """

    attack: Attack | None = None
    ahead: int = 64
    name: ClassVar[str] = "sequential"

    def __post_init__(self) -> None:
        check_whole("ahead", self.ahead)

    def step(self, task: Task, v: Tensor, order: Labels, start: int) -> tuple[Tensor, int]:
        width = min(_FIRST, self.ahead)
        while start < len(order):
            rows = order[start : start + width]
            points = task.points(v, rows)
            left = (~task.surely(task.logits(points), rows)).nonzero().squeeze(1)
            if len(left):
                first = int(left[0])
                one = slice(first, first + 1)
                moved = shortest(self.attack, task, points[one], rows[one])
                return (task.project(v + moved) if len(moved) else v), start + first + 1
            start, width = start + len(rows), min(2 * width, self.ahead)
        return v, start


@final
@dataclass(frozen=True, kw_only=True)
class Minibatch:
    """A block of rows at a time: v <- P(v + the mean of what it takes to fool those that v does not fool yet).

    Args:  attack: as in :class:`Sequential`;  size: rows of a block.
    Raises:  SettingError if size is no integer >= 1.
    Source:  ours: Algorithm 1 of arXiv:1610.08401 with all rows of a block attacked at once, from the same v.
    """

    attack: Attack | None = None
    size: int = 32
    name: ClassVar[str] = "minibatch"

    def __post_init__(self) -> None:
        check_whole("size", self.size)

    def step(self, task: Task, v: Tensor, order: Labels, start: int) -> tuple[Tensor, int]:
        rows = order[start : start + self.size]
        points = task.points(v, rows)
        left = (~task.fooled(task.logits(points), rows)).nonzero().squeeze(1)
        moved = shortest(self.attack, task, points[left], rows[left]) if len(left) else points[left]
        return (task.project(v + moved.mean(0, keepdim=True)) if len(moved) else v), start + len(rows)


@final
@dataclass(frozen=True, kw_only=True)
class Ascent:
    """Gradient ascent: v <- P(v + step_size d(g)), g the gradient of the mean of min(loss, clip) over a block.

    d is the steepest step of the ball: the sign in Linf, g / |g|_2 in L2. The loss is the cross-entropy away from what
    the model says, or towards the target. The clip keeps a few rows that are fooled beyond doubt from outweighing all
    others; towards a target the loss has an upper end of its own, 0, and is not clipped.

    Args:  size: rows of a block;  step_size: input units; None means a tenth of eps;  clip: in nats.
    Raises:  SettingError for a size below 1, or a step_size or clip that is not above 0.
    Source:  Shafahi, Najibi, Xu, Dickerson, Davis & Goldstein 2020, arXiv:1811.11304, Algorithm 2 and Eq. (4).
    """

    size: int = 32
    step_size: float | None = None
    clip: float = 9.0
    name: ClassVar[str] = "ascent"

    def __post_init__(self) -> None:
        check_whole("size", self.size)
        for name, value in (("step_size", self.step_size), ("clip", self.clip)):
            if value is not None and not 0 < value < math.inf:
                raise SettingError(f"{name}={shown(value)} must be a finite number > 0")

    def step(self, task: Task, v: Tensor, order: Labels, start: int) -> tuple[Tensor, int]:
        rows = order[start : start + self.size]
        grad = self._gradient(task, v, rows).sum(0, keepdim=True)
        size = float(task.ball.eps) / 10 if self.step_size is None else self.step_size
        return task.project(v + size * task.ball.steepest_step(grad)), start + len(rows)

    def _gradient(self, task: Task, v: Tensor, rows: Labels) -> Tensor:
        """Of each row's clipped loss with respect to v (m, *f); 0 where the box stops v, or where it is not finite."""
        free = task.x[rows] + v
        points = task.points(v, rows).requires_grad_()
        with torch.enable_grad():
            loss = cross_entropy(task.model.logits(points), task.y[rows], task.goal(rows))
            total = (loss if task.target is not None else loss.clamp_max(self.clip)).sum()
        if not total.requires_grad:  # the output does not depend on the input
            return torch.zeros_like(free)
        (grad,) = torch.autograd.grad(total, points, materialize_grads=True)
        return torch.where(free == points, grad, 0).nan_to_num(0.0, 0.0, 0.0)


RULES: dict[str, type[Sequential] | type[Minibatch] | type[Ascent]] = {
    cls.name: cls for cls in (Sequential, Minibatch, Ascent)
}
"""By name."""


def shortest(attack: Attack | None, task: Task, points: Batch, rows: Labels) -> Tensor:
    """What it takes to fool these points (m, *f), one entry for each that could be fooled and was not yet."""
    if attack is None:
        attack = DeepFool(steps=8) if task.target is None else DDN(steps=20)
    assert task.noise.rows is not None
    noise = task.noise.at(task.noise.rows[rows])
    found = attack(task.model, points, task.y[rows], target=task.goal(rows), noise=noise)
    return (found.x - points)[found.success & (found.distance > 0)]


def check_whole(name: str, value: object) -> None:
    """Raises:  SettingError if the value is no integer >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingError(f"{name}={shown(value)} must be an integer >= 1")
