"""Projected gradient descent on a model that may refuse, one goal at a time, at no cost to the other."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch
from saddlepoint.attacks._gradient import Point, ascend, check_size, check_steps
from saddlepoint.attacks._minimal import column
from saddlepoint.losses import Loss, fool_or_pass, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True, kw_only=True)
class OrthogonalPGD(IterativeAttack[Point]):
    """PGD for :class:`Guarded` models: to another class, then past the detector, in turns.

    Until a row's class is another one, the step follows the gradient of the margin, less its part along the gradient of
    the score; from then on that of the score, less its part along the margin's. So neither goal undoes the other. On a
    model that does not refuse it is PGD on the margin.

    Args:
        ball: Linf, L2 or L1.
        loss: what points are ranked by, beside success; the steps do not follow it.
        steps: number of steps;  step_size: in input units; None means 2.5 eps / steps.
        random_start: begin at a uniform draw from the ball, not at the input.

    Source:  Bryniarski, Hingun, Pachuca, Wang & Carlini 2021, arXiv:2106.15023, section 4.2.
    Departs:  the margin in place of the cross-entropy; returns the best point seen.
    """

    loss: Loss = margin
    steps: int = 40
    step_size: float | None = None
    random_start: bool = True
    name: ClassVar[str] = "orthogonal-pgd"
    needs_gradient: ClassVar[bool] = False
    needs_graph: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_size(self.step_size)

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Point:
        return Point(problem.random_start() if self.random_start else problem.x0)

    def step(self, problem: Problem, state: Point, seen: Seen, t: int) -> Point:
        size = 2.5 * problem.radius / self.steps if self.step_size is None else self.step_size
        return Point(ascend(problem, state.x, size, self._direction(problem, seen)))

    def _direction(self, problem: Problem, seen: Seen) -> Batch:
        with torch.enable_grad():
            logits = seen.logits.detach().requires_grad_()
            if not problem.model.refuses:
                told = margin(logits, problem.y, problem.aim)
                return problem.gradients(seen, torch.autograd.grad(told.sum(), logits)[0][None])[0]
            fool, passing = fool_or_pass(logits, problem.y, problem.aim)
            weights = [torch.autograd.grad(goal.sum(), logits, retain_graph=True)[0] for goal in (fool, passing)]
        to_fool, to_pass = problem.gradients(seen, torch.stack(weights))
        fooled = column(fool > 0, to_fool)
        return _without(torch.where(fooled, to_pass, to_fool), torch.where(fooled, to_fool, to_pass))


def _without(grad: Tensor, other: Tensor) -> Tensor:
    """The gradients (n, *f) less their parts along the others."""
    length = other.flatten(1).square().sum(1)
    share = (grad * other).flatten(1).sum(1) / torch.where(length > 0, length, 1)
    return grad - column(share, grad) * other
