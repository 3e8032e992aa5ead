"""What the filters of images share: a look at what they are given, and pixels beyond the edge."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint._typing import is_number
from saddlepoint.balls import Bounds
from saddlepoint.errors import InputError, SettingError, shown


def whole(name: str, value: object, least: int, most: float = math.inf) -> int:
    """A setting that is an integer in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        rule = f">= {least}" if most == math.inf else f"from {least} to {most:g}"
        raise SettingError(f"{name}={shown(value)} must be an integer {rule}")
    return value


def positive(name: str, value: object, unit: str, *, zero: bool = False) -> float:
    """A setting that is a finite number above 0, or 0 too."""
    if isinstance(value, bool) or not is_number(value) or not (value > 0 or (zero and value == 0)) or value == math.inf:
        raise SettingError(f"{name}={shown(value)} must be a finite number {'>= 0' if zero else '> 0'}, in {unit}")
    return float(value)


def window(name: str, height: object, width: object) -> tuple[int, int]:
    """Height and width of a window in pixels; without a width it is square."""
    high = whole(f"height of {name}", height, 1)
    return high, high if width is None else whole(f"width of {name}", width, 1)


def clipped(x: Tensor, bounds: Bounds, name: str) -> Tensor:
    """Inputs of any shape moved into the box."""
    if not x.is_floating_point():
        raise InputError(
            f"x is {x.dtype}; {name} needs floating-point inputs in the bounds: for 8 bits x.float() / 255"
        )
    return x.clamp(bounds.lower, bounds.upper)


def images(x: Tensor, bounds: Bounds, name: str, height: int = 1, width: int = 1) -> Tensor:
    """Images (n, c, h, w) moved into the box, if they are at least as large as a window of (height, width)."""
    if x.dim() != 4:
        raise InputError(f"x has shape {tuple(x.shape)}; {name} needs images (n, c, h, w)")
    if x.shape[2] < height or x.shape[3] < width:
        raise InputError(
            f"x holds images of {x.shape[2]} x {x.shape[3]} pixels, the window of {name} has {height} x {width}; "
            "make the window smaller"
        )
    return clipped(x, bounds, name)


def to_unit(x: Tensor, bounds: Bounds) -> Tensor:
    """What lies in the box, in [0, 1]."""
    return x if bounds == Bounds() else (x - bounds.lower) / bounds.width


def from_unit(u: Tensor, bounds: Bounds) -> Tensor:
    """What lies in [0, 1], in the box."""
    return u if bounds == Bounds() else settled(u * bounds.width + bounds.lower, bounds)


def settled(x: Tensor, bounds: Bounds) -> Tensor:
    """Take back, in place, what rounding added beyond the box.

    The gradient is left alone: it must not vanish where a constant white area comes out one rounding too white.
    """
    with torch.no_grad():
        return x.clamp_(bounds.lower, bounds.upper)


def before(size: int) -> int:
    """How many pixels a window has before its own one; an even window has one less after it, as in scipy.ndimage."""
    return size // 2


def mirrored(x: Tensor, height: int, width: int) -> Tensor:
    """Images (n, c, h, w) with what a window (height, width) sees beyond the edge: the edge pixel again, then inwards.

    scipy calls it ``reflect``, numpy ``symmetric``, OpenCV ``BORDER_REFLECT``; torch has it for one pixel only, as
    ``replicate``.
    """
    top, left = before(height), before(width)
    if top <= 1 and left <= 1 and len(x):
        return functional.pad(x, (left, width - 1 - left, top, height - 1 - top), mode="replicate")
    row, column = (sources(size, span, x.device) for size, span in zip(x.shape[2:], (height, width), strict=True))
    return x.index_select(2, row).index_select(3, column)


def sources(size: int, span: int, device: torch.device) -> Tensor:
    """(size + span - 1,) the pixel of an axis of ``size`` that stands at each place of the mirrored one."""
    place = torch.arange(-before(span), size + span - 1 - before(span), device=device)
    place = torch.where(place < 0, -1 - place, place)
    return torch.where(place >= size, 2 * size - 1 - place, place)


def in_chunks(run: Callable[[Tensor], Tensor], x: Tensor, numbers: int) -> Tensor:
    """``run(x)``, for so many rows at a time that they hold about ``numbers`` numbers, which then stay in the cache."""
    rows = max(1, numbers // max(1, x[:1].numel()))
    return run(x) if len(x) <= rows else torch.cat([run(part) for part in x.split(rows)])
