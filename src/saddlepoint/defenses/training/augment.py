"""Augmentation as batched tensor operations."""

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint._typing import Batch
from saddlepoint.balls import Bounds
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.errors import InputError
from saddlepoint.noise import Noise


def augment(x: Batch, noise: Noise, schedule: Schedule, bounds: Bounds | None = None) -> Batch:
    """The views of a batch that a schedule asks for: moved, cropped, mirrored, with noise; every row on its own.

    Args:  bounds: noise is cut off there; None where the inputs have no known box, and noise is left as it is.
    """
    fill = 0.0 if bounds is None else min(max(0.0, bounds.lower), bounds.upper)
    if schedule.shift:
        x = shift(x, noise, schedule.shift, fill)
    if schedule.crop:
        x = _moved(x, noise.child("crop"), schedule.crop, fill, "crop")
    if schedule.flip:
        x = flip(x, noise)
    if schedule.noise:
        x = x + schedule.noise * noise.child("gauss").normal(x)
        x = x if bounds is None else x.clamp(bounds.lower, bounds.upper)
    return x


def shift(x: Batch, noise: Noise, most: int, fill: float = 0.0) -> Batch:
    """Move each image by a random whole number of pixels, at most ``most`` along each axis, rows independently.

    That is padding by ``most`` pixels, and cropping at random to the size that it was.

    Args:  x: (n, c, h, w);  noise: bound to the rows' ids;  fill: what comes in at the edge, input units.
    Raises:  InputError if x holds no images.
    """
    return _moved(x, noise.child("shift"), most, fill, "shift")


def flip(x: Batch, noise: Noise) -> Batch:
    """Mirror each image left to right, or not, with equal chance.

    Args:  x: (n, c, h, w);  noise: bound to the rows' ids.
    Raises:  InputError if x holds no images.
    """
    _require_images(x, "mirroring", "flip=False")
    mirrored = noise.child("flip").uniform(x.new_empty(len(x), 1)) < 0.5
    return torch.where(mirrored[:, :, None, None], x.flip(3), x)


def _moved(x: Batch, noise: Noise, most: int, fill: float, option: str) -> Batch:
    _require_images(x, "shifting", f"{option}=0")
    n, c, h, w = x.shape
    draw = noise.uniform(x.new_empty(n, 2))
    offset = (draw * (2 * most + 1)).long()
    padded = functional.pad(x, (most, most, most, most), value=fill)
    row = torch.arange(h, device=x.device) + offset[:, :1]
    column = torch.arange(w, device=x.device) + offset[:, 1:]
    first, second = torch.arange(n, device=x.device), torch.arange(c, device=x.device)
    return padded[first[:, None, None, None], second[:, None, None], row[:, None, :, None], column[:, None, None, :]]


def _require_images(x: Tensor, what: str, remedy: str) -> None:
    if x.dim() != 4:
        raise InputError(f"x has shape {tuple(x.shape)}; {what} needs images (n, c, h, w), or set {remedy}")
