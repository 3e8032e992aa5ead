"""The Linf ball: every feature moves by at most eps."""

from dataclasses import dataclass
from typing import ClassVar, final

from saddlepoint._typing import Batch, PerRow
from saddlepoint.balls.ball import Ball
from saddlepoint.balls.bounds import Bounds
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, eq=False)
class Linf(Ball):
    """max_i |x_i - x0_i| <= eps.

    Args:  eps: in input units (8/255, not 8), one number or one per row (n,).
    """

    norm: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        self.check_eps()

    def widest(self, bounds: Bounds, features: int) -> float:
        return bounds.width

    def distance(self, x: Batch, x0: Batch) -> PerRow:
        return (x - x0).abs().flatten(1).amax(1) if x[:1].numel() else x.new_zeros(len(x))

    def project(self, x: Batch, x0: Batch, bounds: Bounds) -> Batch:
        # One allocation, the rest in place: page faults cost more than arithmetic (benchmarks/efficiency.py).
        radius = self.radius(x0)
        delta = (x - x0).clamp_(-radius, radius)  # type: ignore[arg-type]  # number or tensor, both ends alike
        return delta.add_(x0).clamp_(bounds.lower, bounds.upper)

    def random_start(self, x0: Batch, bounds: Bounds, noise: Noise) -> Batch:
        return self.project(x0 + self.radius(x0) * (noise.uniform(x0) * 2 - 1), x0, bounds)

    def steepest_step(self, grad: Batch, x: Batch | None = None, bounds: Bounds | None = None) -> Batch:
        return grad.sign()
