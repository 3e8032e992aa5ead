"""What attacks on colour differences share: the distance and its gradient, 8-bit points, how smooth a place is."""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint import colour
from saddlepoint._typing import Batch, PerRow
from saddlepoint.attacks._minimal import column
from saddlepoint.balls import Bounds, Perceptual
from saddlepoint.balls.perceptual import rows_at_once
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem

_LEAST = 1e-6
"""No distance is shorter: that of x0 itself has no slope."""
_FLAT = 0.01
"""Share of the width added to the spread of a place, so that a flat one does not weigh without end."""


def check_levels(levels: int | None) -> None:
    """Refuse a number of values to which nothing can be rounded."""
    if levels is not None and (isinstance(levels, bool) or not isinstance(levels, int) or levels < 2):
        raise SettingError(f"levels={levels!r} must be an integer >= 2, or None; 256 for 8-bit images")


def rounded(x: Batch, bounds: Bounds, levels: int | None) -> Batch:
    """The points of the box on the nearest of so many levels; as they are, where there are none."""
    if levels is None:
        return x
    grid = (levels - 1) / bounds.width
    return ((x - bounds.lower) * grid).round_().div_(grid).add_(bounds.lower).clamp_(bounds.lower, bounds.upper)


def start(problem: Problem, texture: bool) -> tuple[Tensor, Tensor]:
    """Lab of the inputs (n, 3, h, w), and the weights of squared differences by pixel (n, h, w), or one (n, 1, 1)."""
    x0 = problem.x0
    weight = squared_weight(x0, problem.bounds) if texture else x0.new_ones(len(x0), 1, 1)
    return cast(Perceptual, problem.ball).lab(x0), weight


def squared_weight(x0: Batch, bounds: Bounds) -> Tensor:
    """(n, h, w), the squares of weights of mean 1: 1 / (spread + 0.01), the standard deviation of 3 x 3 pixels.

    It is taken of each channel, edges repeated, and averaged over the channels.
    """
    share = (x0 - bounds.lower) / bounds.width
    padded = functional.pad(share, (1, 1, 1, 1), mode="replicate")
    mean, square = (functional.avg_pool2d(each, 3, 1) for each in (padded, padded.square()))
    weight = 1 / ((square - mean.square()).clamp_min(0).sqrt().mean(1) + _FLAT)
    return (weight / weight.mean((1, 2), keepdim=True)).square()


def pull(problem: Problem, x: Batch, lab0: Tensor, weight: Tensor) -> tuple[PerRow, Batch]:
    """The weighted colour distance (n,) of points from the inputs, and its gradient (n, 3, h, w), 0 at the inputs."""
    rows, ball, found = rows_at_once(x), cast(Perceptual, problem.ball), []
    for point, clean, each in zip(x.split(rows), lab0.split(rows), weight.split(rows), strict=True):
        with torch.enable_grad():
            free = point.detach().requires_grad_()
            square = (colour.squared_difference(clean, ball.lab(free)) * each).flatten(1).sum(1)
            (slope,) = torch.autograd.grad(square.sum(), free)
        length = square.detach().sqrt()
        found.append((length, slope / column(2 * length.clamp_min(_LEAST), slope)))
    lengths, slopes = zip(*found, strict=True)
    return torch.cat(lengths), torch.cat(slopes)
