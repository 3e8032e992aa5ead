"""OpenCV where it is installed: for batches that need no gradient it is faster on a CPU, image by image."""

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


@cache
def opencv() -> ModuleType | None:
    """The module, or None."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2  # type: ignore[no-any-return, unused-ignore]


def may_go_by_opencv(x: Tensor) -> bool:
    """Whether a batch is of a kind that OpenCV takes, and nobody asks for its gradient."""
    wanted = torch.is_grad_enabled() and x.requires_grad
    return not wanted and (x.device.type, x.dtype) == ("cpu", torch.float32) and opencv() is not None


def each(filtered: Callable[[Any, Any], object], given: Tensor) -> Tensor:
    """``filtered(one, out)`` for the NumPy arrays of every row of a contiguous batch."""
    out = torch.empty_like(given)
    for one, place in zip(given.numpy(), out.numpy(), strict=True):
        filtered(one, place)
    return out
