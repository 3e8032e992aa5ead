"""Counts with intervals."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from saddlepoint.records import Share

_Z95 = 1.959963984540054


def wilson(count: int, rows: int) -> Share:
    """The share count / rows with its 95 % Wilson score interval; (0, 1) where there are no rows.

    Source:  Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.

    >>> share = wilson(90, 100)
    >>> round(share.low, 4), round(share.high, 4)
    (0.8256, 0.9448)
    """
    if rows == 0:
        return Share(count=0, rows=0, low=0.0, high=1.0)
    p, z2 = count / rows, _Z95**2
    middle = (p + z2 / (2 * rows)) / (1 + z2 / rows)
    half = _Z95 / (1 + z2 / rows) * math.sqrt(p * (1 - p) / rows + z2 / (4 * rows**2))
    return Share(
        count=count,
        rows=rows,
        low=0.0 if count == 0 else max(0.0, middle - half),
        high=1.0 if count == rows else min(1.0, middle + half),
    )


def median(parts: Sequence[Tensor]) -> float | None:
    """The (lower) median over all parts, each (n,); None where they are empty."""
    every = torch.cat(list(parts)) if parts else torch.empty(0)
    return float(every.median()) if len(every) else None
