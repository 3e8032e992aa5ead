"""DeepFool: step to the nearest face of the linearised decision region, again and again."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Mask, PerRow
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import check_ball, column
from saddlepoint.balls import L1, L2, Ball, Linf
from saddlepoint.balls.ball import flat_norm, movable
from saddlepoint.errors import SettingError
from saddlepoint.losses import Loss, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_CLASSES_AT_ONCE = 10  # bounds the memory of their gradients


@final
@dataclass(frozen=True)
class Crossing:
    """A row on its way over the boundary.

    ``x`` (n, *f) is looked at; ``base`` (n, *f) is x before the overshoot, where that is not carried along; ``classes``
    (n, m) are the candidates, none before the first look; ``stalls`` (n,) counts the steps in a row of which the box
    took most; ``done`` (n,).
    """

    x: Batch
    base: Batch
    classes: Tensor
    stalls: Labels
    done: Mask


class Face(NamedTuple):
    """The nearest linearised face: distance (n,), inf without any; normal w (n, *f); gap (n,), what w is to gain."""

    distance: PerRow
    normal: Batch
    gap: PerRow


@final
@dataclass(frozen=True, kw_only=True)
class DeepFool(IterativeAttack[Crossing]):
    """Steps to the nearest face of the linearised decision region, and a little past it, until the row is fooled.

    With w_j = grad(z_j - z_y) and g_j = z_y - z_j + confidence, the class with the least g_j / |w_j|_q is chosen, and x
    moves by (1 + overshoot) (g / |w|_q + nudge) along the steepest step of w; the norm q is dual to that of the ball.
    Untargeted. Cost: 1 forward, and 1 batched backward that counts as one per candidate but the label, a step.

    Args:
        ball: L2, Linf or L1; each step is projected to it. L1(inf, share=0) is the exact step of p = 1.
        steps: at most so many; 50 in the authors' Python code, 100 in their MATLAB code.
        overshoot: eta >= 0.
        candidates: classes of the highest logits at the input, the label among them; None: all, as in the paper.
        nudge: added to each step's length, a share of the width. The authors' Python code adds 1e-4, the paper 0.
        carry_overshoot: linearise at x + (1 + eta) r, where the row is tested, as the authors' Python code does; False:
            at x + r, as the paper and the MATLAB code do, at one forward more a step.
        patience: after so many steps in a row that left less than 0.4 of the gain in the box, features that the box
            stops no longer count in w; None: they always do.

    Raises:  SettingError if a target is given.
    Source:  Moosavi-Dezfooli, Fawzi & Frossard 2016, arXiv:1511.04599, Algorithm 2 and Eq. (11).
    Departs:  every step is projected to ball and box (the paper knows none), hence ``patience``; starts from the label,
        not the prediction: a row that is misclassified is settled at distance 0. The paper's fields: candidates=None,
        nudge=0, carry_overshoot=False.
    """

    ball: Ball = L2(math.inf)
    loss: Loss = margin
    keep: Keep = Keep.MIN_DISTANCE
    steps: int = 100
    overshoot: float = 0.02
    candidates: int | None = 10
    nudge: float = 1e-4
    carry_overshoot: bool = True
    patience: int | None = 3
    name: ClassVar[str] = "deepfool"
    needs_gradient: ClassVar[bool] = False
    needs_graph: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ball(self.ball, L2, Linf, L1)
        check_steps(self.steps)
        for name in ("overshoot", "nudge"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name}={getattr(self, name)!r} must be finite and >= 0, a share such as 0.02")
        if self.candidates is not None and self.candidates < 2:
            raise SettingError(f"candidates={self.candidates!r} must be >= 2, the label among them, or None for all")
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"patience={self.patience!r} must be >= 1, or None to count stopped features always")

    def length(self, problem: Problem) -> int:
        return self.steps if self.carry_overshoot else 2 * self.steps

    def init(self, problem: Problem) -> Crossing:
        if problem.target is not None:
            raise SettingError(
                "DeepFool goes to the nearest other class; leave target out, or use PGD with your target"
            )
        none = problem.y.new_zeros(len(problem.y), 0)
        return Crossing(
            problem.x0, problem.x0, none, torch.zeros_like(problem.y), torch.zeros_like(problem.y, dtype=torch.bool)
        )

    def step(self, problem: Problem, state: Crossing, seen: Seen, t: int) -> Crossing:
        if not self.carry_overshoot and t % 2:  # the point past the face was tested; on from the face
            return replace(state, x=state.base, done=state.done | seen.success)
        if t == 0:
            state = replace(state, classes=self._candidates(problem, seen))
        face = self._nearest(problem, state, seen)
        there = face.distance.isfinite()
        size = torch.where(there, face.distance + self.nudge * problem.bounds.width, 0)
        ahead = column(size, state.x) * problem.ball.steepest_step(face.normal, state.x, problem.bounds)
        if self.carry_overshoot:
            base = x = problem.project(state.base + (1 + self.overshoot) * ahead)
        else:
            base = problem.project(state.base + ahead)
            x = problem.project(problem.x0 + (1 + self.overshoot) * (base - problem.x0))
        gain = (face.normal * (base - state.base)).flatten(1).sum(1)
        stalls = torch.where(self._boxed(state), state.stalls, (state.stalls + 1) * (gain < 0.4 * face.gap))
        return replace(state, x=x, base=base, stalls=stalls, done=state.done | seen.success | ~there)

    def _boxed(self, state: Crossing) -> Mask:
        """Rows for which features that the box stops do not count."""
        return state.stalls >= (math.inf if self.patience is None else self.patience)

    def _candidates(self, problem: Problem, seen: Seen) -> Tensor:
        """Classes (n, m) to go to, likeliest first: the highest logits but the label; an aim, where there is one."""
        if problem.aim is not None:
            return problem.aim[:, None]
        logits = seen.logits[:, : problem.model.answers]  # a refusal is no class to go to
        others = logits.scatter(1, problem.y[:, None], -torch.inf)
        count = logits.shape[1] if self.candidates is None else min(self.candidates, logits.shape[1])
        return others.argsort(dim=1, descending=True, stable=True)[:, : count - 1]

    def _nearest(self, problem: Problem, state: Crossing, seen: Seen) -> Face:
        """The nearest face, the first of equally near ones, from the gradients of a few classes at a time."""
        x, logits, boxed = state.x, seen.logits, self._boxed(state)
        some_boxed = bool(boxed.any())  # rare, and what it takes is a fifth of the time between two gradients
        best = Face(torch.full_like(seen.loss, torch.inf), torch.zeros_like(x), torch.zeros_like(seen.loss))
        kept = logits.gather(1, problem.y[:, None])
        own = torch.nn.functional.one_hot(problem.y, logits.shape[1])
        for classes in state.classes.split(_CLASSES_AT_ONCE, 1):
            other = torch.nn.functional.one_hot(classes.T, logits.shape[1])
            w = problem.gradients(seen, (other - own).to(logits))
            if some_boxed:
                free = movable(w, x.expand_as(w), problem.bounds) > 0
                w = torch.where(free | ~column(boxed, x), w, 0)
            slope = _slope(problem, w, x)
            gaps = (kept - logits.gather(1, classes) + self.confidence).T
            gaps = torch.where(gaps > 0, gaps, 1e-6)  # on the face itself a step of no length would stay there
            distance = torch.where(slope > 0, gaps / slope, torch.inf)
            nearest, index = distance.min(0)
            rows, better = torch.arange(len(x), device=x.device), nearest < best.distance
            best = Face(
                torch.where(better, nearest, best.distance),
                torch.where(column(better, x), w[index, rows], best.normal),
                torch.where(better, gaps[index, rows], best.gap),
            )
        return best


def _slope(problem: Problem, w: Tensor, x: Batch) -> Tensor:
    """How much the steepest unit step from x (n, *f) gains on each of the slopes w (m, n, *f): (m, n)."""
    if isinstance(problem.ball, L2):
        length: Tensor = torch.linalg.vector_norm(w.flatten(2), dim=2)
        plain = (length > 1e-15) & (length < 1e15)
        if not bool(plain.all()):  # rare: squares that may have lost their precision
            length = torch.where(plain, length, flat_norm(w.flatten(0, 1)).view(length.shape))
        return length
    if isinstance(problem.ball, Linf):
        return w.flatten(2).abs().sum(2)
    flat = w.flatten(0, 1)
    step = problem.ball.steepest_step(flat, x.expand_as(w).flatten(0, 1), problem.bounds)
    return (flat * step).flatten(1).sum(1).view(w.shape[:2])
