"""What one perturbation is fitted to: a model, its inputs, and what the model calls them."""

from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Logits, Mask
from saddlepoint.balls import Ball, Bounds
from saddlepoint.checks import check_inputs, check_rows
from saddlepoint.classifier import Classifier
from saddlepoint.errors import InputError
from saddlepoint.losses import defined, fooled, margin
from saddlepoint.noise import Noise

AT_ONCE = 512
"""Rows of one forward pass where their number does not matter."""


@final
@dataclass(frozen=True)
class Task:
    """The rows that one perturbation v (1, *f) is to fool.

    Attributes:
        x: (n, *f) inputs;  y: (n,) what the model calls them without v;  target: the class to reach, or None.
        ball: of v;  noise: bound to the row ids.
    """

    model: Classifier
    x: Batch
    y: Labels
    target: int | None
    ball: Ball
    noise: Noise

    @classmethod
    def of(cls, model: Classifier, x: Batch, target: int | None, ball: Ball, noise: Noise, what: str) -> Self:
        """Check the inputs and ask the model what they are, one forward pass each; rows of the target are left out.

        Raises:  InputError if no row is left, or the target is no class of the model.
        """
        x = check_inputs(model, x)
        noise = noise.at(check_rows(noise, x))
        ball.check(x, model.bounds)
        y = model.predict(x, batch_size=AT_ONCE)
        if target is not None:
            classes = model.num_classes or 0
            if len(x) and not 0 <= target < classes:
                raise InputError(f"target={target} is no class of the model, which has classes 0 to {classes - 1}")
            others = (y != target).nonzero().squeeze(1)
            assert noise.rows is not None
            x, y, noise = x[others], y[others], noise.at(noise.rows[others])
        if not len(x):
            rule = (
                "at least one row" if target is None else f"at least one that the model does not call {target} anyway"
            )
            raise InputError(f"there is no row {what}; give {rule}")
        return cls(model, x, y, target, ball, noise)

    def order(self, epoch: int) -> Labels:
        """The rows in the order of an epoch; it depends on seed and row ids alone."""
        return (
            self.noise.child("order").uniform(self.x.new_empty(len(self.x), 1), epoch).squeeze(1).argsort(stable=True)
        )

    def points(self, v: Tensor, rows: Labels) -> Tensor:
        """These rows with v added, in the box."""
        points: Tensor = self.x[rows] + v
        return points.clamp_(self.model.bounds.lower, self.model.bounds.upper)

    def goal(self, rows: Labels) -> Labels | None:
        """The target of these rows, or None."""
        return None if self.target is None else torch.full_like(rows, self.target)

    def fooled(self, logits: Logits, rows: Labels) -> Mask:
        """Which of these rows (m,) the model no longer calls what it called them, or calls the target."""
        return fooled(logits, self.y[rows], self.goal(rows), refuses=self.model.refuses) & defined(logits)

    def surely(self, logits: Logits, rows: Labels) -> Mask:
        """The fooled rows whose margin no rounding of the model can undo: half of its digits."""
        precise = (logits.dtype, self.model.dtype or logits.dtype, self.model.autocast or logits.dtype)
        slack = max(torch.finfo(dtype).eps for dtype in precise) ** 0.5
        classes = logits[:, : self.model.answers]
        past: Mask = margin(classes, self.y[rows], self.goal(rows)) > slack * logits.abs().amax(1)
        return past & self.fooled(logits, rows)

    def logits(self, points: Batch) -> Logits:
        """Without gradient."""
        with torch.no_grad():
            return self.model.logits(points)

    def rate(self, v: Tensor) -> float:
        """The share of rows that v fools."""
        every = torch.arange(len(self.x), device=self.x.device)
        parts = every.split(AT_ONCE)
        return sum(int(self.fooled(self.logits(self.points(v, rows)), rows).sum()) for rows in parts) / len(self.x)

    def project(self, v: Tensor) -> Tensor:
        """The nearest perturbation in the ball; one that is wider than the box in a feature does no more there."""
        width = self.model.bounds.width
        return self.ball.project(v, torch.zeros_like(v), Bounds(-width, width))
