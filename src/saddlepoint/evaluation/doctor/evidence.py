"""When a change makes a model better beyond doubt."""

from math import comb
from typing import NamedTuple

from torch import Tensor

from saddlepoint.records import Finding

_DOUBT = 1e-5  # of one comparison; up to 35 are made


class Gain(NamedTuple):
    """Right answers on n rows before and after a change, and whether it explains the errors."""

    rows: int
    before: int
    after: int
    sure: bool

    @property
    def accuracy(self) -> float:
        """Afterwards."""
        return self.after / max(1, self.rows)

    def __str__(self) -> str:
        return (
            f"{_percent(self.after, self.rows)} of {self.rows} rows are right, not {_percent(self.before, self.rows)}"
        )


class Cause(NamedTuple):
    """What would make a model right: accuracy with it, and the finding that says so."""

    accuracy: float
    finding: Finding


def gain(before: Tensor, after: Tensor) -> Gain:
    """Compare the same rows before and after a change, each right or wrong (n,).

    Sure means all of: the rows that it mends outnumber those that it spoils beyond a 99.999 % sign test (McNemar's,
    exact); accuracy rises by 5 points, or half of the wrong rows are mended; a fifth of the wrong rows are mended.
    """
    rows, was, now = len(before), int(before.sum()), int(after.sum())
    mended, spoiled = int((after & ~before).sum()), int((before & ~after).sum())
    net, wrong = now - was, rows - was
    large = net >= 0.05 * rows or 2 * net >= wrong
    sure = net > 0 and large and 5 * net >= wrong and _tail(mended, mended + spoiled) < _DOUBT
    return Gain(rows, was, now, sure)


def _tail(hits: int, tosses: int) -> float:
    """The chance of at least that many heads of a fair coin."""
    ways: int = sum(comb(tosses, i) for i in range(hits, tosses + 1))
    return float(ways / 2**tosses)


def _percent(count: int, rows: int) -> str:
    return f"{100 * count / max(1, rows):.1f} %"
