"""What attacks that only ask share: how much a row may still ask, how much fits into a pass, and slopes from pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Mask, PerRow, is_number
from saddlepoint.attacks._minimal import column
from saddlepoint.errors import SettingError, shown
from saddlepoint.noise import Noise
from saddlepoint.problem import Problem

_TOGETHER = 512
"""Points of one forward pass, at least, where memory allows; a batch of more rows is one pass, too."""
_NUMBERS = 2**22
"""Of all points of one forward pass together, unless a batch of the caller's has more."""
_NUDGE = 1e-6
"""The slope along a direction of which nothing is known."""

Draw = Callable[[Noise, Batch, Tensor], Batch]
"""(noise, like (m, *f), draw numbers (m,)) -> directions (m, *f) of mean 0 and variance 1."""


def left(problem: Problem) -> PerRow:
    """Points that each row may still ask about, (n,)."""
    rest = (problem.limits.forwards - problem.record.passes) / problem.model.draws
    each = torch.as_tensor(rest, dtype=problem.x0.dtype, device=problem.x0.device)
    return each.floor().expand(len(problem.x0))


def at_once(rows: int, features: int) -> int:
    """How many points of each of so many rows go into one forward pass; at least one."""
    return max(rows, min(_TOGETHER, _NUMBERS // features)) // rows


def drawn_for(problem: Problem, name: str, rows: Labels) -> Noise:
    """The stream of that name for these rows of the batch, of which some may come more than once."""
    assert problem.noise.rows is not None
    return problem.noise.child(name).at(problem.noise.rows[rows])


def check_pairs(samples: int) -> None:
    """Refuse a number of points that are no pairs."""
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2 or samples % 2:
        raise SettingError(
            f"samples={shown(samples)} must be an even integer >= 2: points come in pairs, x + u and x - u"
        )


def check_reach(reach: float | None, name: str) -> None:
    """Refuse a distance at which no two points can be told apart."""
    if reach is not None and not (is_number(reach) and 0 < reach < float("inf")):
        raise SettingError(f"{name}={shown(reach)} must be finite and > 0, in input units")


def slopes(problem: Problem, x: Batch, reach: float, samples: int, draw: Draw, t: int) -> tuple[Batch, Mask]:
    """Gradients of the loss at x (n, *f), from ``samples`` losses of each row; and the rows that can afford none.

    mean over pairs of  (J(x + r u) - J(x - r u)) / 2r  u,  u drawn by ``draw``; the points are clipped to the box.
    A row whose budget would not last asks about fewer pairs, so that one pass is left for the point it moves to.
    A pair of which a loss is not finite counts as a tiny rise: a row that is told nothing else moves, and is then
    looked at where it may be undefined.

    Args:  reach: r, input units;  t: the step, which tells its draws from those of the others.
    """
    count = ((left(problem) - 1) / 2).floor().clamp_max(samples // 2)
    spent = count < 1
    rows = (~spent & ~problem.record.settled).nonzero().squeeze(1)
    total = torch.zeros_like(x)
    if not len(rows):
        return total, spent
    m, shape, here, pairs = len(rows), x.shape[1:], x[rows], count[rows]
    several = max(1, at_once(m, x[:1].numel()) // 2)
    found = torch.zeros_like(here)
    for first in range(0, int(pairs.max()), several):
        owner = rows.repeat(several)
        number = torch.arange(first, first + several, device=x.device).repeat_interleave(m)
        wanted = (number < pairs.repeat(several)).nonzero().squeeze(1)
        owner, number = owner[wanted], number[wanted]
        u = draw(drawn_for(problem, f"pairs {t}", owner), x[owner], number)
        points = torch.cat([x[owner] + reach * u, x[owner] - reach * u])
        points = points.clamp_(problem.bounds.lower, problem.bounds.upper)
        up, down = _losses(problem, points, owner.repeat(2)).chunk(2)
        rise = ((up - down) / (2 * reach)).nan_to_num(_NUDGE, _NUDGE, _NUDGE).to(x)
        parts = x.new_zeros(several * m, *shape).index_copy_(0, wanted, u.mul_(column(rise, u)))
        for part in parts.view(several, m, *shape):  # one by one: a sum's rounding must not depend on who is there
            found += part
    return total.index_copy_(0, rows, found / column(pairs, found)), spent


def _losses(problem: Problem, points: Batch, owner: Labels) -> Tensor:
    """(m,) in double precision: in single precision the cross-entropy of a sure model is 0, and says nothing."""
    logits = problem.ask(points, owner).logits.double()
    return problem.loss(logits, problem.y[owner], None if problem.aim is None else problem.aim[owner])
