"""Augmentation as batched tensor operations."""

import torch
from torch.nn import functional

from saddlepoint._typing import Batch
from saddlepoint.errors import InputError
from saddlepoint.noise import Noise


def shift(x: Batch, noise: Noise, most: int, fill: float = 0.0) -> Batch:
    """Move each image by a random whole number of pixels, at most ``most`` along each axis, rows independently.

    Args:  x: (n, c, h, w);  noise: bound to the rows' ids;  fill: what comes in at the edge, input units.
    Raises:  InputError if x holds no images.
    """
    if x.dim() != 4:
        raise InputError(f"x has shape {tuple(x.shape)}; shifting needs images (n, c, h, w), or set shift=0")
    n, c, h, w = x.shape
    draw = noise.child("shift").uniform(x.new_empty(n, 2))
    offset = (draw * (2 * most + 1)).long()
    padded = functional.pad(x, (most, most, most, most), value=fill)
    row = torch.arange(h, device=x.device) + offset[:, :1]
    column = torch.arange(w, device=x.device) + offset[:, 1:]
    first, second = torch.arange(n, device=x.device), torch.arange(c, device=x.device)
    return padded[first[:, None, None, None], second[:, None, None], row[:, None, :, None], column[:, None, None, :]]
