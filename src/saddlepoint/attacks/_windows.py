"""Windows of an image, of one size and each row's own place, and the patterns that Square fills them with."""

import math
from functools import lru_cache
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint._typing import Batch
from saddlepoint.noise import Noise

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_SCHEDULE = 10_000


@final
class Image(NamedTuple):
    """How the features of a row are read: (channels, height, width)."""

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, x: Batch) -> "Image":
        """(n, c, h, w) as it is; anything else as one channel of one line."""
        return cls(*x.shape[1:]) if x.dim() == 4 else cls(1, 1, math.prod(x.shape[1:]))

    def view(self, x: Batch) -> Tensor:
        """The rows as (n, channels, height * width)."""
        return x.reshape(len(x), self.channels, self.height * self.width)

    def window(self, share: float, *, odd: bool = False) -> tuple[int, int]:
        """Height and width of the square of this share of the pixels.

        Where the image is too narrow for the square, the window spans it, and is as long as the share asks for.

        Args:  odd: sides of at least 3, and odd ones, where the image has room for them.
        """
        short, long = sorted((self.height, self.width))
        side = max(1, round(math.sqrt(share * short * long)))
        a, b = (side, side) if side <= short else (short, max(1, round(share * long)))
        if odd:
            a, b = min(max(a, 3) | 1, short), min(max(b, 3) | 1, long)
        return (a, b) if self.height <= self.width else (b, a)

    def cells(self, size: tuple[int, int], at: Tensor) -> Tensor:
        """Where the pixels of each row's window lie in ``view``, (n, 1, a * b).

        Args:  size: (a, b), of all windows;  at: (n, 2) numbers in [0, 1), which say where the window lies.
        """
        a, b = size
        top = (at[:, 0] * (self.height - a + 1)).long()
        left = (at[:, 1] * (self.width - b + 1)).long()
        down, right = torch.arange(a, device=at.device), torch.arange(b, device=at.device)
        inner = (down[:, None] * self.width + right).flatten()
        return ((top * self.width + left)[:, None] + inner)[:, None]

    def tiles(self, like: Batch, noise: Noise, order: int) -> Tensor:
        """The image laid out with squares, five to its shorter side, each a pattern of random sign and direction."""
        side = max(1, min(self.height, self.width) // 5)
        rows, columns = self.height // side, self.width // side
        draw = noise.uniform(like.new_empty(len(like), self.channels + 1, rows, columns))
        one = pattern(side, side, order).to(like)
        tile = torch.where(draw[:, -1:, :, :, None, None] < 0.5, one.T, one)
        tile = tile * signs(draw[:, :-1])[..., None, None]  # (n, c, rows, columns, side, side)
        whole = tile.transpose(3, 4).reshape(len(like), self.channels, rows * side, columns * side)
        top, left = (self.height - rows * side) // 2, (self.width - columns * side) // 2
        bottom, right = self.height - rows * side - top, self.width - columns * side - left
        return functional.pad(whole, (left, right, top, bottom)).flatten(2)


def signs(draw: Tensor) -> Tensor:
    """-1 or 1, from numbers in [0, 1)."""
    return torch.where(draw < 0.5, -1, 1).to(draw.dtype)


def share(p_init: float, t: float) -> float:
    """The share of the pixels in a window, halved at fixed places of a schedule of 10,000 steps."""
    halvings = sum(t > at for at in _HALVINGS)
    return float(p_init / 2**halvings)


def rescaled(t: int, steps: int) -> int:
    """The place in the schedule of 10,000 steps of step t out of ``steps``."""
    return int(t / steps * _SCHEDULE)


@lru_cache(maxsize=256)
def pattern(a: int, b: int, order: int) -> Tensor:
    """Two bumps of opposite sign, one above the other, (a, b), of norm 1 in L1 (order 1) or L2 (order 2)."""
    both = torch.cat([_bump(a // 2, b, order), -_bump(a - a // 2, b, order)])
    whole: Tensor = both / torch.linalg.vector_norm(both, order)
    return whole


def _bump(a: int, b: int, order: int) -> Tensor:
    """Rectangles on top of each other, the k-th from the middle of height 1 / k^2 in L2 and 1 / k^4 in L1, norm 1."""
    down = (torch.arange(a, dtype=torch.float64) - a // 2).abs()
    right = (torch.arange(b, dtype=torch.float64) - b // 2).abs()
    ring = torch.maximum(down[:, None], right).long()
    heights = torch.arange(1, max(a, b) // 2 + 2, dtype=torch.float64) ** (-2 if order == 2 else -4)
    bump = heights.flip(0).cumsum(0).flip(0)[ring]
    return bump / torch.linalg.vector_norm(bump, order) if a else bump
