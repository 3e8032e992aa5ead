"""The Jacobian-based saliency map attack, and its variants without a target."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Mask
from saddlepoint.attacks._minimal import check_ball
from saddlepoint.attacks._pairs import Pair, best_pair, best_two
from saddlepoint.balls import L0, Ball
from saddlepoint.errors import SettingError
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Changing:
    """A point x (n, *f), and the rows (n,) for which no pair is left."""

    x: Batch
    done: Mask


class Choice(NamedTuple):
    """The features to move, and which way, 1 or -1: (n,) each."""

    pair: Pair
    way: Tensor


@final
@dataclass(frozen=True, kw_only=True)
class JSMA(IterativeAttack[Changing]):
    """Moves two features a step: those that raise the target, and lower all other classes, most.

    With A = dG_t / dx and B = sum_{j != t} dG_j / dx, the pair p, q with the largest -(A_p + A_q)(B_p + B_q) among
    those with A_p + A_q > 0 > B_p + B_q moves by theta; for theta < 0 both signs turn. A row ends when it is fooled,
    or when no such pair is left. Without a target, the pair that lowers the label moves (NT-JSMA).
    Cost: 1 forward and 2 backwards a step, one backward with ``softmax``, one per class with ``maximal``.

    Args:
        ball: L0; every channel of a pixel is a feature.
        theta: how far a feature moves, as a share of the width, in [-1, 1] and not 0; up if positive, down if negative.
        gamma: Upsilon, the largest share of features that change: gamma d / 2 steps, rounded down.
        softmax: G is the softmax (JSMA-F), not the logits (JSMA-Z). There B = -A, so the best pair is the two largest
            A; their order is that of the slopes of the log-odds of the class, which do not saturate.
        maximal: without a target, M-JSMA: each step takes the best pair of all classes and both ways; a feature never
            turns back.
        pairs: False moves a single feature, that of the largest A_i |B_i|; then gamma d steps.
        room: least share of the width that a feature must have left to move.

    Source:  Papernot et al. 2016, arXiv:1511.07528, Algorithms 2 and 3, Eqs. (8), (9); NT-JSMA and M-JSMA: Wiyatno & Xu
        2018, arXiv:1808.07945.
    Departs:  features with less than ``room`` left rest, not only those at the bound; a row without a valid pair stops
        as held; in M-JSMA a feature that would turn back rests, where the paper lets it turn once and then drops it.
    """

    ball: Ball = L0(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    theta: float = 1.0
    gamma: float = 0.145
    softmax: bool = False
    maximal: bool = False
    pairs: bool = True
    room: float = 0.01
    name: ClassVar[str] = "jsma"
    needs_gradient: ClassVar[bool] = False
    needs_graph: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ball(self.ball, L0)
        if not 0 < abs(self.theta) <= 1:
            raise SettingError(f"theta={self.theta!r} must lie in [-1, 1] and not be 0: a share of the width, 1 is all")
        if not 0 <= self.gamma <= 1:
            raise SettingError(f"gamma={self.gamma!r} must lie in [0, 1]: a share of the features, 0.145 in the paper")
        if not 0 < self.room <= 1:
            raise SettingError(f"room={self.room!r} must lie in (0, 1]: a share of the width, 0.01 by default")

    def length(self, problem: Problem) -> int:
        features = math.prod(problem.x0.shape[1:])
        return math.floor(self.gamma * features / (2 if self.pairs else 1) + 1e-9)

    def init(self, problem: Problem) -> Changing:
        return Changing(problem.x0, torch.zeros(len(problem.x0), dtype=torch.bool, device=problem.x0.device))

    def step(self, problem: Problem, state: Changing, seen: Seen, t: int) -> Changing:
        x, bounds = state.x, problem.bounds
        choose = self._maximal if self.maximal and problem.aim is None else self._one_class
        (first, second, score), way = choose(problem, seen, *self._free(problem, x))
        size = (way * abs(self.theta) * bounds.width).to(x)[:, None].expand(-1, 2)
        move = torch.zeros_like(x.flatten(1)).scatter_(1, torch.stack([first, second], 1), size)
        moved = (x + move.view(x.shape)).clamp_(bounds.lower, bounds.upper)
        distance = problem.ball.distance(moved, problem.x0)
        done = state.done | seen.success | (score == -torch.inf) | (distance > problem.ball.radius(distance))
        return Changing(torch.where(done.view(-1, *[1] * (x.dim() - 1)), x, moved), done)

    def _free(self, problem: Problem, x: Batch) -> tuple[Tensor, Tensor]:
        """Masks (n, d) of the features that can still go up, and down; what has moved one way cannot go the other."""
        flat, start, bounds = x.flatten(1), problem.x0.flatten(1), problem.bounds
        least = self.room * bounds.width
        return (bounds.upper - flat >= least) & (flat >= start), (flat - bounds.lower >= least) & (flat <= start)

    def _one_class(self, problem: Problem, seen: Seen, up: Tensor, down: Tensor) -> Choice:
        """The pair for the target, or against the label, all in the way that theta says."""
        goal, way = problem.y if problem.aim is None else problem.aim, math.copysign(1.0, self.theta)
        sign = way if problem.aim is not None else -way
        own = torch.nn.functional.one_hot(goal, seen.logits.shape[1]).to(seen.logits)
        if self.softmax:
            raised = lowered = sign * _scaled(problem.gradients(seen, _log_odds(own, seen.logits)[None]))[0]
        else:
            grads = _scaled(problem.gradients(seen, torch.stack([own, 1 - own])))
            raised, lowered = sign * grads[0], -sign * grads[1]
        pair = self._best(raised, lowered, up if way > 0 else down)
        return Choice(pair, torch.full_like(pair.score, way))

    def _maximal(self, problem: Problem, seen: Seen, up: Tensor, down: Tensor) -> Choice:
        """The best pair of any class k: up or down in z_k, the opposite for the label."""
        logits = seen.logits
        n, k = logits.shape
        own = torch.eye(k).to(logits)[:, None].expand(k, n, k)
        grads = _scaled(problem.gradients(seen, _log_odds(own, logits) if self.softmax else own))
        total, weight = grads.sum(0), logits.log_softmax(1)
        if self.softmax:  # dF_k = F_k (1 - F_k) times the gradient of the log-odds
            weight = weight + _without(logits, own).logsumexp(-1).T - logits.logsumexp(1, keepdim=True)
        none, ways = torch.zeros_like(problem.y), torch.ones_like(logits[:, 0])
        best = Pair(none, none, torch.full_like(ways, -torch.inf))
        for label in range(k):
            for sign in (1.0, -1.0):
                way = torch.where(problem.y == label, -sign, sign)
                raised = sign * grads[label]
                lowered = raised if self.softmax else -sign * (total - grads[label])
                pair = self._best(raised, lowered, torch.where(way[:, None] > 0, up, down))
                if self.softmax:
                    pair = pair._replace(score=pair.score + weight[:, label])
                better = pair.score > best.score
                best = Pair(*(torch.where(better, new, old) for new, old in zip(pair, best, strict=True)))
                ways = torch.where(better, way, ways)
        return Choice(best, ways)

    def _best(self, raised: Tensor, lowered: Tensor, free: Tensor) -> Pair:
        """The best pair (or feature, twice) of the slopes (n, d) among those that are free."""
        a, b = raised.masked_fill(~free, -torch.inf), lowered.masked_fill(~free, -torch.inf)
        if self.pairs:
            return best_two(a) if self.softmax else best_pair(a, b)
        score, place = torch.where((a > 0) & (b > 0), a if self.softmax else a * b, -torch.inf).max(1)
        return Pair(place, place, score.clamp_min(0).log() if self.softmax else score)


def _without(logits: Tensor, own: Tensor) -> Tensor:
    """The logits (..., n, k), -inf for the class that ``own`` marks."""
    return logits.expand_as(own).masked_fill(own > 0, -torch.inf)


def _log_odds(own: Tensor, logits: Tensor) -> Tensor:
    """Weights (..., n, k) of the logits in the gradient of log(F_k / (1 - F_k)), k the class that ``own`` marks."""
    return own - _without(logits, own).softmax(-1)


def _scaled(grads: Tensor) -> Tensor:
    """Slopes (m, n, d) of moderate size: each row is divided by one power of two, which leaves order and ties."""
    flat = grads.flatten(2)
    exponent = torch.frexp(flat.abs().amax((0, 2))).exponent.clamp(-100, 100)
    return torch.ldexp(flat, -exponent[:, None])
