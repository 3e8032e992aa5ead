"""The fast gradient sign method."""

from dataclasses import dataclass
from typing import ClassVar, final

from saddlepoint.attacks._gradient import Point, ascend
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True, kw_only=True)
class FGSM(IterativeAttack[Point]):
    """One step of full length: x' = clip(x + eps sign(grad_x J(x, y))); in another norm, eps times its steepest step.

    Targeted: descends the loss towards the target. Cost: 2 forwards (the second looks at x'), 1 backward.

    Args:  ball: Linf, L2 or L1.  See IterativeAttack for loss and keep.
    Source:  Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572, section 4.
    Departs:  a row that is fooled at x already may return x (``keep``).
    """

    name: ClassVar[str] = "fgsm"

    def length(self, problem: Problem) -> int:
        return 1

    def init(self, problem: Problem) -> Point:
        return Point(problem.x0)

    def step(self, problem: Problem, state: Point, seen: Seen, t: int) -> Point:
        return Point(ascend(problem, state.x, problem.radius, seen.grad))
