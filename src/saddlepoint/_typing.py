"""Names for tensor shapes: ``n`` rows, ``*f`` feature axes of any rank, ``k`` classes.

They are checked at run time (jaxtyping, beartype) in the tests only; without jaxtyping they are plain tensors.
"""

import sys
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import torch
from torch import Tensor

if TYPE_CHECKING:
    Batch: TypeAlias = Tensor
    Labels: TypeAlias = Tensor
    Logits: TypeAlias = Tensor
    PerRow: TypeAlias = Tensor
    Mask: TypeAlias = Tensor
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:
        Batch = Labels = Logits = PerRow = Mask = Tensor
    else:
        Batch = Float[Tensor, "n *f"]
        Labels = Int[Tensor, "n"]
        Logits = Float[Tensor, "n k"]
        PerRow = Float[Tensor, "n"]
        Mask = Bool[Tensor, "n"]

__all__ = ["Batch", "Labels", "Logits", "Mask", "PerRow", "is_dense", "is_number"]


def is_dense(value: object) -> TypeGuard[Tensor]:
    """A tensor that holds its values one after the other: not sparse, nested or on the meta device."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_nested and not value.is_meta


def is_number(value: object) -> TypeGuard[float]:
    """An int or float, infinity and NaN among them, and no int that is too large for a float."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)
