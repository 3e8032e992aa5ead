"""The attack of Carlini & Wagner in L2."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Mask, PerRow
from saddlepoint.attacks._carlini import STALLED, Adam, check_settings, slope, to_input, to_variable
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import check_ball, column
from saddlepoint.balls import L2, Ball
from saddlepoint.errors import SettingError
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_KNOWN, _LARGEST = 1e9, 1e10
"""An upper end below the first has been seen to fool; no constant is above the second."""
_HOPELESS = 0.999
"""As STALLED, where only the outcome is asked for."""
_CLOSE, _AMPLE = 2.0, 1.5
"""Ratio of the ends of the interval at which the search has said enough, and of the c that is then run in full."""


@final
@dataclass(frozen=True)
class Search:
    """The constant c of each row, the interval that it is sought in, and the number of its search step, all (n,)."""

    const: Tensor
    low: Tensor
    high: Tensor
    turn: Labels

    @classmethod
    def start(cls, x: Batch, const: float) -> "Search":
        """The first search step of every row."""
        c = torch.full((len(x),), const, dtype=torch.float64, device=x.device)
        return cls(c, torch.zeros_like(c), torch.full_like(c, _LARGEST), torch.zeros_like(c, dtype=torch.int64))

    def after(self, over: Mask, fooled: Mask, turns: int, full: bool) -> "Search":
        """The next search step of the rows whose present one is over; the last goes back to a c that fooled."""
        high = torch.where(over & fooled, torch.minimum(self.high, self.const), self.high)
        low = torch.where(over & ~fooled, torch.maximum(self.low, self.const), self.low)
        known, turn = high < _KNOWN, self.turn + over
        if not full:
            turn = torch.where(over & known & (high <= _CLOSE * low), turn.clamp_min(turns - 1), turn)
        following = torch.where(known, (low + high) / 2, (10 * self.const).clamp_max(_LARGEST))
        if not full or turns >= 10:
            following = torch.where(known & (turn >= turns - 1), high * (1 if full else _AMPLE), following)
        return Search(torch.where(over, following, self.const), low, high, turn)


@final
@dataclass(frozen=True)
class Searching:
    """Point x and its variable w (n, *f), Adam, the search, and per row (n,) what the present search step has seen.

    That is the loss when last compared, the first step that fooled (or inf), and whether one did since the last beat.
    Every search step starts at the clean input: what was seen there, ``grad0`` (n, *f) and ``gap0`` (n,), is kept.
    """

    x: Batch
    w: Batch
    adam: Adam
    search: Search
    last: PerRow
    first: PerRow
    recent: Mask
    grad0: Batch
    gap0: PerRow
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class CWL2(IterativeAttack[Searching]):
    """The smallest change that still fools, by Adam in the tanh variable and a search for the constant c of each row.

    min over w of  |x - x0|_2^2 / width^2 + c max(0, confidence - margin(x)),  x = middle + half tanh(w).
    Every search step starts at x0 with a fresh Adam. c rises tenfold until a row is fooled; then the interval between
    the largest c that failed and the smallest that fooled is halved. The nearest point that fooled is returned.

    Args:
        ball: L2.
        steps: looks at each c, at most; the paper's is 10,000.
        search_steps: number of constants; the paper's is 20.
        step_size: of Adam, in units of w.
        const: the first c.
        full_search: run every c until its loss stalls (less than 1e-4 of itself gained in a tenth of the steps), as the
            authors' code does. Otherwise a c is left once its outcome is known: less than 1e-3 gained, or a row that
            still fools a tenth of the steps after it first did. Once the ends are within a factor of 2, or at the last
            search step, 1.5 times the smallest c that fooled is run through all steps.

    Source:  Carlini & Wagner 2017, arXiv:1608.04644, section VI.A, with the constants of the authors' code.
    Departs:  stalls, constants and clocks are of each row, not of the batch. ``full_search=False``: the hinge is an
        exact penalty, so the minimum is the same point for every c above the smallest that fools, and one such c is run
        in full.
    """

    ball: Ball = L2(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 1000
    search_steps: int = 9
    step_size: float = 0.01
    const: float = 1e-3
    full_search: bool = False
    name: ClassVar[str] = "cw-l2"

    def __post_init__(self) -> None:
        check_steps(self.steps, least=1)
        check_settings(self.loss, step_size=self.step_size, const=self.const)
        check_ball(self.ball, L2)
        if isinstance(self.search_steps, bool) or not isinstance(self.search_steps, int) or self.search_steps < 1:
            raise SettingError(f"search_steps={self.search_steps!r} must be an integer >= 1")

    def length(self, problem: Problem) -> int:
        return self.search_steps * self.steps

    def init(self, problem: Problem) -> Searching:
        x0 = problem.x0
        none, search = x0.new_zeros(len(x0)), Search.start(x0, self.const)
        w = to_variable(x0, problem.bounds)
        return Searching(
            x0, w, Adam.start(x0), search, none, none + math.inf, none > 0, torch.zeros_like(x0), none, none > 0
        )

    def step(self, problem: Problem, state: Searching, seen: Seen, t: int) -> Searching:
        grad, gap = seen.grad, (self.confidence - seen.loss).clamp_min(0)
        fooled = (seen.loss > 0) & (seen.loss >= self.confidence)
        first = torch.where(fooled, torch.minimum(state.first, state.adam.age), state.first)
        state = replace(state, first=first, recent=state.recent | fooled)
        if t == 0:
            state = replace(state, grad0=grad, gap0=gap, last=state.search.const.to(gap) * gap)
        elif t % math.gcd(self.steps, self._tenth, 25) == 0:  # rows change c together or not at all: see _turned
            state, grad, gap = self._turned(problem, state, grad, gap)
        bounds, weight = problem.bounds, torch.where(gap > 0, state.search.const.to(gap), 0)
        down = (state.x - problem.x0).mul_(2 / bounds.width**2).addcmul_(grad, column(-weight, grad))
        adam, w = state.adam.step(state.w, down.mul_(slope(state.x, bounds)), self.step_size)
        return replace(state, x=to_input(w, bounds), w=w, adam=adam)

    @property
    def _tenth(self) -> int:
        return max(1, self.steps // 10)

    def _turned(self, problem: Problem, state: Searching, grad: Batch, gap: PerRow) -> tuple[Searching, Batch, PerRow]:
        """Rows whose search step is over go back to x0, and take the first step of the next one in this very step.

        Only looked at every few steps, of which the length of a search step is a multiple: the clocks of all rows agree
        modulo them, so each row is looked at on the same beats in any batch.
        """
        search, age, x0 = state.search, state.adam.age, problem.x0
        rest = (state.x - x0).flatten(1).square().sum(1) / problem.bounds.width**2
        loss = rest + search.const.to(gap) * gap
        compare, final_turn = age.remainder(self._tenth) == 0, search.turn >= self.search_steps - 1
        stalled = compare & (loss > (STALLED if self.full_search else _HOPELESS) * state.last)
        fooled = state.first < math.inf if self.full_search else state.recent
        if not self.full_search:
            stalled = (stalled | (fooled & (age - state.first >= self._tenth))) & ~final_turn
        over = stalled | (age >= self.steps)
        search, back = search.after(over, fooled, self.search_steps, self.full_search), column(over, x0)
        gap = torch.where(over, state.gap0, gap)
        last = torch.where(over, search.const.to(gap) * gap, torch.where(compare, loss, state.last))
        return (
            replace(
                state,
                x=torch.where(back, x0, state.x),
                w=torch.where(back, to_variable(x0, problem.bounds), state.w),
                adam=state.adam.renewed(over),
                search=search,
                last=last,
                first=torch.where(over, math.inf, state.first),
                recent=torch.zeros_like(over),
                done=search.turn >= self.search_steps,
            ),
            torch.where(back, state.grad0, grad),
            gap,
        )
