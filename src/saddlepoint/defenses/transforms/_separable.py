"""Linear filters that are one matrix product along each axis."""

from functools import lru_cache

import torch
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import settled, sources


def smoothed(x: Tensor, down: tuple[float, ...], across: tuple[float, ...], bounds: Bounds) -> Tensor:
    """Images (n, c, h, w) in the box, weighted by ``down`` along their columns and by ``across`` along their rows.

    Three to eight times faster than a convolution per channel on images of 28 and 32 pixels, see benchmarks/filters.py.
    """
    columns, rows = (
        _matrix(size, weights, x.dtype, x.device) for size, weights in zip(x.shape[2:], (down, across), strict=True)
    )
    return settled(columns @ x @ rows.T, bounds)


@lru_cache(maxsize=64)
def _matrix(size: int, weights: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(size, size): row i holds the weights of the pixels that pixel i becomes a mean of, mirrored at the edge."""
    with torch.inference_mode(False):  # it is kept, and one made in inference mode takes part in no gradient
        place = sources(size, len(weights), device).unfold(0, len(weights), 1)
        values = torch.tensor(weights, dtype=dtype, device=device).expand(size, -1)
        return torch.zeros(size, size, dtype=dtype, device=device).scatter_add_(1, place, values / values[0].sum())
