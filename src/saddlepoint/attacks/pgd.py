"""Projected gradient descent."""

from dataclasses import dataclass
from typing import ClassVar, final

from saddlepoint.attacks._gradient import Point, ascend, check_size, check_steps
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True, kw_only=True)
class PGD(IterativeAttack[Point]):
    """Steepest steps from a random point of the ball, each projected back: x <- P(x + alpha d(grad)).

    Args:
        ball: Linf, L2 or L1.
        steps: number of steps; one more forward pass looks at the last point.
        step_size: alpha in input units; None means 2.5 eps / steps.
        random_start: begin at a uniform draw from the ball, not at the input.

    Source:  Madry et al. 2018, arXiv:1706.06083, section 2.1.
    Departs:  returns the best point seen, not the last (``keep=Keep.LAST`` is the paper's).
    """

    steps: int = 40
    step_size: float | None = None
    random_start: bool = True
    name: ClassVar[str] = "pgd"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_size(self.step_size)

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Point:
        return Point(problem.random_start() if self.random_start else problem.x0)

    def step(self, problem: Problem, state: Point, seen: Seen, t: int) -> Point:
        size = 2.5 * problem.radius / self.steps if self.step_size is None else self.step_size
        return Point(ascend(problem, state.x, size, seen.grad))
