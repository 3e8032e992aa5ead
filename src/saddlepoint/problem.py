"""One batch of the inner maximisation: the only thing that an attack sees."""

import time
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, TypeVar, final

import torch
from torch import Tensor

from saddlepoint import _tree
from saddlepoint._typing import Batch, Labels, Logits, Mask, PerRow
from saddlepoint.balls import Ball, Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.errors import InputError, SettingError
from saddlepoint.losses import Loss, fooled
from saddlepoint.noise import Noise
from saddlepoint.result import Keep, Record

S = TypeVar("S")
SLACK = 1e-6
"""Inputs up to this share of the width outside the bounds are clamped; beyond it they are an error."""


class Spent(Exception):  # noqa: N818 (a signal, not an error: the driver returns the best so far)
    """A budget would be exceeded by the next look."""


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """A hard budget per row; past it the best so far is returned.

    Args:
        forwards, backwards: passes that a row may take; None means no limit.
        seconds: time that one call may take; a result under it is not reproducible.
        shrink_at: settled rows leave the batch once the share of live rows is at most this; 0 switches it off.
        check_every: steps between the tests for rows that the attack itself has finished; None: 1 on CPU, 5 elsewhere.
    """

    forwards: int | None = None
    backwards: int | None = None
    seconds: float | None = None
    shrink_at: float = 0.8
    check_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("forwards", "backwards", "seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise SettingError(f"{name}={value!r} must be >= 0, or None for no limit")
        if not 0 <= self.shrink_at <= 1:
            raise SettingError(f"shrink_at={self.shrink_at!r} must lie in [0, 1]; 0 switches shrinking off")
        if self.check_every is not None and self.check_every < 1:
            raise SettingError(f"check_every={self.check_every!r} must be >= 1")


class Seen(NamedTuple):
    """What one look at a batch of points told.

    logits (n, k), loss (n,), gradient of the loss (n, *f), empty where none was asked for, success (n,).
    """

    logits: Logits
    loss: PerRow
    grad: Tensor
    success: Mask


@final
@dataclass(frozen=True, kw_only=True)
class Problem:
    """The rows of a batch that are still open.

    Attributes:
        x0: (n, *f) clean inputs;  y: (n,) labels;  target: (n,) goal of a targeted attack, or None.
        rows: (n,) ids that the noise is drawn for;  noise: bound to them.
        ball, bounds: the perturbation set of these rows;  record: best points and counters.
    """

    model: Classifier
    x0: Batch
    y: Labels
    target: Labels | None
    rows: Labels
    noise: Noise
    ball: Ball
    loss: Loss
    record: Record
    limits: Limits
    deadline: float

    @classmethod
    def open(
        cls,
        model: Classifier,
        x: Batch,
        y: Labels | None,
        target: Labels | None,
        *,
        ball: Ball,
        loss: Loss,
        keep: Keep,
        noise: Noise,
        limits: Limits,
    ) -> Self:
        """Check everything that the caller gave; y=None means the model's own predictions, at one forward pass."""
        x0 = _inputs(model, x)
        ball.check(x0, model.bounds)
        rows = torch.arange(len(x0), device=x0.device) if noise.rows is None else noise.rows.to(x0.device)
        if len(rows) != len(x0):
            raise InputError(
                f"noise is bound to {len(rows)} row ids, the batch has {len(x0)} rows; give one id per row"
            )
        deadline = float("inf") if limits.seconds is None else time.monotonic() + limits.seconds
        record = Record(x0, keep)
        self = cls(
            model=model,
            x0=x0,
            y=rows.new_zeros(len(x0)) if y is None else _labels(y, x0, "y"),
            target=None if target is None else _labels(target, x0, "target"),
            rows=rows,
            noise=noise.at(rows),
            ball=ball,
            loss=loss,
            record=record,
            limits=limits,
            deadline=deadline,
        )
        return replace(self, y=self.logits(x0).argmax(1)) if y is None and len(x0) else self

    @property
    def bounds(self) -> Bounds:
        """The box of valid inputs."""
        return self.model.bounds

    @property
    def radius(self) -> float | Tensor:
        """Eps of the surviving rows, shaped to broadcast against x."""
        return self.ball.radius(self.x0)

    @property
    def empty(self) -> bool:
        """No row is open."""
        return self.record.settled_rows == len(self.x0)

    def project(self, x: Batch) -> Batch:
        """Nearest point of ball and box."""
        return self.ball.project(x, self.x0, self.bounds)

    def random_start(self) -> Batch:
        """A uniform draw from the ball, moved into the box."""
        return self.ball.random_start(self.x0, self.bounds, self.noise.child("start"))

    def steepest_step(self, grad: Batch) -> Batch:
        """The unit step that gains most on a linear loss of this gradient."""
        return self.ball.steepest_step(grad)

    def look(self, x: Batch, *, gradient: bool = True, aim: Labels | None = None) -> Seen:
        """Evaluate the points x (n, *f), count the passes, keep the best.

        Args:  gradient: also return the gradient of the loss; its entries that are not finite are 0.
            aim: (n,) class that the loss steers to; None means the target, or away from y.
        """
        self._spend(backwards=int(gradient))
        with torch.set_grad_enabled(gradient):
            x = x.detach().requires_grad_(gradient)
            logits = self.model.logits(x)
            self._count(logits)
            loss = self.loss(logits, self.y, self.target if aim is None else aim)
            grad = self._gradient(loss, x) if gradient else x.new_empty(0)
        logits, loss, x = logits.detach(), loss.detach(), x.detach()
        defined = logits.isfinite().all(1)
        success = fooled(logits, self.y, self.target) & defined
        distance = self.ball.distance(x, self.x0) if self.record.keep is Keep.MIN_DISTANCE else None
        self.record.update(x, loss, success, defined, distance)
        return Seen(logits, loss, grad, success)

    def logits(self, x: Batch) -> Logits:
        """Logits (n, k) of the points x, without gradient: counted, but not candidates for the result."""
        self._spend()
        with torch.no_grad():
            logits = self.model.logits(x)
        self._count(logits)
        return logits

    def shrink(self, state: S, t: int) -> tuple[Self, S]:
        """Settle the rows that the state calls done; drop settled rows once enough of them are in the batch."""
        every = self.limits.check_every or (1 if self.x0.device.type == "cpu" else 5)
        done = getattr(state, "done", None)
        if done is not None and t % every == 0:
            self.record.settle(done)
        left = len(self.x0) - self.record.settled_rows
        if not self.record.settled_rows or left == 0 or left > self.limits.shrink_at * len(self.x0):
            return self, state
        index = (~self.record.settled).nonzero().squeeze(1)
        self.record.compact(index)
        target = None if self.target is None else self.target[index]
        rows = self.rows[index]
        smaller = replace(
            self,
            x0=self.x0[index],
            y=self.y[index],
            target=target,
            rows=rows,
            noise=self.noise.at(rows),
            ball=self.ball.take(index),
        )
        return smaller, _tree.take(state, index)

    def _gradient(self, loss: PerRow, x: Batch) -> Batch:
        if not loss.requires_grad:  # the output does not depend on the input
            return torch.zeros_like(x)
        self.record.count(backwards=1)
        return torch.autograd.grad(loss.sum(), x, materialize_grads=True)[0].nan_to_num_(0.0, 0.0, 0.0)

    def _spend(self, *, backwards: int = 0) -> None:
        limits, record = self.limits, self.record
        if limits.forwards is not None and record.forwards + 1 > limits.forwards:
            raise Spent
        if backwards and limits.backwards is not None and record.backwards + backwards > limits.backwards:
            raise Spent
        if time.monotonic() > self.deadline:
            raise Spent

    def _count(self, logits: Logits) -> None:
        if self.record.forwards == 0:
            for name, labels in (("y", self.y), ("target", self.target)):
                if labels is not None and not bool(((labels >= 0) & (labels < logits.shape[1])).all()):
                    raise InputError(
                        f"{name} holds class {int(labels.min())} to {int(labels.max())}; "
                        f"the model has classes 0 to {logits.shape[1] - 1}"
                    )
        self.record.count(forwards=1)


def _inputs(model: Classifier, x: Tensor) -> Batch:
    """X within the bounds; the caller's tensor is not touched."""
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise InputError(
            f"x is {kind}; inputs must be a float32 or float64 tensor in the bounds; for 8-bit images: x.float() / 255"
        )
    if x.dim() < 2:
        raise InputError(f"x has shape {tuple(x.shape)}; it must be a batch (n, *f) with at least one feature axis")
    if x.device != model.device:
        raise InputError(f"x is on {x.device}, the model on {model.device}; move it: x.to({str(model.device)!r})")
    bounds, x = model.bounds, x.detach()
    if x.numel():
        low, high = (v.item() for v in torch.aminmax(x))
        slack = SLACK * bounds.width
        if not (low >= bounds.lower - slack and high <= bounds.upper + slack):
            raise InputError(
                f"inputs range from {low:g} to {high:g}, the bounds are [{bounds.lower:g}, {bounds.upper:g}]; "
                "give Classifier the bounds of your inputs, and leave normalisation to it (mean=, std=)"
            )
    return x.clamp(bounds.lower, bounds.upper)


def _labels(labels: Tensor, x0: Batch, name: str) -> Labels:
    """Labels as int64, one per row of x0."""
    if (
        not isinstance(labels, Tensor)
        or labels.dtype.is_floating_point
        or labels.dtype in (torch.bool, torch.complex64)
    ):
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"{name} is {kind}; it must be an integer tensor of class indices, one per row")
    if labels.shape != x0.shape[:1]:
        raise InputError(
            f"{name} has shape {tuple(labels.shape)}; it must be ({len(x0)},): one class index per row of x"
        )
    if labels.device != x0.device:
        raise InputError(f"{name} is on {labels.device}, x on {x0.device}; move it: {name}.to({str(x0.device)!r})")
    return labels.detach().to(torch.int64)
