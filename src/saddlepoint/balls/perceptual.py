"""The perceptual distance of colour images: no ball to project on, but what a search for the nearest ranks by."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NoReturn, Self, final

import torch
from torch import Tensor

from saddlepoint import colour
from saddlepoint._typing import Batch, PerRow
from saddlepoint.balls.ball import Ball
from saddlepoint.balls.bounds import Bounds
from saddlepoint.errors import InputError, SettingError
from saddlepoint.noise import Noise

_LARGEST = 120.0
"""No two colours of sRGB differ by more; black and white differ by 100."""
_AT_ONCE = 16384
"""Pixels: their temporaries stay in the cache, and memory is used again."""


@final
@dataclass(frozen=True, eq=False)
class Perceptual(Ball):
    """The total colour difference of two images, sqrt(sum over pixels of CIEDE2000^2), is at most eps.

    For attacks that look for the nearest point (PerC-C&W, PerC-AL): it has no projection, no random start and no
    steepest step.

    Args:
        eps: in units of CIEDE2000 over the whole image, one number or one per row (n,); inf for no limit.
        bounds: the values of black and white; a search takes those of its model.

    Source:  Zhao, Liu & Larson 2020, arXiv:1911.02466, section 3.2; see :func:`saddlepoint.colour.squared_difference`.
    """

    norm: ClassVar[str] = "ciede2000"
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        self.check_eps()

    def fitted(self, x0: Batch, bounds: Bounds) -> Self:
        """The same with these values of black and white.

        Raises:  InputError for anything but RGB images (n, 3, height, width).
        """
        check_rgb(x0)
        return replace(self, bounds=bounds)

    def widest(self, bounds: Bounds, features: int) -> float:
        return _LARGEST * math.sqrt(features / 3)

    def lab(self, x: Batch) -> Tensor:
        """Lab (n, 3, h, w) of RGB images in the bounds."""
        return colour.lab((x - self.bounds.lower) / self.bounds.width)

    def distance(self, x: Batch, x0: Batch) -> PerRow:
        rows = rows_at_once(x)
        parts = [
            colour.squared_difference(self.lab(b), self.lab(a)).flatten(1).sum(1)
            for a, b in zip(x.split(rows), x0.split(rows), strict=True)
        ]
        return torch.cat(parts).sqrt()

    def project(self, x: Batch, x0: Batch, bounds: Bounds) -> Batch:
        self._refuse("projection")

    def random_start(self, x0: Batch, bounds: Bounds, noise: Noise) -> Batch:
        self._refuse("random start")

    def steepest_step(self, grad: Batch, x: Batch | None = None, bounds: Bounds | None = None) -> Batch:
        self._refuse("steepest step")

    def _refuse(self, what: str) -> NoReturn:
        raise SettingError(
            f"ball={self!r} has no {what}; give it to an attack that minimises colour differences, perc-al or perc-cw, "
            "or give this attack an Linf, L2 or L1 ball"
        )


def is_rgb(x: Tensor) -> bool:
    """Whether a batch is of RGB images, (n, 3, height, width)."""
    return x.dim() == 4 and x.shape[1] == 3


def check_rgb(x: Tensor) -> None:
    """Raises:  InputError for anything but RGB images."""
    if not is_rgb(x):
        raise InputError(
            f"x has shape {tuple(x.shape)}; colour differences need RGB images (n, 3, height, width): repeat the "
            "channel of grey images three times, x.expand(-1, 3, -1, -1), or use an L2 attack"
        )


def rows_at_once(x: Tensor) -> int:
    """How many images to compare at once."""
    return max(1, _AT_ONCE // max(1, math.prod(x.shape[2:])))
