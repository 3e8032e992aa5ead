"""What attacks that look for the smallest perturbation share."""

import math

import torch

from saddlepoint._typing import PerRow
from saddlepoint.balls import Ball
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem


def check_ball(ball: Ball, *known: type[Ball]) -> None:
    """Refuse the ball of a norm that the attack cannot minimise."""
    if not isinstance(ball, known):
        raise SettingError(
            f"ball={type(ball).__name__} has a norm that this attack does not minimise; "
            f"give it {' or '.join(kind.__name__ for kind in known)}, on the command line "
            f"--norm {' or '.join(kind.norm for kind in known)}"
        )


def check_gamma(gamma: float, name: str = "gamma") -> None:
    """Refuse a share by which a radius cannot change."""
    if not 0 <= gamma < 1:
        raise SettingError(f"{name}={gamma!r} must lie in [0, 1): the share by which the radius changes in a step")


def annealed(first: float, last: float, done: float) -> float:
    """Half a cosine from ``first`` to ``last``, at the share ``done`` of the way."""
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2


def largest_radius(problem: Problem) -> PerRow:
    """(n,) the distance to the farthest corner of the box, or eps where that is less."""
    low, high, x0 = problem.bounds.lower, problem.bounds.upper, problem.x0
    corner = torch.where(x0 - low > high - x0, low, high)
    farthest = problem.ball.distance(corner.to(x0), x0)
    return torch.minimum(farthest, torch.as_tensor(problem.ball.radius(farthest), dtype=x0.dtype, device=x0.device))


def column(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(n,) shaped to broadcast against x (n, *f)."""
    return values.view(-1, *[1] * (x.dim() - 1))
