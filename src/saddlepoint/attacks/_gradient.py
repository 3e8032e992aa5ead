"""The one step that FGSM, BIM, MI-FGSM, PGD and ILLC share, and how BIM and ILLC choose its size and number."""

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor

from saddlepoint._typing import Batch, is_number
from saddlepoint.balls import Ball, Linf
from saddlepoint.errors import SettingError, shown
from saddlepoint.problem import Problem


@final
@dataclass(frozen=True)
class Point:
    """A state that is just a point x (n, *f)."""

    x: Batch


def ascend(problem: Problem, x: Batch, size: float | Tensor, direction: Batch) -> Batch:
    """Move by ``size`` along the steepest step of ``direction``, back into ball and box."""
    return problem.project((size * problem.steepest_step(direction, x)).add_(x))


def check_steps(steps: int | None, *, least: int = 0) -> None:
    """Refuse a number of steps that is no integer, or too small."""
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < least):
        raise SettingError(f"steps={shown(steps)} must be an integer >= {least}")


def check_size(step_size: float | None) -> None:
    """Refuse a step size that is negative or not finite."""
    if step_size is not None and not (is_number(step_size) and 0 <= step_size < math.inf):
        raise SettingError(f"step_size={shown(step_size)} must be finite and >= 0, in input units (2/255, not 2)")


def kurakin_steps(ball: Ball, steps: int | None, problem: Problem) -> int:
    """Kurakin et al. 2017, section 2.2: ceil(min(eps + 4, 1.25 eps)), eps in 1/255 of the width; 10 outside Linf."""
    if steps is not None:
        return steps
    if not isinstance(ball, Linf):
        return 10
    if isinstance(ball.eps, Tensor):
        raise SettingError("steps=None derives the number of steps from one eps; with one eps per row give steps=")
    eps = ball.eps / problem.bounds.width * 255
    return math.ceil(min(eps + 4, 1.25 * eps) - 1e-9)


def kurakin_size(ball: Ball, step_size: float | None, steps: int, problem: Problem) -> float | Tensor:
    """1/255 of the width, as in the same paper; outside Linf, where the paper says nothing, 2.5 eps / steps."""
    if step_size is not None:
        return step_size
    return problem.bounds.width / 255 if isinstance(ball, Linf) else 2.5 * problem.radius / max(1, steps)
