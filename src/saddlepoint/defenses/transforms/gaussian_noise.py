"""Gaussian noise: every pass sees another input."""

from typing import final

from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import clipped, positive
from saddlepoint.defenses.transforms.transform import Transform


@final
class GaussianNoise(Transform):
    """Normal noise on every feature, clipped into the box. Any shape; random, and differentiable.

    The gradient is that of the pass at hand, 0 where the noise was clipped; an attack needs means over draws (EOT).

    Args:  sigma: the standard deviation, as a share of the box's width;  bounds: the box of the inputs.

    Raises:  SettingError for a sigma below 0.

    Source:  Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918, add it and take a vote.  Departs: it is clipped.
    """

    name = "gaussian-noise"
    differentiable = True
    random = True

    def __init__(self, sigma: float, *, bounds: Bounds | tuple[float, float] = Bounds()) -> None:
        super().__init__(bounds=bounds)
        self.sigma = positive("sigma", sigma, "shares of the box's width", zero=True)

    def forward(self, x: Tensor) -> Tensor:
        x = clipped(x, self.bounds, self.name)
        noise = self.noise(x).normal(x).mul_(self.sigma * self.bounds.width)
        return (x + noise).clamp(self.bounds.lower, self.bounds.upper)

    def settings(self) -> dict[str, float | int | str]:
        return {"sigma": self.sigma}
