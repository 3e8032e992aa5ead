"""The basic iterative method (I-FGSM)."""

from dataclasses import dataclass
from typing import ClassVar, final

from saddlepoint.attacks._gradient import Point, ascend, check_size, check_steps, kurakin_size, kurakin_steps
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True, kw_only=True)
class BIM(IterativeAttack[Point]):
    """Small sign steps from the clean input: x_{n+1} = Clip_{x,eps}(x_n + alpha sign(grad_x J(x_n, y))), x_0 = x.

    Args:
        ball: Linf, L2 or L1.
        steps: None means the paper's ceil(min(eps + 4, 1.25 eps)), eps in 1/255 of the width (10 steps outside Linf).
        step_size: alpha in input units; None means the paper's 1/255 of the width (2.5 eps / steps outside Linf).

    Raises:  SettingError if steps is None with one eps per row.
    Source:  Kurakin, Goodfellow & Bengio 2017, arXiv:1607.02533, section 2.2.
    Departs:  returns the best point seen, not the last (``keep=Keep.LAST`` is the paper's).
    """

    steps: int | None = None
    step_size: float | None = None
    name: ClassVar[str] = "bim"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_size(self.step_size)

    def length(self, problem: Problem) -> int:
        return kurakin_steps(self.ball, self.steps, problem)

    def init(self, problem: Problem) -> Point:
        return Point(problem.x0)

    def step(self, problem: Problem, state: Point, seen: Seen, t: int) -> Point:
        size = kurakin_size(self.ball, self.step_size, self.length(problem), problem)
        return Point(ascend(problem, state.x, size, seen.grad))
