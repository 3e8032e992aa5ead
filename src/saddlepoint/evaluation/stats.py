"""Counts with intervals."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saddlepoint.records import wilson

__all__ = ["median", "wilson"]


def median(parts: Sequence[Tensor]) -> float | None:
    """The (lower) median over all parts, each (n,); None where they are empty."""
    every = torch.cat(list(parts)) if parts else torch.empty(0)
    return float(every.median()) if len(every) else None
