"""The inner maximisation of all objectives: steepest steps from a start, and the module as its attacker sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks._gradient import Point, ascend
from saddlepoint.balls import Bounds
from saddlepoint.balls.ball import flat_norm
from saddlepoint.classifier import Classifier
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack, search

Bn: TypeAlias = Literal["eval", "train"]
"""Statistics that batch normalisation uses while an attack runs: the running ones, or those of the batch."""

_GAUSS = 1e-3  # of the width of the box: the start of TRADES and MART, where the gradient of a divergence is not zero


@final
@dataclass(frozen=True, kw_only=True)
class Ascent(IterativeAttack[Point]):
    """Steepest steps from ``start`` (n, *f), each projected back into ball and box; the last point is what is wanted.

    Args:  steps: at least 1;  step_size: in input units;  escape: (n, *f) the direction of rows without any gradient.
    """

    start: Tensor
    steps: int
    step_size: float
    escape: Tensor | None = None
    keep: Keep = Keep.LAST
    name: ClassVar[str] = "ascent"

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Point:
        return Point(self.start)

    def step(self, problem: Problem, state: Point, seen: Seen, t: int) -> Point:
        direction = seen.grad
        if self.escape is not None:
            direction = torch.where(flat_norm(direction) > 0, direction, self.escape)
        return Point(ascend(problem, state.x, self.step_size, direction))


@contextmanager
def attacked(module: nn.Module, bounds: Bounds, bn: Bn) -> Iterator[Classifier]:
    """The module as its attacker sees it; afterwards every flag and every running statistic is what it was.

    No parameter gets a gradient, and all is in evaluation mode, but under ``bn="train"`` the normalisation layers keep
    their own mode; dropout stays off, so that nothing draws from torch's own generator.
    """
    model = Classifier(module, bounds=bounds)
    if bn == "eval":
        with model.frozen():
            yield model
        return
    norms = [m for m in module.modules() if isinstance(m, _NormBase) and m.training]
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers(recurse=False)]
    try:
        with model.frozen():
            for norm in norms:
                norm.training = True
            yield Classifier(module.__call__, bounds=bounds, device=model.device)  # a function has no modes to set
    finally:
        for buffer, before in kept:
            buffer.copy_(before)


def maximise(attack: IterativeAttack[Any], model: Classifier, x: Batch, y: Labels | None, noise: Noise) -> Batch:
    """The attack's points (n, *f). No row leaves the batch, so that a loss or a start may hold one value per row."""
    problem = Problem.open(attack, model, x, y, None, noise, Limits(shrink_at=0))
    search(attack, problem)
    return problem.record.points()


def near(x: Batch, bounds: Bounds, noise: Noise) -> Batch:
    """Normal noise around x of a thousandth of the box, not clipped: the published start of TRADES, MART and AWP."""
    return x + _GAUSS * bounds.width * noise.child("start").normal(x)
