"""Names for tensor shapes: ``n`` rows, ``*f`` feature axes of any rank, ``k`` classes.

They are checked at run time (jaxtyping, beartype) in the tests only; without jaxtyping they are plain tensors.
"""

from typing import TYPE_CHECKING, TypeAlias

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

__all__ = ["Batch", "Labels", "Logits", "Mask", "PerRow"]
