"""PerC-AL: perceptual colour distance, alternating between two losses."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Mask
from saddlepoint.attacks._colour import check_levels, pull, rounded, start
from saddlepoint.attacks._gradient import check_size, check_steps
from saddlepoint.attacks._minimal import annealed, check_ball
from saddlepoint.balls import Ball, Perceptual
from saddlepoint.balls.ball import flat_norm
from saddlepoint.errors import SettingError
from saddlepoint.losses import margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Alternating:
    """The point x that is looked at, and ``free``, it before rounding (n, 3, h, w); Lab and weights of the input."""

    x: Batch
    free: Batch
    lab0: Tensor
    weight: Tensor
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class PerCAL(IterativeAttack[Alternating]):
    """Until a point fools, up the loss; while it does, down the colour difference: each step along a unit gradient.

    Where x fools:  x <- x - b h / |h|_2,  h the gradient of C(x) = sqrt(sum over pixels of CIEDE2000(x0, x)^2).
    Else:  x <- x + a g / |g|_2,  g the gradient of the loss.  Then x is clipped to the box; what is looked at, and
    returned if it fools with the smallest C, is x rounded to 8 bits.

    Args:
        ball: Perceptual; a finite eps bounds what is returned. Inputs are RGB images (n, 3, h, w).
        steps: number of steps; the paper has 1,000 and 100.
        step_size: a of the first step, falling to a hundredth along half a cosine, in input units; None means the
            width of the box.
        colour_step: b of the first step, falling to a tenth in the same way; None means half of the width towards a
            target, a tenth of it away from the label.
        levels: points are rounded to this many values per channel; None does not round.
        texture: h is of a C that weighs smooth places more: by 1 / (s + 0.01), scaled to mean 1, s the standard
            deviation of the 3 x 3 pixels around. Our reading of the paper's remarks on structural information; which
            point is returned still goes by the plain C.

    Source:  Zhao, Liu & Larson 2020, arXiv:1911.02466, Algorithm 2.
    Departs:  g is taken at the rounded point, so that one forward pass is both the test and the loss; C that ranks
        points is of the rounded point itself; sizes scale with the box; a row without a gradient that does not fool
        stops.
    """

    ball: Ball = Perceptual(math.inf)
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 1000
    step_size: float | None = None
    colour_step: float | None = None
    levels: int | None = 256
    texture: bool = False
    name: ClassVar[str] = "perc-al"

    def __post_init__(self) -> None:
        check_ball(self.ball, Perceptual)
        check_steps(self.steps)
        check_size(self.step_size)
        if self.colour_step is not None and not 0 <= self.colour_step < math.inf:
            raise SettingError(f"colour_step={self.colour_step!r} must be finite and >= 0, in input units")
        check_levels(self.levels)

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Alternating:
        x0 = problem.x0
        return Alternating(x0, x0, *start(problem, self.texture), x0.new_zeros(len(x0), dtype=torch.bool))

    def step(self, problem: Problem, state: Alternating, seen: Seen, t: int) -> Alternating:
        bounds, share = problem.bounds, t / self.steps
        up = bounds.width if self.step_size is None else self.step_size
        usual = bounds.width * (0.1 if problem.target is None else 0.5)
        down = usual if self.colour_step is None else self.colour_step
        beyond = margin(seen.logits[:, : problem.model.answers], problem.y, problem.target)
        fools = (beyond > 0) & (beyond >= self.confidence)  # also outside a finite ball
        norm = flat_norm(seen.grad)
        move = seen.grad * (annealed(up, up / 100, share) / torch.where(norm > 0, norm, 1))
        rows = fools.nonzero().squeeze(1)  # the others need no colour gradient
        if len(rows):
            _, slope = pull(problem, state.free[rows], state.lab0[rows], state.weight[rows])
            length = flat_norm(slope)
            back = slope * (-annealed(down, down / 10, share) / torch.where(length > 0, length, 1))
            move = move.index_copy(0, rows, back)
        free = (state.free + move).clamp_(bounds.lower, bounds.upper)
        done = ~fools & (norm.flatten() == 0)
        return Alternating(rounded(free, bounds, self.levels), free, state.lab0, state.weight, done)
