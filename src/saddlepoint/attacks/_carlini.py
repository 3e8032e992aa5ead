"""What the attacks of Carlini & Wagner share: the tanh variable, and Adam with a clock for each row."""

import math
from dataclasses import dataclass
from typing import final

import torch

from saddlepoint._typing import Batch, Mask, PerRow
from saddlepoint.attacks._minimal import column
from saddlepoint.balls import Bounds
from saddlepoint.errors import SettingError
from saddlepoint.losses import JOINT, Loss, margin

_EDGE = 0.999999
"""Of tanh(w): nearer to the box a feature would have no slope, and could never move."""
_FARTHEST = math.atanh(_EDGE)
_BETAS, _EPS = (0.9, 0.999), 1e-8
STALLED = 0.9999
"""A loss above this share of what it was a tenth of the steps before has stalled."""


def to_variable(x: Batch, bounds: Bounds) -> Batch:
    """The w with x = middle + half tanh(w), but for a factor of 0.999999 that keeps it finite at the edges too."""
    middle, half = (bounds.lower + bounds.upper) / 2, bounds.width / 2
    return ((x - middle) * (_EDGE / half)).atanh_()


def to_input(w: Batch, bounds: Bounds) -> Batch:
    """The x = middle + half tanh(w); the clamp absorbs rounding."""
    middle, half = (bounds.lower + bounds.upper) / 2, bounds.width / 2
    return w.tanh().mul_(half).add_(middle).clamp_(bounds.lower, bounds.upper)


def slope(x: Batch, bounds: Bounds) -> Batch:
    """The slope dx / dw = half (1 - tanh(w)^2), from x; at least what it is at the edge."""
    middle, half = (bounds.lower + bounds.upper) / 2, bounds.width / 2
    return (x - middle).square_().mul_(-1 / half).add_(half).clamp_min_(half * (1 - _EDGE**2))


@final
@dataclass(frozen=True)
class Adam:
    """Running means of gradient and squared gradient (n, *f), and the number of steps of each row (n,)."""

    mean: Batch
    square: Batch
    age: PerRow

    @classmethod
    def start(cls, x: Batch) -> "Adam":
        """Before the first step."""
        return cls(torch.zeros_like(x), torch.zeros_like(x), x.new_zeros(len(x)))

    def renewed(self, rows: Mask) -> "Adam":
        """These rows (n,) start afresh."""
        wide = column(rows, self.mean)
        mean, square = torch.where(wide, 0, self.mean), torch.where(wide, 0, self.square)
        return Adam(mean, square, torch.where(rows, 0, self.age))

    def step(self, w: Batch, grad: Batch, size: float | PerRow) -> tuple["Adam", Batch]:
        """The moments with this gradient, and the variable moved down it, to where features still have a slope."""
        (first, second), age = _BETAS, self.age + 1
        mean = self.mean.lerp(grad, 1 - first)
        square = (self.square * second).addcmul_(grad, grad, value=1 - second)
        root = (-torch.expm1(age * math.log(second))).sqrt()
        rate = size * root / torch.expm1(age * math.log(first))  # below 0
        move = mean / square.sqrt().add_(column(_EPS * root, grad))
        return Adam(mean, square, age), move.mul_(column(rate, grad)).add_(w).clamp_(-_FARTHEST, _FARTHEST)


@final
@dataclass(frozen=True)
class Climb:
    """The constant c of each row, doubled when a solve at it fails: looks at this c, and the loss when last compared.

    All (n,). A solve fails after ``steps`` looks at one c; unless it is to be ``full``, also when, at the pace of the
    last tenth of the steps, the steps that are left would not bring the loss to 0.
    """

    const: PerRow
    looks: PerRow
    last: PerRow

    @classmethod
    def start(cls, x: Batch, const: float) -> "Climb":
        """Every row at the first constant."""
        none = x.new_zeros(len(x))
        return cls(none + const, none, none + math.inf)

    def after(self, gap: PerRow, rest: PerRow | float, solved: Mask, steps: int, full: bool) -> "Climb":
        """What follows a look at which the loss was const * gap + rest; rows that are solved keep their constant."""
        looks, loss, tenth = self.looks + 1, self.const * gap + rest, max(1, steps // 10)
        compare, failed = looks.remainder(tenth) == 0, looks >= steps
        if not full:
            failed = failed | (compare & (loss > (self.last - loss) * ((steps - looks) / tenth)))
        failed = failed & ~solved
        const = torch.where(failed, 2 * self.const, self.const)
        last = torch.where(failed, const * gap + rest, torch.where(compare, loss, self.last))
        return Climb(const, torch.where(failed | solved, 0, looks), torch.where(solved, math.inf, last))


def check_settings(loss: Loss, **positive: float) -> None:
    """Refuse another loss, and numbers that are not positive."""
    if loss is not margin and loss not in JOINT:
        raise SettingError(
            "loss must be saddlepoint.losses.margin, which the attack's objective is made of; leave it out. For a "
            "model that may refuse it can be fool_and_pass or fool_then_pass"
        )
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise SettingError(f"{name}={value!r} must be finite and > 0")


def check_climb(const: float, largest_const: float) -> None:
    """Refuse a first constant at which a row would give up at once."""
    if const >= largest_const:
        raise SettingError(
            f"const={const!r} must be less than largest_const={largest_const!r}; it is doubled up to that"
        )
