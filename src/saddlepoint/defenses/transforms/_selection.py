"""The value of one rank in each window, as a network of minima and maxima on whole batches.

The columns of a window are sorted once for all windows that share them, then its rows. Columns stay sorted by that, so
entry (i, j) has at least (i + 1)(j + 1) - 1 others at most as large, and (h - i)(w - j) - 1 at least as large: only the
few that can have the rank are sorted further. Of all that, what the answer does not depend on is left out. For windows
of 2 x 2 and 3 x 3 it comes to 5 and 18 operations.
"""

from collections.abc import Callable, Iterator
from functools import cache, reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Node(NamedTuple):
    """What one operation makes.

    ``row``: the pixels ``by`` rows below;  ``shift``: those of ``first``, ``by`` columns to the right;  ``min``,
    ``max``: of ``first`` and ``second``.
    """

    made: Literal["row", "shift", "min", "max"]
    by: int = 0
    first: int = -1
    second: int = -1


class Network:
    """The operations so far; equal ones are one."""

    def __init__(self) -> None:
        self.nodes: dict[Node, int] = {}

    def add(self, node: Node) -> int:
        """The number of this operation."""
        return self.nodes.setdefault(node, len(self.nodes))

    def sorted(self, values: list[int]) -> list[int]:
        """The same values in ascending order."""
        values = list(values)
        for i, j in _exchanges(len(values)):
            low, high = (self.add(Node(made, 0, values[i], values[j])) for made in ("min", "max"))
            values[i], values[j] = low, high
        return values

    def ranked(self, values: list[int]) -> list[int]:
        """The same, in fewer operations where only the first or the last is needed."""
        values = list(values)
        least, most = (reduce(lambda a, b: self.add(Node(made, 0, a, b)), values) for made in ("min", "max"))
        return [least, *self.sorted(values)[1:-1], most] if len(values) > 1 else values


class Step(NamedTuple):
    """A node, its number, and the numbers of those that nothing needs after it."""

    number: int
    node: Node
    spent: tuple[int, ...]


@cache
def plan(height: int, width: int, rank: int) -> list[Step]:
    """The operations for the value of this rank, from 0, in windows of (height, width), without one too many."""
    return min((_planned(height, width, rank, order) for order in (Network.sorted, Network.ranked)), key=len)


def _planned(height: int, width: int, rank: int, order: Callable[[Network, list[int]], list[int]]) -> list[Step]:
    network, size = Network(), height * width
    columns = network.sorted([network.add(Node("row", i)) for i in range(height)])
    rows = [order(network, [network.add(Node("shift", j, column)) for j in range(width)]) for column in columns]
    places = [(i, j) for i in range(height) for j in range(width)]
    low = {(i, j) for i, j in places if (height - i) * (width - j) > size - rank}
    high = {(i, j) for i, j in places if (i + 1) * (j + 1) > rank + 1}
    left = network.sorted([rows[i][j] for i, j in places if (i, j) not in low | high])
    return _needed(list(network.nodes), left[rank - len(low)])


def _needed(nodes: list[Node], answer: int) -> list[Step]:
    wanted, steps = {answer}, []
    for number in range(answer, -1, -1):
        if number in wanted:
            uses = {use for use in nodes[number][2:] if use >= 0}
            steps.append(Step(number, nodes[number], tuple(uses - wanted)))
            wanted |= uses
    return steps[::-1]


def _exchanges(n: int) -> Iterator[tuple[int, int]]:
    """Pairs to put in order, one after the other, to sort n values: Batcher's merge exchange (Knuth 5.2.2, M)."""
    top = 1 << max(n - 1, 0).bit_length() >> 1
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            yield from ((i, i + d) for i in range(n - d) if i & p == r)
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1


def select(padded: Tensor, height: int, width: int, rank: int) -> Tensor:
    """The value of this rank in each window (height, width) that lies within ``padded`` (n, c, h, w).

    All is done on the pixels in one long row, where a window's pixels are slices of it: those across the end of a line
    or an image are computed for nothing, and left out at the end.
    """
    n, c, high, wide = padded.shape
    flat = padded.reshape(-1)
    lines = flat.numel() - (height - 1) * wide
    values: dict[int, Tensor] = {}
    for number, node, spent in plan(height, width, rank):
        if node.made == "row":
            value = flat[node.by * wide : node.by * wide + lines]
        elif node.made == "shift":
            value = values[node.first][node.by : node.by + lines - width + 1]
        else:
            operation = torch.minimum if node.made == "min" else torch.maximum
            value = operation(values[node.first], values[node.second])
        values[number] = value
        for old in spent:
            del values[old]
    shape = (n, c, high - height + 1, wide - width + 1)
    return values[number].as_strided(shape, (c * high * wide, high * wide, wide, 1))
