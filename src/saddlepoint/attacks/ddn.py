"""Decoupled direction and norm."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from saddlepoint._typing import Batch, Mask, PerRow
from saddlepoint.attacks._gradient import check_size, check_steps
from saddlepoint.attacks._minimal import annealed, check_ball, check_gamma, column, largest_radius
from saddlepoint.balls import L2, Ball
from saddlepoint.balls.ball import flat_norm
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Scaled:
    """A point x (n, *f), the length that its perturbation was given, the most that it may be, and rows that are stuck.

    ``norm``, ``most`` and ``done`` are (n,).
    """

    x: Batch
    norm: PerRow
    most: PerRow
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class DDN(IterativeAttack[Scaled]):
    """The gradient says where to, the last verdict how far: the length shrinks after a success and grows otherwise.

    delta <- delta + alpha grad / |grad|_2,  norm <- norm (1 - gamma) or norm (1 + gamma),
    x = clip(x0 + norm delta / |delta|_2).

    Args:
        ball: L2; a finite eps bounds the search.
        steps: number of steps; the paper has 100, 300 and 1,000.
        step_size: alpha of the first step, falling to a hundredth along half a cosine, in input units; None means the
            width of the box.
        norm: length of the first perturbation, input units; None means the width of the box.
        gamma: share by which the length changes in a step, in [0, 1).
        levels: every point is rounded to this many values per feature, 256 for 8-bit images; None does not round.

    Source:  Rony et al. 2019, arXiv:1811.09600, Algorithm 1.
    Departs:  points are not rounded by default; lengths scale with the box; a row without a gradient at the input
        stops, since nothing says where to.
    """

    ball: Ball = L2(math.inf)
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 300
    step_size: float | None = None
    norm: float | None = None
    gamma: float = 0.05
    levels: int | None = None
    name: ClassVar[str] = "ddn"

    def __post_init__(self) -> None:
        check_ball(self.ball, L2)
        check_steps(self.steps)
        check_size(self.step_size)
        check_gamma(self.gamma)
        if self.norm is not None and not 0 < self.norm < math.inf:
            raise SettingError(f"norm={self.norm!r} must be finite and > 0, in input units")
        if self.levels is not None and (not isinstance(self.levels, int) or self.levels < 2):
            raise SettingError(f"levels={self.levels!r} must be an integer >= 2; 256 for 8-bit images")

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Scaled:
        x0, most = problem.x0, largest_radius(problem)
        norm = torch.full_like(most, problem.bounds.width if self.norm is None else self.norm)
        return Scaled(x0, norm, most, torch.zeros_like(most, dtype=torch.bool))

    def step(self, problem: Problem, state: Scaled, seen: Seen, t: int) -> Scaled:
        x0, first = problem.x0, problem.bounds.width if self.step_size is None else self.step_size
        size = annealed(first, first / 100, t / self.steps)
        delta = (state.x - x0).add_(problem.steepest_step(seen.grad), alpha=size)
        norm = torch.minimum(state.norm * torch.where(seen.success, 1 - self.gamma, 1 + self.gamma), state.most)
        length = flat_norm(delta)
        x = x0 + delta * (column(norm, delta) / torch.where(length > 0, length, 1))
        return Scaled(self._rounded(problem, x), norm, state.most, length.flatten() == 0)

    def _rounded(self, problem: Problem, x: Batch) -> Batch:
        """Into the box, and to the nearest of the levels."""
        low, high = problem.bounds.lower, problem.bounds.upper
        x = x.clamp_(low, high)
        if self.levels is None:
            return x
        grid = (self.levels - 1) / problem.bounds.width
        return ((x - low) * grid).round_().div_(grid).add_(low).clamp_(low, high)
