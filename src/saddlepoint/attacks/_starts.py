"""Random points that use up a radius."""

import torch

from saddlepoint._typing import Batch
from saddlepoint.balls import Linf
from saddlepoint.problem import Problem


def unit_draw(problem: Problem) -> Batch:
    """A random direction (n, *f) of norm 1: uniform in a cube, scaled to touch its face, in Linf, else Gaussian."""
    noise, x0 = problem.noise.child("start"), problem.x0
    draw = 2 * noise.uniform(x0) - 1 if isinstance(problem.ball, Linf) else noise.normal(x0)
    norm = problem.ball.distance(draw, torch.zeros_like(draw)).view(-1, *[1] * (x0.dim() - 1))
    return draw / torch.where(norm > 0, norm, 1)
