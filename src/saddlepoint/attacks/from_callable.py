"""Attacks of other libraries, held to the same standard as ours."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Ball
from saddlepoint.checks import check_classes
from saddlepoint.classifier import Classifier
from saddlepoint.errors import InputError
from saddlepoint.losses import Loss, cross_entropy
from saddlepoint.noise import Noise, drawing
from saddlepoint.problem import Limits, Problem
from saddlepoint.result import AttackResult, Keep


@final
@dataclass(frozen=True, kw_only=True)
class FromCallable:
    """Any ``f(model, x, y) -> x_adv`` as an attack: what it returns is checked like ours, what it claims is ignored.

    ``f`` gets the model as an ``nn.Module`` from inputs in the bounds to logits, counted and differentiable. Its passes
    are shared out evenly over the rows of the batch.

    Args:
        function: f(model, x, y), or f(model, x, target) if ``targeted``; x is a copy.
        ball: where the points must lie.
        targeted: pass the targets on in place of the labels, as many libraries expect.

    Raises:  InputError for a class that the model does not have, before ``f`` is called; or if a returned point is of
        another shape, not finite, or more than 1e-6 of the width outside ball or box.
    Departs:  limits are not enforced inside ``f``; noise is not passed on: seed the other library yourself.
    """

    function: Callable[[torch.nn.Module, Tensor, Tensor], Tensor]
    ball: Ball
    targeted: bool = False
    loss: Loss = field(default_factory=lambda: cross_entropy, init=False, repr=False)  # a plain default would bind self
    keep: Keep = field(default=Keep.LAST, init=False, repr=False)
    confidence: float = field(default=0.0, init=False, repr=False)
    name: ClassVar[str] = "from-callable"

    def __call__(
        self,
        model: Classifier,
        x: Batch,
        y: Labels | None,
        *,
        target: Labels | None = None,
        noise: Noise = Noise(),
        limits: Limits = Limits(),
    ) -> AttackResult:
        """Run ``f`` on a batch and verify what it returns; arguments as in IterativeAttack."""
        if self.targeted != (target is not None):
            raise InputError(
                f"targeted={self.targeted}, but target is {'missing' if self.targeted else 'given'}; the two must agree"
            )
        problem = Problem.open(self, model, x, y, target, noise, limits)
        if not problem.empty:
            _check_known(problem)
            with model.frozen(), torch.enable_grad(), drawing(problem.noise):
                before = model.meter.forwards, model.meter.backwards
                labels = problem.y if problem.target is None else problem.target
                found = self.function(_Module(model), problem.x0.clone(), labels.clone())
                problem.record.put(_feasible(found, problem))
                forwards, backwards = model.meter.forwards - before[0], model.meter.backwards - before[1]
                n = len(problem.x0)
                problem.record.count(forwards=-(-forwards // n), backwards=-(-backwards // n))
        return problem.result()


@final
class _Module(torch.nn.Module):
    """The counted classifier as a module, in evaluation mode."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.inner = (
            model.module if isinstance(model.module, torch.nn.Module) else torch.nn.Identity()
        )  # for .parameters()
        self.logits = model.logits
        self.train(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


def _check_known(problem: Problem) -> None:
    """Refuse classes that the model does not have; one that was never asked is asked about one row, not counted."""
    model = problem.model
    if model.num_classes is None:
        with torch.no_grad(), model.frozen():
            twin = model.uncounted()
            twin.logits(problem.x0[:1])
        model.num_classes = twin.num_classes
    check_classes(problem.x0.new_empty(len(problem.x0), model.num_classes or 0), y=problem.y, target=problem.target)


def _feasible(found: Tensor, problem: Problem) -> Tensor:
    """The returned points, or an error that says how they miss ball or box; rounding is projected away."""
    x0, slack = problem.x0, 1e-6 * problem.bounds.width
    if not isinstance(found, Tensor) or found.shape != x0.shape:
        raise InputError(
            f"the attack returned {getattr(found, 'shape', type(found).__name__)}; "
            f"it must return a tensor like x, {tuple(x0.shape)}"
        )
    found = found.detach().to(x0)
    if not bool(found.isfinite().all()):
        raise InputError("the attack returned points that are not finite; they cannot be judged")
    outside = torch.maximum(problem.bounds.lower - found, found - problem.bounds.upper).max().item()
    if outside > slack:
        raise InputError(
            f"the attack left the box by {outside:.3g}; "
            f"give it the bounds ({problem.bounds.lower:g}, {problem.bounds.upper:g})"
        )
    projected = problem.project(found)
    moved = (projected - found).abs().max().item()
    if moved > slack:
        farthest = problem.ball.distance(found, x0).max().item()
        raise InputError(
            f"the attack left the {problem.ball.norm} ball: a point is {farthest:.6g} away, "
            f"eps is {problem.ball.describe()['eps']}"
        )
    return projected
