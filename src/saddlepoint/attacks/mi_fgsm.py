"""The momentum iterative fast gradient sign method."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from saddlepoint._typing import Batch
from saddlepoint.attacks._gradient import ascend, check_size, check_steps
from saddlepoint.attacks.directions import momentum
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Moving:
    """A point x and its velocity, both (n, *f)."""

    x: Batch
    velocity: Batch


@final
@dataclass(frozen=True, kw_only=True)
class MIFGSM(IterativeAttack[Moving]):
    """Sign steps along accumulated gradients: g_{t+1} = mu g_t + q / |q|_1, x_{t+1} = x_t + alpha sign(g_{t+1}).

    Each row's gradient is scaled by its own L1 norm, and before the sign is taken. With decay 0 it is BIM.

    Args:
        ball: Linf, L2 or L1.
        steps: T.
        step_size: alpha in input units; None means eps / T.
        decay: mu >= 0.

    Source:  Dong et al. 2018, arXiv:1710.06081, Algorithm 1 (the L2 step is its Eq. (8)).
    Departs:  returns the best point seen, not the last (``keep=Keep.LAST`` is the paper's).
    """

    steps: int = 10
    step_size: float | None = None
    decay: float = 1.0
    name: ClassVar[str] = "mi-fgsm"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_size(self.step_size)
        if not 0 <= self.decay < float("inf"):
            raise SettingError(f"decay={self.decay!r} must be finite and >= 0; the paper's is 1.0")

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Moving:
        return Moving(problem.x0, torch.zeros_like(problem.x0))

    def step(self, problem: Problem, state: Moving, seen: Seen, t: int) -> Moving:
        velocity = momentum(state.velocity, seen.grad, self.decay)
        size = problem.radius / self.steps if self.step_size is None else self.step_size
        return Moving(ascend(problem, state.x, size, velocity), velocity)
