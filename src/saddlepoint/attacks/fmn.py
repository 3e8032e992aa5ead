"""The fast minimum-norm attack."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch

from saddlepoint._typing import Batch, Mask, PerRow
from saddlepoint.attacks._gradient import check_size, check_steps
from saddlepoint.attacks._minimal import annealed, check_ball, check_gamma, largest_radius
from saddlepoint.balls import L0, L1, L2, Ball, Linf
from saddlepoint.balls.ball import flat_norm
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_DUAL = {"l1": math.inf, "l2": 2.0, "linf": 1.0}


@final
@dataclass(frozen=True)
class Adapting:
    """A point x (n, *f), the radius it was projected to, the most that may be, the least distance of a success.

    ``eps``, ``most``, ``best`` (inf before the first success) and ``done``, rows that cannot move, are (n,).
    """

    x: Batch
    eps: PerRow
    most: PerRow
    best: PerRow
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class FMN(IterativeAttack[Adapting]):
    """Projected ascent of the margin in a ball whose radius follows the decision boundary.

    x <- P(x + alpha grad / |grad|_2), P onto ball and box, the ball of radius eps_k. Before the first success eps_k is
    1 + gamma times a linear estimate of the boundary's distance, |x - x0|_p + |margin| / |grad|_q; later it shrinks by
    gamma from the least distance found after a success, and grows by gamma otherwise. In L0 it starts at 1, and
    changes by at least 1.

    Args:
        ball: L0, L1, L2 or Linf, the norm to minimise; a finite eps bounds the search.
        loss: what is maximised; it must be the confidence at the boundary, as the margin is.
        steps: number of steps.
        step_size: alpha of the first step, falling to a hundredth along half a cosine, in input units; None means the
            width of the box.
        gamma, last_gamma: share by which the radius changes in the first and in the last step, in [0, 1).

    Source:  Pintor et al. 2021, arXiv:2102.12827, Algorithm 1.
    Departs:  projects onto ball and box at once, exactly, not onto one and then the other; goes gamma beyond the
        linear estimate, which ends on the boundary itself; shrinks from the least distance, not to it; alpha scales
        with the box; takes no starting points; a row without a gradient stops.
    """

    ball: Ball = L2(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 100
    step_size: float | None = None
    gamma: float = 0.05
    last_gamma: float = 0.001
    name: ClassVar[str] = "fmn"

    def __post_init__(self) -> None:
        check_ball(self.ball, L0, L1, L2, Linf)
        check_steps(self.steps)
        check_size(self.step_size)
        check_gamma(self.gamma)
        check_gamma(self.last_gamma, "last_gamma")

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Adapting:
        most = largest_radius(problem)
        never = torch.full_like(most, math.inf)
        eps = torch.ones_like(most) if isinstance(self.ball, L0) else never
        return Adapting(problem.x0, eps, most, never, torch.zeros_like(most, dtype=torch.bool))

    def step(self, problem: Problem, state: Adapting, seen: Seen, t: int) -> Adapting:
        first = problem.bounds.width if self.step_size is None else self.step_size
        size = annealed(first, first / 100, t / self.steps)
        gamma = annealed(self.gamma, self.last_gamma, t / self.steps)
        distance = problem.ball.distance(state.x, problem.x0)
        best = torch.where(seen.success, torch.minimum(state.best, distance), state.best)
        adapt = self._features if isinstance(self.ball, L0) else self._radius
        eps = torch.minimum(adapt(replace(state, best=best), seen, distance, gamma), state.most)
        norm = flat_norm(seen.grad)
        moved = state.x + size * seen.grad / torch.where(norm > 0, norm, 1)
        x = replace(problem.ball, eps=eps).project(moved, problem.x0, problem.bounds)
        return Adapting(x, eps, state.most, best, (norm.flatten() == 0) & ~seen.success)

    def _radius(self, state: Adapting, seen: Seen, distance: PerRow, gamma: float) -> PerRow:
        slope = torch.linalg.vector_norm(seen.grad.flatten(1), _DUAL[self.ball.norm], dim=1)
        reach = (seen.loss - self.confidence).abs() / slope.clamp_min(torch.finfo(slope.dtype).tiny)
        reach = reach.nan_to_num()  # of rows that are settled, but still in the batch
        # The estimate alone ends on the boundary, where rounding decides, and for ever if the model is linear.
        grown = torch.where(state.best < math.inf, state.eps, distance + reach) * (1 + gamma)
        return torch.where(seen.success, torch.minimum(state.eps, state.best) * (1 - gamma), grown)

    def _features(self, state: Adapting, seen: Seen, distance: PerRow, gamma: float) -> PerRow:
        """The same for a number of features, at least one."""
        less = torch.minimum(torch.minimum(state.eps - 1, (state.eps * (1 - gamma)).floor()), state.best)
        more = torch.maximum(state.eps + 1, (state.eps * (1 + gamma)).floor())
        return torch.where(seen.success, less.clamp_min(1), more)
