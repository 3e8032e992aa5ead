"""The best pair of features of a saliency map: exact, in O(d log d), without the table of all pairs."""

from typing import NamedTuple

import torch
from torch import Tensor

_CELLS = 2**20  # of the table of pairs that are held at once


class Pair(NamedTuple):
    """Two features of each row, first < second, and their score, all (n,); a score of -inf: there is no such pair."""

    first: Tensor
    second: Tensor
    score: Tensor


def best_pair(a: Tensor, b: Tensor) -> Pair:
    """The p < q with the largest (a_p + a_q)(b_p + b_q) among those with both sums positive; the first of equal ones.

    A feature that two others beat is in no best pair: put one of them, not its partner, in its place. What is left
    are the Pareto front and, since a feature may be beaten by its own partner, the front without the first one.
    Memory O(n d) as long as the fronts are short, and the table of their pairs is gone through in pieces.

    Args:  a, b: (n, d), n and d >= 1, finite, or -inf in both for a feature that is left out.
    Source:  the map of Papernot et al. 2016, arXiv:1511.07528, Algorithm 3, which goes through all d^2 / 2 pairs.

    >>> best_pair(torch.tensor([[1.0, 2.0, -1.0]]), torch.tensor([[3.0, -1.0, 9.0]]))[:2]
    (tensor([1]), tensor([2]))
    """
    near = _packed(_unbeaten(a, b))
    a, b = _taken(a, near), _taken(b, near)
    front = _packed(_fronts(a, b))
    found = _first_best(_taken(a, front), _taken(b, front))
    first, second = (_taken(near, _taken(front, place[:, None])).squeeze(1) for place in found[:2])
    return Pair(first, second, found.score)


def best_two(a: Tensor) -> Pair:
    """The pair of the largest sum, where it is positive: what :func:`best_pair` finds for b = a; score log of the sum.

    Args:  a: (n, d), d >= 2, finite, or -inf for a feature that is left out.
    """
    (top, first), rows = a.max(1), a.new_full((len(a), 1), -torch.inf)
    next_top, second = a.scatter(1, first[:, None], rows).max(1)
    total = top + next_top
    return Pair(torch.minimum(first, second), torch.maximum(first, second), total.clamp_min(0).log())


def _unbeaten(a: Tensor, b: Tensor) -> Tensor:
    """Mask (n, d) of the features that are not both strictly below two strong ones; cheap, and leaves few to sort."""
    tiny = torch.finfo(a.dtype).tiny
    balance = torch.minimum(a / a.amax(1, keepdim=True).clamp_min(tiny), b / b.amax(1, keepdim=True).clamp_min(tiny))
    strong = balance.argmax(1, keepdim=True)
    other = balance.scatter(1, strong, -torch.inf).argmax(1, keepdim=True)
    low_a, low_b = (torch.minimum(v.gather(1, strong), v.gather(1, other)) for v in (a, b))
    return ((a >= low_a) | (b >= low_b)) & (a > -torch.inf)


def _fronts(a: Tensor, b: Tensor) -> Tensor:
    """Mask (n, d) of the first two Pareto fronts; of equal features the first is in one, the second in the next."""
    order = b.argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, a.gather(1, order).argsort(dim=1, descending=True, stable=True))
    sorted_b = b.gather(1, order)
    one = sorted_b > _highest_before(sorted_b)
    two = ~one & (sorted_b > _highest_before(sorted_b.masked_fill(one, -torch.inf)))
    return torch.zeros_like(one).scatter_(1, order, one | two)


def _highest_before(values: Tensor) -> Tensor:
    """The largest entry left of each one (n, d), -inf for the first."""
    running = values.cummax(1).values[:, :-1]
    return torch.cat([torch.full_like(values[:, :1], -torch.inf), running], 1)


def _first_best(a: Tensor, b: Tensor) -> Pair:
    """The best pair of few features (n, m), m >= 2, by trying all of them."""
    n, m = a.shape
    score = a.new_full((n,), -torch.inf)
    first = second = torch.zeros(n, dtype=torch.int64, device=a.device)
    height, rank = max(1, _CELLS // (n * m)), torch.arange(m, device=a.device)
    for start in range(0, m - 1, height):
        stop = min(start + height, m - 1)
        alpha = a[:, start:stop, None] + a[:, None, start + 1 :]
        beta = b[:, start:stop, None] + b[:, None, start + 1 :]
        valid = (alpha > 0) & (beta > 0) & (rank[start + 1 :] > rank[start:stop, None])
        best, place = torch.where(valid, alpha.mul_(beta), -torch.inf).flatten(1).max(1)
        better = best > score
        score = torch.where(better, best, score)
        first = torch.where(better, start + place // (m - start - 1), first)
        second = torch.where(better, start + 1 + place % (m - start - 1), second)
    return Pair(first, second, score)


def _packed(mask: Tensor) -> Tensor:
    """The columns (n, m) where each row of the mask (n, d) is set, ascending, then -1; m >= 2 fits the longest row.

    The one place that asks the device: how many features are left decides the size of what follows.
    """
    row, column = mask.nonzero(as_tuple=True)
    place = mask.cumsum(1)
    columns = column.new_full((len(mask), max(2, int(place[:, -1].amax()))), -1)
    columns[row, place[row, column] - 1] = column
    return columns


def _taken(values: Tensor, columns: Tensor) -> Tensor:
    """The values (n, m) at these columns, the least value of the type where a column is -1."""
    least = -torch.inf if values.is_floating_point() else 0
    return values.gather(1, columns.clamp_min(0)).masked_fill(columns < 0, least)
