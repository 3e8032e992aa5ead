"""The box-constrained L-BFGS attack."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint._typing import Batch, Labels, Logits, Mask, PerRow
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import check_ball
from saddlepoint.attacks._quasi_newton import Memory
from saddlepoint.balls import L2, Ball
from saddlepoint.errors import SettingError
from saddlepoint.losses import Loss, classwise, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_LARGEST = 1e9
"""No constant grows beyond it: a model that answers the same everywhere would make it grow for ever."""
_ARMIJO, _HALVINGS = 1e-4, 20


@classwise
def escape(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """Log-probability of what the attacker wants: any class but y, or the aim.

    Away from y: log(1 - softmax(z)_y).  Towards an aim t: log softmax(z)_t.

    Args:  logits (n, k), any real scale, k >= 2;  y, aim (n,) class indices.
    Returns:  (n,), in nats, at most 0: unlike -log softmax(z)_y it is bounded, and with two classes both forms agree.

    >>> escape(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([-0.6931])
    """
    if aim is not None:
        return -functional.cross_entropy(logits, aim, reduction="none")
    own = logits.gather(1, y[:, None]).squeeze(1)
    other = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
    return -functional.softplus(own - other)


@final
@dataclass(frozen=True)
class Descent:
    """One minimisation and one search a row; d features, everything has n rows.

    Attributes:
        x: (n, *f) the point of the line search that is looked at next;  halvings: of its step so far;
            fall: the decrease it is asked for.
        point, grad: (n, d) the last accepted point and the gradient there;  value: of the objective;  margin: beyond
            the boundary and the confidence.
        memory: of this minimisation;  looks: that it took.
        clean_loss, clean_grad: (n,), (n, d) loss and gradient at the input, from which each minimisation starts.
        const, low, high: its constant, and the largest that did not and the least that did suffice;  short, beyond: the
            margins of their minimisers;  round: number of minimisations that have ended;  done: rows whose search has.
    """

    x: Batch
    halvings: Tensor
    fall: PerRow
    point: Tensor
    grad: Tensor
    value: PerRow
    margin: PerRow
    memory: Memory
    looks: Tensor
    clean_loss: PerRow
    clean_grad: Tensor
    const: PerRow
    low: PerRow
    high: PerRow
    short: PerRow
    beyond: PerRow
    round: Tensor
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class LBFGS(IterativeAttack[Descent]):
    """Minimise |x - x0|_2^2 - const loss(x) over the box, and search the least const whose minimiser fools.

    Every minimisation starts at x0. Every look is one trial point of the line search of every row: a row that
    converges moves its own constant and starts anew, and none waits for another.

    Args:
        ball: L2; the search is over the box, and of a finite eps only says which points count.
        loss: what is weighed against the distance, by default the log-probability of the target, or of any wrong class.
        steps: looks that one minimisation may take.
        search_steps: number of minimisations; 1 solves for ``const`` alone.
        const: the first constant, > 0, for a box of width 1; it scales with the square of the width. Times 10 until it
            suffices; then where the margin, interpolated over log const within the bracket, is 0.
        memory: pairs of step and change of gradient that the quasi-Newton matrix is made of.
        ftol, gtol: a minimisation has converged once the objective falls by no more than this share (and never less
            than rounding), or the projected gradient has no larger entry than this share of the width.

    Source:  Szegedy et al. 2014, arXiv:1312.6199, section 4.1, in the form of all implementations: the squared
        distance, and the weight on the loss. The minimiser is a projected two-metric method, Bertsekas 1982.
    Departs:  returns the nearest fooling point of all that were looked at; searches the logarithm of the constant; also
        untargeted.
    """

    ball: Ball = L2(math.inf)
    loss: Loss = escape
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 100
    search_steps: int = 9
    const: float = 1e-2
    memory: int = 10
    ftol: float = 2.2e-9
    gtol: float = 1e-5
    name: ClassVar[str] = "l-bfgs"

    def __post_init__(self) -> None:
        check_ball(self.ball, L2)
        check_steps(self.steps, least=1)
        if not (0 < self.const <= _LARGEST):
            raise SettingError(
                f"const={self.const!r} must lie in (0, {_LARGEST:g}]; it is only where the search starts"
            )
        if self.search_steps < 1 or self.memory < 1:
            raise SettingError(f"search_steps={self.search_steps} and memory={self.memory} must be >= 1")
        if not (0 <= self.ftol < 1 and 0 <= self.gtol < 1):
            raise SettingError(f"ftol={self.ftol} and gtol={self.gtol} must lie in [0, 1)")

    def length(self, problem: Problem) -> int:
        return 1 + self.search_steps * self.steps

    def init(self, problem: Problem) -> Descent:
        point = problem.x0.flatten(1)
        zero, never = point.new_zeros(len(point)), torch.zeros(len(point), dtype=torch.bool, device=point.device)
        const, count = torch.full_like(zero, self.const * problem.bounds.width**2), never.long()
        return Descent(
            problem.x0, count, zero, point, point, zero, zero, Memory.empty(point, self.memory), count,
            zero, point, const, zero, torch.full_like(zero, math.inf), zero, zero, count, never,
        )  # fmt: skip

    def step(self, problem: Problem, state: Descent, seen: Seen, t: int) -> Descent:
        if t == 0:
            grad = -seen.grad.flatten(1)
            state = replace(state, clean_loss=-seen.loss, clean_grad=grad, done=(grad == 0).all(1))
            return self._proposed(problem, _started(problem, state, torch.ones_like(state.done)))
        judged, over = self._judged(problem, state, seen)
        return self._proposed(problem, _started(problem, self._searched(problem, judged, over), over))

    def _judged(self, problem: Problem, state: Descent, seen: Seen) -> tuple[Descent, Mask]:
        """Accept or halve the step of each row, and say whose minimisation is over (n,)."""
        delta, const = (state.x - problem.x0).flatten(1), state.const
        value = delta.square().sum(1) - const * seen.loss
        grad = 2 * delta - const[:, None] * seen.grad.flatten(1)
        size, rounding = torch.maximum(value.abs(), state.value.abs()), torch.finfo(value.dtype).eps
        good = value <= state.value + state.fall + 4 * rounding * size
        still = state.value - value <= max(self.ftol, 8 * rounding) * size
        step, change = state.x.flatten(1) - state.point, grad - state.grad
        gap = margin(seen.logits, problem.y, problem.target) - self.confidence
        lost = ~good & (state.halvings >= _HALVINGS)
        looks, wide = state.looks + 1, good[:, None]
        point, grad = torch.where(wide, state.x.flatten(1), state.point), torch.where(wide, grad, state.grad)
        flat = _slope(problem, point, grad).abs().amax(1) <= self.gtol * problem.bounds.width
        over = (good & (still | flat)) | (lost & (state.memory.used == 0)) | (looks >= self.steps)
        judged = replace(
            state,
            halvings=torch.where(good | lost, 0, state.halvings + 1),
            point=point,
            grad=grad,
            value=torch.where(good, value, state.value),
            margin=torch.where(good, gap, state.margin),
            memory=state.memory.with_pair(good, step, change).forget(lost),
            looks=looks,
        )
        return judged, over

    def _searched(self, problem: Problem, state: Descent, over: Mask) -> Descent:
        """The next constant of the rows whose minimisation is over."""
        const, hit = state.const, state.margin > 0
        less, more = over & ~hit & (const > state.low), over & hit & (const < state.high)
        low, high = torch.where(less, const, state.low), torch.where(more, const, state.high)
        short, beyond = torch.where(less, state.margin, state.short), torch.where(more, state.margin, state.beyond)
        # Where the margin, linear in log const, would be 0; well inside the bracket, so that it shrinks fast.
        share = (short / torch.where(beyond > short, short - beyond, -1)).clamp(0.1, 0.9)
        inside = torch.where(low > 0, low.clamp_min(1e-30) ** (1 - share) * high**share, high / 10)
        following = torch.where(high < math.inf, inside, const * 10)
        ended = state.round + over.long()
        done = (ended >= self.search_steps) | (following > _LARGEST * problem.bounds.width**2)
        return replace(
            state, const=torch.where(over, following, const), low=low, high=high, short=short, beyond=beyond,
            round=ended, done=state.done | done,
        )  # fmt: skip

    def _proposed(self, problem: Problem, state: Descent) -> Descent:
        """The point to look at: a step along the quasi-Newton direction, halved as often as it was refused."""
        bounds, point, grad = problem.bounds, state.point, state.grad
        edge = _slope(problem, point, grad).abs().amax(1, keepdim=True).clamp_max(1e-3 * bounds.width)
        # Bound features are nearer to the box than that, and would leave it. Numbers, since a selection of features by
        # a scattered mask takes ten times as long as a product.
        shifted = point - edge * grad.sign()
        free = (shifted == shifted.clamp(bounds.lower, bounds.upper)).to(grad)
        # Half the gradient minimises the distance alone; the first step is no longer than the box is wide.
        norm = torch.linalg.vector_norm(grad, dim=1)
        first = (bounds.width / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp_max(0.5)
        move = 0.5 ** state.halvings[:, None] * state.memory.direction(grad, free, first)
        x = (point + move).clamp_(bounds.lower, bounds.upper).view(problem.x0.shape)
        if self.keep is not Keep.MIN_DISTANCE:  # which leaves points outside the ball out; the others do not
            x = problem.project(x)
        return replace(state, x=x, fall=_ARMIJO * (grad * (x.flatten(1) - point)).sum(1).clamp_max(0))


def _started(problem: Problem, state: Descent, rows: Mask) -> Descent:
    """These rows (n,) start at the input with their constant."""
    wide, x0, const = rows[:, None], problem.x0.flatten(1), state.const
    return replace(
        state,
        halvings=torch.where(rows, 0, state.halvings),
        point=torch.where(wide, x0, state.point),
        grad=torch.where(wide, const[:, None] * state.clean_grad, state.grad),
        value=torch.where(rows, const * state.clean_loss, state.value),
        memory=state.memory.forget(rows),
        looks=torch.where(rows, 0, state.looks),
    )


def _slope(problem: Problem, point: Tensor, grad: Tensor) -> Tensor:
    """The projected gradient (n, d): how far a step of the gradient gets inside the box."""
    return point - (point - grad).clamp(problem.bounds.lower, problem.bounds.upper)
