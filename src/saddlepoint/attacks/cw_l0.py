"""The attack of Carlini & Wagner in L0."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Mask
from saddlepoint.attacks._carlini import Adam, Climb, check_climb, check_settings, slope, to_input, to_variable
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import check_ball, column
from saddlepoint.balls import L0, Ball
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_BEYOND = 0.01
"""The margin that a solve asks for beyond the confidence, in logit units; a pixel that is worth less is fixed next."""
_CHANGED = 1e-4
"""A pixel that moved by less than this share of the width is not changed."""


@final
@dataclass(frozen=True)
class Masked:
    """Point x and its variable w (n, *f), Adam, the constant, the pixels (n, p) still free, finished rows (n,)."""

    x: Batch
    w: Batch
    adam: Adam
    climb: Climb
    free: Tensor
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class CWL0(IterativeAttack[Masked]):
    """Solve in L2 over the free pixels, fix those that matter least at their clean value, and again until that fails.

    A solve minimises  |x - x0|_2^2 / width^2 + c max(0, confidence + 0.01 - margin(x))  over the free pixels,
    x = middle + half tanh(w), and ends at the first look whose hinge is below 1e-4. A pixel is then worth
    sum over its channels of (x - x0) grad margin(x). In rising order of worth pixels are fixed, until one worth more
    than 0.01 or 0.3 sqrt(number of changed pixels) are, at least one. The next solve starts from what is left, with
    a fresh Adam and the same c. Where it cannot be solved, c doubles, and it goes on; too large a c ends the row.

    A pixel is all features that share every axis but the first after the batch, the channels; in a batch of vectors,
    or with ``per_feature``, each feature is one. The ball counts features in any case: of an image with three
    channels, up to three for each pixel.

    Args:
        ball: L0.
        steps: looks at each c, at most.
        step_size: of Adam, in units of w.
        const, largest_const: the first c, and the c at which a row gives up.
        per_feature: count the channels of a pixel apart.
        reference_compat: a pixel's worth is that of the authors' code: |sum of its change| times the summed size of the
            gradient of the solve's loss in w, which at a solution is almost only that of the L2 term.
        full_search: spend all steps before c doubles, as the authors' code does. Otherwise c doubles as soon as the
            steps left would not be enough at the pace of the last tenth of them.

    Source:  Carlini & Wagner 2017, arXiv:1608.04644, section VI.B, with the constants of the authors' code.
    Departs:  every row has its own pixels, c and clock. The worth is the paper's g_i delta_i, but of the margin, and
        signed: a pixel that hinders goes first. Pixels that moved by at most 1e-4 of the width are put back before
        every look, so that what is counted has changed. ``full_search=False``.
    """

    ball: Ball = L0(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 1000
    step_size: float = 0.01
    const: float = 1e-3
    largest_const: float = 2e6
    per_feature: bool = False
    reference_compat: bool = False
    full_search: bool = False
    name: ClassVar[str] = "cw-l0"

    def __post_init__(self) -> None:
        check_steps(self.steps, least=1)
        check_settings(self.loss, step_size=self.step_size, const=self.const, largest_const=self.largest_const)
        check_climb(self.const, self.largest_const)
        check_ball(self.ball, L0)

    def length(self, problem: Problem) -> int:
        climbs = max(0, math.ceil(math.log2(self.largest_const / self.const)))
        return self.steps * (climbs + problem.x0[0].numel() + 1)

    def init(self, problem: Problem) -> Masked:
        x0 = problem.x0
        free = torch.ones_like(self._by_pixel(x0)[:, 0], dtype=torch.bool)
        done = x0.new_zeros(len(x0), dtype=torch.bool)
        return Masked(x0, to_variable(x0, problem.bounds), Adam.start(x0), Climb.start(x0, self.const), free, done)

    def step(self, problem: Problem, state: Masked, seen: Seen, t: int) -> Masked:
        bounds, delta = problem.bounds, state.x - problem.x0
        gap = (self.confidence + _BEYOND - seen.loss).clamp_min(0)
        solved = gap < 1e-4
        climb = state.climb.after(gap, 0.0, solved, self.steps, self.full_search)
        weight = torch.where(gap > 0, climb.const, 0)
        down = (delta * (2 / bounds.width**2)).addcmul_(column(-weight, delta), seen.grad)
        down = down.mul_(slope(state.x, bounds))
        adam, w = state.adam.step(state.w, down, self.step_size)
        w = torch.where(column(solved, w), to_variable(state.x, bounds), w)  # what is left is looked at before it moves
        free = state.free & ~(solved[:, None] & self._least(delta, seen.grad, down, state.free))
        done = (climb.const >= self.largest_const) | ~free.any(1)
        x = self._restored(to_input(w, bounds), problem.x0, free, _CHANGED * bounds.width)
        return Masked(x, w, adam.renewed(solved), climb, free, done)

    def _by_pixel(self, x: Batch) -> Tensor:
        """(n, channels, p)."""
        return x.flatten(1)[:, None] if self.per_feature or x.dim() == 2 else x.flatten(2)

    def _restored(self, x: Batch, x0: Batch, free: Tensor, least: float) -> Batch:
        """The points with every pixel at its clean value that is fixed, or has moved by no more than ``least``."""
        inner, clean = self._by_pixel(x), self._by_pixel(x0)
        changed = free & ((inner - clean).abs() > least).any(1)
        return torch.where(changed[:, None], inner, clean).view(x0.shape)

    def _least(self, delta: Batch, grad: Batch, down: Batch, free: Tensor) -> Tensor:
        """The pixels to fix after a success (n, p): those worth least, the first of equal ones.

        Args:  delta: the change;  grad: of the margin;  down: of the solve's loss in w, all (n, *f).
        """
        change = self._by_pixel(delta)
        if self.reference_compat:
            worth = change.sum(1).abs() * self._by_pixel(down).abs().sum(1)
        else:
            worth = (change * self._by_pixel(grad)).sum(1)
        worth = torch.where(free, worth, math.inf)
        changed = (change != 0).any(1).sum(1)
        most = torch.minimum((0.3 * changed.sqrt()).ceil().long(), 1 + (worth <= _BEYOND).sum(1)).clamp_min(1)
        lowest = worth.topk(max(1, math.ceil(0.3 * worth.shape[1] ** 0.5)), largest=False).values
        edge = lowest.gather(1, most[:, None] - 1)
        below, level = worth < edge, worth == edge
        return below | (level & (level.cumsum(1) <= most[:, None] - below.sum(1, keepdim=True)))
