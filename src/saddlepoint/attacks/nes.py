"""NES: signed steps on slopes that are estimated from pairs of losses."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from saddlepoint._typing import Batch, Mask
from saddlepoint.attacks._gradient import ascend, check_size, check_steps
from saddlepoint.attacks._minimal import check_ball
from saddlepoint.attacks._queries import check_pairs, check_reach, slopes
from saddlepoint.balls import L2, Linf
from saddlepoint.errors import SettingError, shown
from saddlepoint.noise import Noise
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Drawn:
    """A point x and the mean of its slopes (n, *f), and the rows whose budget is spent (n,)."""

    x: Batch
    mean: Batch
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class NES(IterativeAttack[Drawn]):
    """PGD on estimated gradients: no gradient is asked of the model.

    g_t = mean over i of  (J(x_t + sigma u_i) - J(x_t - sigma u_i)) / (2 sigma)  u_i,  u_i normal;
    m_t = momentum m_{t-1} + (1 - momentum) g_t,  x_{t+1} = P(x_t + step_size d(m_t)), from x_0 = x0.
    d is the steepest step of the ball: the sign in Linf, the direction in L2.

    Args:
        ball: Linf or L2.
        loss: what is maximised; the default is the cross-entropy, as published.
        steps: number of steps.
        samples: points asked about in a step, in pairs x + sigma u, x - sigma u; even.
        sigma: standard deviation of the directions, in input units; None means 0.001 of the width of the box.
        step_size: in input units; None means eps / 5, as published for eps 0.05.
        momentum: the share of the past in m, in [0, 1).

    A step costs ``samples`` forward passes and one look.

    Source:  Ilyas et al. 2018, arXiv:1804.08598, section 2.2 and Algorithm 1, with the momentum of the authors' code.
    Departs:  the step size stays as it is, where the authors' code reduces it when the loss no longer falls; the points
        asked about are clipped to the box; a row whose budget would not last asks about fewer of them; returns the best
        point looked at, not the last.
    """

    steps: int = 200
    samples: int = 50
    sigma: float | None = None
    step_size: float | None = None
    momentum: float = 0.9
    name: ClassVar[str] = "nes"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ball(self.ball, Linf, L2)
        check_steps(self.steps)
        check_pairs(self.samples)
        check_reach(self.sigma, "sigma")
        check_size(self.step_size)
        if not 0 <= self.momentum < 1:
            raise SettingError(f"momentum={shown(self.momentum)} must lie in [0, 1); 0 is without")

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Drawn:
        return Drawn(problem.x0, torch.zeros_like(problem.x0), torch.zeros_like(problem.y, dtype=torch.bool))

    def step(self, problem: Problem, state: Drawn, seen: Seen, t: int) -> Drawn:
        sigma = 0.001 * problem.bounds.width if self.sigma is None else self.sigma
        grad, spent = slopes(problem, state.x, sigma, self.samples, Noise.normal, t)
        mean = self.momentum * state.mean + (1 - self.momentum) * grad
        size = problem.radius / 5 if self.step_size is None else self.step_size
        return Drawn(ascend(problem, state.x, size, mean), mean, spent)
