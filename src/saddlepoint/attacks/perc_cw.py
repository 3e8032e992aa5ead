"""PerC-C&W: the attack of Carlini & Wagner with the perceptual colour distance in place of L2."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Mask, PerRow
from saddlepoint.attacks._carlini import STALLED, Adam, check_settings, slope, to_input, to_variable
from saddlepoint.attacks._colour import check_levels, pull, rounded, start
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import check_ball, column
from saddlepoint.attacks.cw_l2 import Search
from saddlepoint.balls import Ball, Perceptual
from saddlepoint.errors import SettingError
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class ColourSearch:
    """The point x that is looked at, and ``free``, it before rounding, with its variable w (n, 3, h, w); Adam.

    Lab and weights of the input; the search for the constant, and of the present search step (n,): the loss when last
    compared, and whether a point of it fooled.
    """

    x: Batch
    free: Batch
    w: Batch
    adam: Adam
    lab0: Tensor
    weight: Tensor
    search: Search
    last: PerRow
    fooled: Mask
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class PerCCW(IterativeAttack[ColourSearch]):
    """The smallest colour difference that still fools, by Adam in the tanh variable and a search for the constant c.

    min over w of  C(x) + c max(0, confidence - margin(x)),  x = middle + half tanh(w),
    C(x) = sqrt(sum over pixels of CIEDE2000(x0, x)^2).
    Every search step starts at x0 with a fresh Adam. c rises tenfold until a row is fooled; then the interval between
    the largest c that failed and the smallest that fooled is halved. What is looked at, and returned if it fools with
    the smallest C, is x rounded to 8 bits.

    Args:
        ball: Perceptual; a finite eps bounds what is returned. Inputs are RGB images (n, 3, h, w).
        steps: looks at each c, at most;  search_steps: number of constants.
        step_size: of Adam, in units of w.
        const: the first c.
        levels: points are rounded to this many values per channel; None does not round.
        texture: C weighs smooth places more, see :class:`~saddlepoint.attacks.PerCAL`; which point is returned still
            goes by the plain C.

    Source:  Zhao, Liu & Larson 2020, arXiv:1911.02466, section 3.3; the search is that of Carlini & Wagner 2017,
        arXiv:1608.04644, section VI.A.
    Departs:  constants and clocks are of each row; a row goes to its next c once less than 1e-4 of its loss was gained
        in a tenth of the steps. The margin and its gradient are those of the rounded point, and so is the C that ranks
        points.
    """

    ball: Ball = Perceptual(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 1000
    search_steps: int = 9
    step_size: float = 0.01
    const: float = 10.0
    levels: int | None = 256
    texture: bool = False
    name: ClassVar[str] = "perc-cw"

    def __post_init__(self) -> None:
        check_steps(self.steps, least=1)
        check_settings(self.loss, step_size=self.step_size, const=self.const)
        check_ball(self.ball, Perceptual)
        check_levels(self.levels)
        if isinstance(self.search_steps, bool) or not isinstance(self.search_steps, int) or self.search_steps < 1:
            raise SettingError(f"search_steps={self.search_steps!r} must be an integer >= 1")

    def length(self, problem: Problem) -> int:
        return self.search_steps * self.steps

    def init(self, problem: Problem) -> ColourSearch:
        x0 = problem.x0
        none = x0.new_zeros(len(x0))
        return ColourSearch(
            x0,
            x0,
            to_variable(x0, problem.bounds),
            Adam.start(x0),
            *start(problem, self.texture),
            Search.start(x0, self.const),
            none + math.inf,
            none > 0,
            none > 0,
        )

    def step(self, problem: Problem, state: ColourSearch, seen: Seen, t: int) -> ColourSearch:
        bounds, gap = problem.bounds, (self.confidence - seen.loss).clamp_min(0)
        c = state.search.const.to(gap)
        distance, down = pull(problem, state.free, state.lab0, state.weight)
        down = down.addcmul(seen.grad, column(torch.where(gap > 0, -c, 0), down))
        adam, w = state.adam.step(state.w, down.mul_(slope(state.free, bounds)), self.step_size)
        # The state after this step, or, where the search step is over, that of the first look of the next.
        fooled = state.fooled | ((seen.loss > 0) & (seen.loss >= self.confidence))
        loss, compare = distance + c * gap, adam.age.remainder(max(1, self.steps // 10)) == 0
        over = (adam.age >= self.steps) | (compare & (loss > STALLED * state.last))
        back = column(over, w)
        free = torch.where(back, problem.x0, to_input(w, bounds))
        search = state.search.after(over, fooled, self.search_steps, full=True)
        return ColourSearch(
            x=torch.where(back, free, rounded(free, bounds, self.levels)),
            free=free,
            w=torch.where(back, to_variable(problem.x0, bounds), w),
            adam=adam.renewed(over),
            lab0=state.lab0,
            weight=state.weight,
            search=search,
            last=torch.where(over, math.inf, torch.where(compare, loss, state.last)),
            fooled=fooled & ~over,
            done=search.turn >= self.search_steps,
        )
