"""The attack of Carlini & Wagner in Linf."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from saddlepoint._typing import Batch, Mask, PerRow
from saddlepoint.attacks._carlini import Adam, Climb, check_climb, check_settings, slope, to_input, to_variable
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import check_ball, column
from saddlepoint.balls import Ball, Linf
from saddlepoint.errors import SettingError
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Capped:
    """Point x and its variable w (n, *f), Adam, the constant, the cap tau (n,) on every feature, finished rows (n,)."""

    x: Batch
    w: Batch
    adam: Adam
    climb: Climb
    tau: PerRow
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class CWLinf(IterativeAttack[Capped]):
    """Every change above a cap tau is penalised, and the cap sinks after each success.

    min over w of  c max(0, confidence - margin(x)) + sum_i max(0, |x_i - x0_i| - tau) / width,
    x = middle + half tanh(w). Solved once this is below 1e-4 c and the point fools; then
    tau <- 0.9 min(tau, |x - x0|_inf), and it goes on from there with a fresh Adam and the same c. Where it cannot be
    solved, c doubles, and it goes on. A row ends when tau is at most 1/256 of the width, or c too large.

    Args:
        ball: Linf.
        steps: looks at each c, at most.
        step_size: of Adam, in units of w.
        const, largest_const: the first c, and the c at which a row gives up.
        decrease: of tau after a success, in (0, 1).
        full_search: spend all steps before c doubles, as the authors' code does. Otherwise c doubles as soon as the
            steps left would not be enough at the pace of the last tenth of them.

    Source:  Carlini & Wagner 2017, arXiv:1608.04644, section VI.C, with the constants of the authors' code.
    Departs:  every row has its own tau, c and clock. |x_i - x0_i| where the paper prints x_i - x0_i.
        ``full_search=False``.
    """

    ball: Ball = Linf(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 1000
    step_size: float = 0.005
    const: float = 1e-5
    largest_const: float = 20.0
    decrease: float = 0.9
    full_search: bool = False
    name: ClassVar[str] = "cw-linf"

    def __post_init__(self) -> None:
        check_steps(self.steps, least=1)
        check_settings(self.loss, step_size=self.step_size, const=self.const, largest_const=self.largest_const)
        check_climb(self.const, self.largest_const)
        check_ball(self.ball, Linf)
        if not 0 < self.decrease < 1:
            raise SettingError(f"decrease={self.decrease!r} must lie in (0, 1); the paper's is 0.9")

    def length(self, problem: Problem) -> int:
        climbs = max(0, math.ceil(math.log2(self.largest_const / self.const)))
        return self.steps * (climbs + math.ceil(math.log(256) / -math.log(self.decrease)) + 1)

    def init(self, problem: Problem) -> Capped:
        x0, bounds = problem.x0, problem.bounds
        tau = x0.new_full((len(x0),), bounds.width)
        return Capped(x0, to_variable(x0, bounds), Adam.start(x0), Climb.start(x0, self.const), tau, tau < 0)

    def step(self, problem: Problem, state: Capped, seen: Seen, t: int) -> Capped:
        bounds, delta = problem.bounds, state.x - problem.x0
        width, size = bounds.width, delta.abs()
        gap = (self.confidence - seen.loss).clamp_min(0)
        over = (size - column(state.tau, size)).clamp_min_(0).flatten(1).sum(1) / width
        const = state.climb.const
        solved = (const * gap + over < 1e-4 * const) & (seen.loss >= self.confidence) & (seen.loss > 0)
        tau = torch.where(solved, self.decrease * torch.minimum(state.tau, size.flatten(1).amax(1)), state.tau)
        climb = state.climb.after(gap, over, solved, self.steps, self.full_search)
        done = (tau <= width / 256) | (climb.const >= self.largest_const)
        weight = torch.where(gap > 0, climb.const, 0)
        outside = torch.where(size > column(tau, size), delta.sign() / width, 0)
        down = outside.addcmul_(column(-weight, delta), seen.grad).mul_(slope(state.x, bounds))
        start = torch.where(column(solved, delta), to_variable(state.x, bounds), state.w)
        adam, w = state.adam.renewed(solved).step(start, down, self.step_size)
        return Capped(to_input(w, bounds), w, adam, climb, tau, done)
