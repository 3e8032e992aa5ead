"""The fast adaptive boundary attack."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from saddlepoint._typing import Batch, Labels, Mask, PerRow
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._hyperplane import to_hyperplane
from saddlepoint.attacks._minimal import check_ball, column
from saddlepoint.attacks._starts import unit_draw
from saddlepoint.balls import L1, L2, Ball, Linf
from saddlepoint.errors import SettingError
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_CLASSES_AT_ONCE = 10  # bounds the memory of their gradients
_DUAL = {"l1": math.inf, "l2": 2.0, "linf": 1.0}


@final
@dataclass(frozen=True)
class Nearing:
    """A point x (n, *f), the steps taken, whether x was drawn back from beyond the boundary, rows that are done: (n,).

    ``roams``: x may lie outside the ball.
    """

    x: Batch
    taken: Labels
    drawn: Mask
    done: Mask
    roams: bool


class Plane(NamedTuple):
    """The nearest linearised boundary, <w, z - x> = -gap: its normal w (n, d); the gap at x, and the distance (n,)."""

    w: Tensor
    gap: PerRow
    distance: PerRow


@final
@dataclass(frozen=True, kw_only=True)
class FAB(IterativeAttack[Nearing]):
    """Steps to the linearised boundary that are biased towards the input; a point beyond the boundary is drawn back.

    With w_j = grad(z_j - z_y), the class with the least |z_j - z_y| / |w_j|_q gives the plane on which z_j and z_y tie
    in the linear model at x. With d1 and d2 the shortest steps to plane and box from x and from x0, and
    a = min(|d1| / (|d1| + |d2|), alpha_max), x <- C((1 - a) (x + eta d1) + a (x0 + eta d2)), C onto the box. From a
    point that fools, x <- x0 + beta (x - x0) first. Steered to one class, that class alone is looked at;
    ``EachTarget(attack=FAB(...))`` is the published FAB-T.

    Cost: 1 forward and 1 backward (untargeted: 1 for each class but the label) a step, and the same for each point that
    was drawn back.

    Args:
        ball: Linf, L2 or L1, the norm to minimise; points may leave it on the way, but only those inside count.
        keep: MIN_DISTANCE; under FIRST_SUCCESS a row stops at its first fooling point within eps, as suites want it.
        steps: of each row; those that draw it back are not counted.
        alpha_max: the largest bias, in [0, 1].
        eta: overshoot, >= 1.
        beta: how much of a fooling perturbation is kept, in (0, 1).
        random_start: begin at a random point at a distance of eps / 2, as the paper's restarts do.

    Source:  Croce & Hein 2020, arXiv:1907.02044, Algorithm 1; steered: arXiv:2003.01690, section 4.
    Departs:  no final search between x0 and the best point (nor have the authors in AutoAttack); a point that was drawn
        back is looked at too, and counts if it still fools; a random start does not know how near an earlier run came,
        so its radius is eps / 2; a row without a gradient stops. With a target t, the plane is that between t and the
        highest other class.
    """

    ball: Ball = L2(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 100
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    random_start: bool = False
    name: ClassVar[str] = "fab"
    needs_gradient: ClassVar[bool] = False
    needs_graph: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ball(self.ball, L2, Linf, L1)
        check_steps(self.steps)
        if not 0 <= self.alpha_max <= 1:
            raise SettingError(f"alpha_max={self.alpha_max!r} must lie in [0, 1]: the largest bias towards the input")
        if not 1 <= self.eta < math.inf:
            raise SettingError(f"eta={self.eta!r} must be finite and >= 1: the overshoot of a step, such as 1.05")
        if not 0 < self.beta < 1:
            raise SettingError(f"beta={self.beta!r} must lie in (0, 1): the share of a perturbation that is kept")
        if self.random_start and not isinstance(self.ball.eps, Tensor) and math.isinf(self.ball.eps):
            raise SettingError("random_start=True draws at a distance of eps / 2; give the ball a finite eps")

    def length(self, problem: Problem) -> int:
        return 2 * self.steps

    def init(self, problem: Problem) -> Nearing:
        x, none = problem.x0, torch.zeros_like(problem.y)
        if self.random_start:
            x = (x + problem.radius / 2 * unit_draw(problem)).clamp_(problem.bounds.lower, problem.bounds.upper)
        return Nearing(x, none, none.bool(), none.bool(), self.keep is not Keep.LAST)

    def step(self, problem: Problem, state: Nearing, seen: Seen, t: int) -> Nearing:
        x0, x = problem.x0, state.x
        beyond = margin(seen.logits[:, : problem.model.answers], problem.y, problem.target) > self.confidence
        back = beyond & ~state.drawn
        plane = self._nearest(problem, state, seen)
        x = torch.where(column(back, x), x0 + self.beta * (x - x0), self._towards(problem, x, plane))
        x = problem.project(x) if self.keep is Keep.LAST else x  # the last point is returned, and not looked at
        done = (state.taken >= self.steps) | (plane.distance.isinf() & ~back)
        return replace(state, x=x, taken=state.taken + ~back, drawn=back, done=done)

    def _towards(self, problem: Problem, x: Batch, plane: Plane) -> Batch:
        """The step to the plane, with its bias; both projections are one call."""
        x0, norm, box = problem.x0, problem.ball.norm, problem.bounds
        both = torch.cat([x, x0]).flatten(1)
        missing = torch.cat([-plane.gap, (plane.w * (x - x0).flatten(1)).sum(1) - plane.gap])
        step = to_hyperplane(both, plane.w.repeat(2, 1), missing, box, norm)
        size = problem.ball.distance(step, torch.zeros_like(step)).clamp_min(1e-8 * box.width)
        (d1, d2), (s1, s2) = step.view(2, *x.shape), size.view(2, -1)
        a = column((s1 / (s1 + s2)).clamp_max(self.alpha_max), x)
        moved: Tensor = (1 - a) * (x + self.eta * d1) + a * (x0 + self.eta * d2)
        return moved.clamp_(box.lower, box.upper)

    def _nearest(self, problem: Problem, state: Nearing, seen: Seen) -> Plane:
        """The nearest plane, the first of equally near ones, from the gradients of a few classes at a time."""
        x, k = state.x.flatten(1), seen.logits.shape[1]
        towards, away = self._pairs(problem, seen.logits)
        best = Plane(torch.zeros_like(x), torch.zeros_like(seen.loss), torch.full_like(seen.loss, torch.inf))
        for classes, others in zip(towards.split(_CLASSES_AT_ONCE, 1), away.split(_CLASSES_AT_ONCE, 1), strict=True):
            cotangents = one_hot(classes.T, k) - one_hot(others.T, k)
            w = problem.gradients(seen, cotangents.to(seen.logits)).flatten(2)
            gap = (seen.logits.gather(1, classes) - seen.logits.gather(1, others) - self.confidence).T
            slope = torch.linalg.vector_norm(w, _DUAL[self.ball.norm], dim=2) if w.shape[2] else torch.zeros_like(gap)
            distance, index = torch.where(slope > 0, gap.abs() / torch.where(slope > 0, slope, 1), torch.inf).min(0)
            rows, better = torch.arange(len(x), device=x.device), distance < best.distance
            plane = Plane(w[index, rows], gap[index, rows], distance)
            best = Plane(*(torch.where(column(better, new), new, old) for new, old in zip(plane, best, strict=True)))
        return best

    def _pairs(self, problem: Problem, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Classes (n, m) to go to, and those to leave."""
        y, logits = problem.y[:, None], logits[:, : problem.model.answers]
        if problem.target is not None:
            goal = problem.target[:, None]
            return goal, logits.scatter(1, goal, -torch.inf).topk(1).indices
        if problem.aim is not None:
            return problem.aim[:, None], y
        rank = torch.arange(logits.shape[1] - 1, device=y.device).expand(len(y), -1)
        others = rank + (rank >= y).long()
        return others, y.expand_as(others)
