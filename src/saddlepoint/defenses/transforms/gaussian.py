"""Gaussian filter: near pixels count more."""

import math
from typing import final

from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import images, positive
from saddlepoint.defenses.transforms._separable import smoothed
from saddlepoint.defenses.transforms.transform import Transform


@final
class Gaussian(Transform):
    """A Gaussian mean around each pixel of images (n, c, h, w), channel by channel; differentiable.

    The weights exp(-d**2 / (2 sigma**2)) end ``truncate`` sigmas away and add up to 1; at the edge the image goes on
    mirrored, the edge pixel once more: ``scipy.ndimage.gaussian_filter(mode="reflect")``.

    Args:  sigma: in pixels;  truncate: in sigmas;  bounds: the box of the inputs.

    Raises:  SettingError for a sigma or an end that is not above 0;  InputError for what is no image, or smaller than
        the window of 2 round(truncate * sigma) + 1 pixels.
    """

    name = "gaussian"
    differentiable = True

    def __init__(self, sigma: float, *, truncate: float = 4.0, bounds: Bounds | tuple[float, float] = Bounds()) -> None:
        super().__init__(bounds=bounds)
        self.sigma, self.truncate = positive("sigma", sigma, "pixels"), positive("truncate", truncate, "sigmas")
        radius = int(self.truncate * self.sigma + 0.5)
        self._weights = tuple(math.exp(-0.5 * (place / self.sigma) ** 2) for place in range(-radius, radius + 1))

    def forward(self, x: Tensor) -> Tensor:
        x = images(x, self.bounds, self.name, len(self._weights), len(self._weights))
        return smoothed(x, self._weights, self._weights, self.bounds)

    def settings(self) -> dict[str, float | int | str]:
        return {"sigma": self.sigma, "truncate": self.truncate}
