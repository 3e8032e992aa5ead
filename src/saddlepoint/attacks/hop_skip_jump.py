"""HopSkipJump: the nearest point of another class, from decisions alone."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Mask, PerRow, is_dense, is_number
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import check_ball, column
from saddlepoint.attacks._queries import at_once, drawn_for, left
from saddlepoint.balls import L2, Ball, Linf
from saddlepoint.balls.ball import flat_norm
from saddlepoint.errors import InputError, SettingError, shown
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_HALVINGS = 25
"""Of a step, before the row stays where it is."""
_FEW = 10
"""Directions; a row that can afford no more has nothing left to find."""


@final
@dataclass(frozen=True)
class Edge:
    """A fooling point at the decision boundary, and x, the same in ball and box (n, *f); ``start`` until it is used.

    ``way`` (n, *f): the direction of the last move;  ``far`` (n,): the distance from which the boundary was last
    searched;  ``found`` (n,): rows that have such a point;  ``done`` (n,): rows that get no further.
    """

    x: Batch
    edge: Batch
    start: Batch | None
    way: Batch
    far: PerRow
    found: Mask
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class HopSkipJump(IterativeAttack[Edge]):
    """Along the boundary to the nearest point of another class, by the model's decisions alone.

    From a random image of another class, halve the way back to x0 until the boundary is met. Then, in step t: ask about
    B = min(100 sqrt(t), 10,000) random directions u_b at a small distance; v = sum_b (phi_b - mean phi) u_b, phi = 1
    where the point fools, else -1; move by |x - x0| / sqrt(t) along v / |v|_2 (Linf: sign(v)), halved until the point
    fools; and back to the boundary.

    Args:
        ball: L2 or Linf, the norm to minimise; a finite eps bounds what counts as found.
        steps: number of moves, t.
        directions, most_directions: B of the first step, and the largest one.
        gamma: tolerance of the way back, gamma / d^1.5 of its length in L2, gamma / d^2 in Linf; larger is coarser.
        memory: share of the last move's direction that is added to v; 0 is the paper's.
        tries: random images that a row may ask about before it gives up.
        start: (n, *f) points that fool, one for each row of the batch, in place of random images; a row whose point
            does not fool goes on with random images. Targeted, a random image seldom is of the target class.

    A row without any point that fools is held.

    Source:  Chen, Jordan & Wainwright 2020, arXiv:1904.02144, Algorithms 1 and 2, with the constants of the authors'
        code.
    Departs:  the direction of the last move has a part in the next, since the boundary has turned little between them;
        a step that would take a row past its budget asks about fewer directions; they are never shorter than the
        rounding of the point allows; after 25 halvings of a move a row stays where it is.
    """

    ball: Ball = L2(math.inf)
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 64
    directions: int = 100
    most_directions: int = 10_000
    gamma: float = 1.0
    memory: float = 0.5
    tries: int = 1000
    start: Tensor | None = field(default=None, compare=False, repr=False)
    name: ClassVar[str] = "hop-skip-jump"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ball(self.ball, L2, Linf)
        check_steps(self.steps)
        for name in ("directions", "most_directions", "tries"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name}={shown(value)} must be an integer >= 1")
        if not is_number(self.gamma) or not 0 < self.gamma < math.inf:
            raise SettingError(f"gamma={shown(self.gamma)} must be finite and > 0")
        if not is_number(self.memory) or not 0 <= self.memory <= 1:
            raise SettingError(f"memory={shown(self.memory)} must lie in [0, 1]")

    def length(self, problem: Problem) -> int:
        return self.steps + 1

    def init(self, problem: Problem) -> Edge:
        x0, start = problem.x0, self.start
        if start is not None:
            if not is_dense(start) or start.shape != x0.shape or not start.is_floating_point():
                kind = tuple(start.shape) if isinstance(start, Tensor) else type(start).__name__
                raise InputError(f"start is {kind}; it must be a float tensor like x, {tuple(x0.shape)}")
            start = start.detach().to(x0).clamp(problem.bounds.lower, problem.bounds.upper)
        none = x0.new_zeros(len(x0))
        return Edge(x0, x0, start, torch.zeros_like(x0), none, none > 0, none > 0)

    def step(self, problem: Problem, state: Edge, seen: Seen, t: int) -> Edge:
        if t == 0:
            return self._begun(problem, state, seen)
        count = left(problem) - (self._halvings(problem) + 5)
        count = count.clamp_max(min(int(self.directions * math.sqrt(t)), self.most_directions))
        done = ~state.found | state.done | (count < min(_FEW, self.directions))
        rows = (~done & ~problem.record.settled).nonzero().squeeze(1)
        if not len(rows):
            return replace(state, done=done)
        edge, distance = state.edge[rows], problem.ball.distance(state.edge, problem.x0)[rows]
        estimate = self._estimate(problem, edge, rows, self._reach(problem, state.far[rows], t), count[rows], t)
        way = _unit(estimate + self.memory * state.way[rows])
        direction = way if isinstance(self.ball, L2) else way.sign()
        moved, landed = self._moved(problem, edge, rows, direction, distance / math.sqrt(t))
        far = state.far.index_copy(0, rows[landed], problem.ball.distance(moved, problem.x0[rows])[landed])
        back = self._back(problem, moved[landed], rows[landed])
        edge = state.edge.index_copy(0, rows[landed], back)
        return Edge(problem.project(edge), edge, None, state.way.index_copy(0, rows, way), far, state.found, done)

    def _begun(self, problem: Problem, state: Edge, seen: Seen) -> Edge:
        """The first point at the boundary; a row that finds none shows its last try, and is done."""
        x, found = problem.x0.clone(), seen.success.clone()
        for i in range(-(state.start is not None), self.tries):
            rows = (~found & ~problem.record.settled & (left(problem) > 1)).nonzero().squeeze(1)
            if not len(rows):
                break
            if state.start is not None and i < 0:
                tried = state.start[rows]
            else:
                noise = drawn_for(problem, "start", rows).uniform(x[rows], i)
                tried = (problem.bounds.lower + problem.bounds.width * noise).clamp_max_(problem.bounds.upper)
            x = x.index_copy(0, rows, tried)
            found = found.index_copy(0, rows, problem.ask(tried, rows).success)
        rows = (found & ~seen.success).nonzero().squeeze(1)
        far = problem.ball.distance(x, problem.x0)
        edge = x.index_copy(0, rows, self._back(problem, x[rows], rows))
        return Edge(problem.project(edge), edge, None, state.way, far, found, seen.success)

    def _reach(self, problem: Problem, far: PerRow, t: int) -> PerRow:
        """How far off the boundary the directions are tried."""
        if t == 1:
            return torch.full_like(far, 0.1 * problem.bounds.width)
        d = problem.x0[:1].numel()
        least = 8 * torch.finfo(far.dtype).eps * problem.bounds.width * math.sqrt(d)
        return (self.gamma / d * far).clamp_min(least)

    def _estimate(  # one estimate
        self, problem: Problem, edge: Batch, rows: Labels, reach: PerRow, count: PerRow, t: int
    ) -> Batch:  # fmt: skip
        """The direction in which each row fools more, from ``count`` decisions; as many at once as memory allows."""
        m, shape, d = len(rows), edge.shape[1:], edge[:1].numel()
        together = at_once(m, d)
        plain, signed, balance = torch.zeros_like(edge), torch.zeros_like(edge), torch.zeros_like(reach)
        for first in range(0, int(count.max()), together):
            draws = torch.arange(first, first + together, device=rows.device)
            here, several = edge.repeat(together, *[1] * len(shape)), rows.repeat(together)
            noise, number = drawn_for(problem, f"directions {t}", several), draws.repeat_interleave(m)
            u = noise.normal(here, number) if isinstance(self.ball, L2) else noise.uniform(here, number) * 2 - 1
            length = column(reach.repeat(together), u)
            point = (here + _unit(u).mul_(length)).clamp_(problem.bounds.lower, problem.bounds.upper)
            u = (point - here).div_(length)
            wanted = (number < count.repeat(together)).nonzero().squeeze(1)
            hit = problem.ask(point[wanted], several[wanted]).success
            phi = reach.new_zeros(len(number)).index_copy_(0, wanted, torch.where(hit, 1, -1).to(reach.dtype))
            plain += (u * column(phi.abs(), u)).view(together, *edge.shape).sum(0)
            signed += (u * column(phi, u)).view(together, *edge.shape).sum(0)
            balance += phi.view(together, m).sum(0)
        mean = balance / count
        v = signed - column(torch.where(mean.abs() < 1, mean, 0), plain) * plain
        return _unit(v)

    def _moved(self, problem: Problem, edge: Batch, rows: Labels, way: Batch, size: PerRow) -> tuple[Batch, Mask]:
        """The first point that fools of edge + size way, edge + size / 2 way ...; and which rows have found it."""
        x, landed = edge, torch.zeros_like(size, dtype=torch.bool)
        for _ in range(_HALVINGS):
            open_ = (~landed).nonzero().squeeze(1)
            if not len(open_):
                break
            tried = (edge[open_] + way[open_] * column(size[open_], edge)).clamp_(
                problem.bounds.lower, problem.bounds.upper
            )
            hit = problem.ask(tried, rows[open_]).success
            x, landed, size = x.index_copy(0, open_[hit], tried[hit]), landed.index_copy(0, open_, hit), size / 2
        return x, landed

    def _back(self, problem: Problem, x: Batch, rows: Labels) -> Batch:
        """From points that fool towards x0, by halving the interval in which the boundary is."""
        low, high = x.new_zeros(len(x)), x.new_ones(len(x))
        for _ in range(self._halvings(problem) if len(x) else 0):
            middle, hit = (low + high) / 2, torch.zeros_like(low, dtype=torch.bool)
            able = (left(problem)[rows] > 1).nonzero().squeeze(1)  # the last pass is for what the halving has found
            if not len(able):
                break
            asked = self._between(problem.x0[rows[able]], x[able], middle[able])
            hit = hit.index_copy(0, able, problem.ask(asked, rows[able]).success)
            low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
        return self._between(problem.x0[rows], x, high)

    def _between(self, x0: Batch, x: Batch, share: PerRow) -> Batch:
        """L2: this share of the way from x0 to x; Linf: x, clipped to this share of its distance."""
        if isinstance(self.ball, L2):
            return torch.lerp(x0, x, column(share, x))
        radius = column(share * (x - x0).flatten(1).abs().amax(1), x)
        return torch.where(column(share == 1, x), x, x0 + (x - x0).clamp(-radius, radius))

    def _halvings(self, problem: Problem) -> int:
        """Enough for the tolerance, and no more than the precision of the points can tell apart."""
        d, power = problem.x0[:1].numel(), 1.5 if isinstance(self.ball, L2) else 2
        wanted = math.ceil(power * math.log2(d) - math.log2(self.gamma) - 1e-9)
        return min(max(1, wanted), round(-math.log2(torch.finfo(problem.x0.dtype).eps)))


def _unit(v: Batch) -> Batch:
    norm = flat_norm(v)
    return v / torch.where(norm > 0, norm, 1)
