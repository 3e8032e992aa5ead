"""The L2 ball: Euclidean length of the perturbation at most eps."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, PerRow
from saddlepoint.balls.ball import Ball, flat_norm
from saddlepoint.balls.bounds import Bounds
from saddlepoint.noise import Noise

_ROUNDS = 60


@final
@dataclass(frozen=True, eq=False)
class L2(Ball):
    """sqrt(sum_i (x_i - x0_i)^2) <= eps.

    Args:  eps: in input units, one number or one per row (n,).
    """

    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        self.check_eps()

    def widest(self, bounds: Bounds, features: int) -> float:
        return float(bounds.width * features**0.5)

    def distance(self, x: Batch, x0: Batch) -> PerRow:
        return flat_norm(x - x0).flatten()

    def project(self, x: Batch, x0: Batch, bounds: Bounds) -> Batch:
        r"""Nearest point of ball and box.

        The optimum is clip(s * v, lower - x0, upper - x0), v = x - x0, with the largest s in [0, 1] that meets the
        radius. From a feasible s, hold the features that the box stops and solve the rest in closed form: s grows to
        the optimum monotonically and in finitely many rounds, usually two or three: a stopped feature stays stopped.
        """
        delta, radius = (x - x0).flatten(1), self.radius(x0.flatten(1))
        low, high = (bounds.lower - x0).flatten(1), (bounds.upper - x0).flatten(1)
        inside = torch.clamp(delta, low, high)
        far = flat_norm(inside) > radius * (1 + 8 * torch.finfo(x.dtype).eps)  # the slack makes it idempotent
        if bool(far.any()):
            inside = torch.where(
                far, _shrunk(delta, low, high, torch.as_tensor(radius, dtype=x.dtype, device=x.device)), inside
            )
        # The clamp absorbs the rounding of x0 + (upper - x0).
        return (x0 + inside.view(x0.shape)).clamp_(bounds.lower, bounds.upper)

    def random_start(self, x0: Batch, bounds: Bounds, noise: Noise) -> Batch:
        direction = self.steepest_step(noise.normal(x0))
        share = noise.child("radius").uniform(x0.new_empty(len(x0), 1)) ** (1 / max(1, x0[:1].numel()))
        delta = direction * self.radius(x0) * share.view(-1, *[1] * (x0.dim() - 1))
        return (x0 + delta).clamp_(bounds.lower, bounds.upper)

    def steepest_step(self, grad: Batch, x: Batch | None = None, bounds: Bounds | None = None) -> Batch:
        norm = flat_norm(grad)
        return grad / torch.where(norm > 0, norm, 1)


def _shrunk(delta: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """clip(s * delta, low, high) of Euclidean length ``radius``, for rows (n, d) whose clipped length exceeds it."""
    norm = flat_norm(delta)
    scale = (radius / torch.where(norm > 0, norm, 1)).clamp(max=1)
    for _ in range(_ROUNDS):
        scaled = delta * scale
        moved = torch.clamp(scaled, low, high)
        stuck = (moved != scaled).to(delta.dtype)  # products with it take a third of the time of torch.where
        stopped = (moved * stuck).square().sum(1, keepdim=True)
        square = (delta * (1 - stuck)).square().sum(1, keepdim=True)
        room = (radius.square() - stopped).clamp_min(0)
        grown = torch.where(square > 0, (room / torch.where(square > 0, square, 1)).sqrt(), scale).clamp(max=1)
        there = grown <= scale * (1 + 4 * torch.finfo(delta.dtype).eps)
        if bool(there.all()):
            break
        scale = torch.where(there, scale, grown)  # a row that is there does not drift while others go on
    return torch.clamp(delta * scale, low, high)
