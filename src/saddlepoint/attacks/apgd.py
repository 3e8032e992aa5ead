"""Auto-PGD: ascent with inertia that needs no step size."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import torch

from saddlepoint import _tree
from saddlepoint._typing import Batch, Mask, PerRow
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._halving import Halving, higher
from saddlepoint.attacks._minimal import column
from saddlepoint.attacks._sparse import Thinning, sparse_step
from saddlepoint.attacks._starts import unit_draw
from saddlepoint.balls import L1, L2, Ball, Linf
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


class Phase(NamedTuple):
    """A radius of ``wide`` times eps, from this turn on, for so many steps."""

    wide: float
    turn: int
    steps: int


@final
@dataclass(frozen=True)
class Peak:
    """The point x (n, *f) of the highest loss (n,) so far, and the gradient there."""

    x: Batch
    grad: Batch
    loss: PerRow


@final
@dataclass(frozen=True)
class Climb:
    """A point x and the one before it (n, *f), the best so far, the step size (n,), and what decides about it.

    ``roams``: x may lie outside the ball, since the radius of the phase is more than eps;  ``done`` (n,): rows that
    cannot move.
    """

    x: Batch
    previous: Batch
    peak: Peak
    size: PerRow
    control: Halving | Thinning
    phase: Phase
    roams: bool
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class APGD(IterativeAttack[Climb]):
    """Ascent with inertia; a row whose loss no longer rises halves its step and goes back to its best point.

    z = P(x_k + size d(grad)),  x_{k+1} = P(x_k + alpha (z - x_k) + (1 - alpha) (x_k - x_{k-1})), from size 2 eps.
    At checkpoint w_j = ceil(p_j steps), p = 0, .22, .41, .57, .70, .80, .87, .93, .99, a row's step is halved if the
    loss rose in fewer than rho of the steps since w_{j-1}, or if the step was not halved at w_{j-1} and the highest
    loss is still that of w_{j-1}.
    In L1: no inertia; a step of length ``size``, the same for each of the features of the largest gradients. Every 4 %
    of the steps that number becomes 2/3 of the features that the best point changes; where that is less than .95 of
    what it was, back to the best point with size eps, else size falls by 1.5, to eps / 10 at least.

    Published members: ``APGD(ball=...)`` is APGD-CE, ``loss=losses.difference_of_logits_ratio`` APGD-DLR, and
    ``EachTarget(attack=...)`` around that APGD-T.

    Args:
        ball: Linf, L2 or L1.
        steps: number of steps.
        rho: the share of steps in which the loss must rise, in [0, 1].
        alpha: the share of the new step, in (0, 1]; the rest is inertia.
        wide_start: L1 only, and published for it: 30 % of the steps with 3 eps, 30 % with 2 eps, the rest with eps,
            each from the best point of the one before; two passes more.
        leave_flat: a row without a gradient at its first point, which no step would move, leaves at once.

    Source:  Croce & Hein 2020, arXiv:2003.01690, Algorithm 1; L1: Croce & Hein 2021, arXiv:2103.01208, section 4.
    Departs:  projects onto ball and box at once, exactly (the authors in L2: one after the other). At the first
        checkpoint, where the authors' code compares the first loss with 0 and leaves the second condition out, it does
        as the paper says; the share must be less than rho, as in the paper, not equal. In L1 a step passes over
        features that the box stops, and rounds the number of the others down, not up.
    """

    steps: int = 100
    rho: float = 0.75
    alpha: float = 0.75
    wide_start: bool = False
    leave_flat: bool = False
    name: ClassVar[str] = "apgd"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if not isinstance(self.ball, Linf | L2 | L1):
            raise SettingError(
                f"ball={type(self.ball).__name__} has no step of a chosen size; give Auto-PGD Linf or L2 or L1"
            )
        if not 0 <= self.rho <= 1:
            raise SettingError(f"rho={self.rho!r} must lie in [0, 1]: the share of steps in which the loss must rise")
        if not 0 < self.alpha <= 1:
            raise SettingError(f"alpha={self.alpha!r} must lie in (0, 1]: the share of the new step, 1 for no inertia")
        if self.wide_start and not isinstance(self.ball, L1):
            raise SettingError("wide_start=True is for L1 alone; leave it out")

    def length(self, problem: Problem) -> int:
        return self.steps + int(self._first().wide) - 1

    def init(self, problem: Problem) -> Climb:
        first, x0 = self._first(), problem.x0
        if isinstance(self.ball, L1):
            draw = problem.bounds.width * problem.noise.child("start").normal(x0)
            x = _scaled(problem, first.wide).project(x0 + draw, x0, problem.bounds)
        else:
            x = problem.project(x0 + problem.radius * unit_draw(problem))
        return self._begin(problem, x, first)

    def step(self, problem: Problem, state: Climb, seen: Seen, t: int) -> Climb:
        phase, t = state.phase, t - state.phase.turn
        better = higher(seen.loss, state.peak.loss) | (t == 0)
        state = replace(state, peak=_tree.where(better, Peak(state.x, seen.grad, seen.loss), state.peak))
        if self.leave_flat and not state.phase.turn and t == 0:
            state = replace(state, done=(seen.grad == 0).flatten(1).all(1))
        if t == phase.steps:  # of a radius that was too wide
            return self._begin(problem, state.peak.x, self._after(phase))
        control: Halving | Thinning
        if isinstance(state.control, Thinning):
            eps = _radii(problem, phase.wide)
            control, size, back = state.control.next(state.peak.x, problem.x0, state.size, eps, t, phase.steps)
        else:
            best = state.peak.loss
            control, size, back = state.control.next(seen.loss, best, state.size, self.rho, t, self.steps)
        x, grad = _tree.where(back, (state.peak.x, state.peak.grad), (state.x, seen.grad))
        moved = replace(state, previous=x, size=size, control=control)
        if isinstance(control, Thinning):
            step = sparse_step(grad, control.share, x, problem.bounds) * column(size, x)
            return replace(moved, x=_scaled(problem, phase.wide).project(x + step, problem.x0, problem.bounds))
        z = problem.project(x + column(size, x) * problem.steepest_step(grad, x))
        inertia = (1 - self.alpha) * (x - state.previous) if t else 0
        return replace(moved, x=problem.project(x + (self.alpha if t else 1) * (z - x) + inertia))

    def _first(self) -> Phase:
        """30 % of the steps with three times eps, or all of them with eps."""
        part = math.ceil(0.3 * self.steps - 1e-9)
        if self.wide_start and self.steps > 2 * part:
            return Phase(wide=3.0, turn=0, steps=part)
        return Phase(wide=1.0, turn=0, steps=self.steps)

    def _after(self, phase: Phase) -> Phase:
        """As many steps with a radius of eps less, all that are left with eps; one turn looks where they start."""
        steps = phase.steps if phase.wide > 2 else self.steps - 2 * phase.steps
        return Phase(wide=phase.wide - 1, turn=phase.turn + phase.steps + 1, steps=steps)

    def _begin(self, problem: Problem, x: Batch, phase: Phase) -> Climb:
        """The first state with a radius."""
        eps = _radii(problem, phase.wide)
        x = _scaled(problem, phase.wide).project(x, problem.x0, problem.bounds)
        none = torch.zeros_like(eps)
        control: Halving | Thinning
        if isinstance(self.ball, L1):
            size, control = eps, Thinning.start(x, problem.x0, self.wide_start)
        else:
            size, control = 2 * eps, Halving.start(eps)
        return Climb(x, x, Peak(x, torch.zeros_like(x), none), size, control, phase, phase.wide > 1, none.bool())


def _scaled(problem: Problem, wide: float) -> Ball:
    """The ball, or a wider one around the same points."""
    return problem.ball if wide == 1 else replace(problem.ball, eps=problem.ball.eps * wide)


def _radii(problem: Problem, wide: float) -> PerRow:
    """(n,) the radius of each row."""
    eps = torch.as_tensor(problem.ball.eps, dtype=problem.x0.dtype, device=problem.x0.device)
    return (wide * eps).expand(len(problem.x0))
