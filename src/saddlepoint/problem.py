"""One batch of the inner maximisation: the only thing that an attack sees."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self, TypeVar, final

import torch
from torch import Tensor

from saddlepoint import _tree
from saddlepoint._typing import Batch, Labels, Logits, Mask, PerRow
from saddlepoint.balls import Ball, Bounds
from saddlepoint.checks import (
    check_call,
    check_classes,
    check_confidence,
    check_labels,
    check_limits,
    check_rows,
)
from saddlepoint.classifier import Classifier, told
from saddlepoint.errors import ModelError, SettingError
from saddlepoint.losses import Loss, averaged, defined, fooled, margin, of_classes
from saddlepoint.noise import Noise, drawing
from saddlepoint.result import SLACK, AttackResult, Keep, Record

S = TypeVar("S")


class Spent(Exception):  # noqa: N818 (a signal, not an error: the driver returns the best so far)
    """A budget would be exceeded by the next look."""


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """A hard budget per row; past it the best so far is returned.

    Args:
        forwards, backwards: passes that a row may take, one number or one per row (n,).
        seconds: time that one call may take; a result under it is not reproducible.
        shrink_at: settled rows leave the batch once the share of live rows is at most this; 0 switches it off.
        check_every: steps between the tests for rows that the attack itself has finished; None: 1 on CPU, 5 elsewhere.
    """

    forwards: float | Tensor = math.inf
    backwards: float | Tensor = math.inf
    seconds: float = math.inf
    shrink_at: float = 0.8
    check_every: int | None = None

    def __post_init__(self) -> None:
        check_limits(**vars(self))


class Setting(Protocol):
    """What a problem needs to know of an attack."""

    @property
    def ball(self) -> Ball:
        """The perturbation set."""

    @property
    def loss(self) -> Loss:
        """What is maximised."""

    @property
    def keep(self) -> Keep:
        """Which point is returned."""

    @property
    def confidence(self) -> float:
        """The margin at which a row counts as solved."""


class Seen(NamedTuple):
    """What one look at a batch of points told.

    logits (n, k), loss (n,), gradient of the loss (n, *f), empty where none was asked for, success (n,), and for
    :meth:`Problem.gradients` the graph, where it was asked for.
    """

    logits: Logits
    loss: PerRow
    grad: Tensor
    success: Mask
    graph: tuple[Tensor, Tensor] | None


@final
@dataclass(frozen=True)
class Problem:
    """The rows of a batch that are still open.

    Attributes:
        x0: (n, *f) clean inputs;  y: (n,) labels;  target: (n,) goal of a targeted attack, or None.
        aim: (n,) class that the loss steers to, or None for away from y; the target unless another was given.
        ball, bounds: the perturbation set of these rows;  noise: bound to their ids;  limits: their budget.
        confidence: a point counts as a success only with a margin of at least this, in logit units.
        record: best points and counters.
    """

    model: Classifier
    x0: Batch
    y: Labels
    target: Labels | None
    aim: Labels | None
    ball: Ball
    loss: Loss
    noise: Noise
    limits: Limits
    record: Record
    confidence: float

    @classmethod
    def open(  # one line for what the caller gave, one for the rest
        cls, attack: Setting, model: Classifier, x: Batch, y: Labels | None, target: Labels | None,
        noise: Noise, limits: Limits, aim: Labels | None = None,
    ) -> Self:  # fmt: skip
        """Check everything that the caller gave; y=None means the model's own predictions, at one forward pass."""
        x0 = check_call(model, x, attack.ball, attack.loss, attack.keep, noise, limits)
        target = None if target is None else check_labels(target, x0, "target")
        ball = attack.ball.fitted(x0, model.bounds)
        noise, record = noise.at(check_rows(noise, x0)), Record(x0, attack.keep, limits.seconds)
        with drawing(noise.child("labels")):
            labels = model.predict(x0) if y is None else check_labels(y, x0, "y")
        record.count(forwards=model.draws * (y is None))
        aim, confidence = target if aim is None else check_labels(aim, x0, "aim"), check_confidence(attack.confidence)
        loss = of_classes(attack.loss) if model.refuses else attack.loss
        return cls(model, x0, labels, target, aim, ball, loss, noise, limits, record, confidence)

    @property
    def bounds(self) -> Bounds:
        """The box of valid inputs."""
        return self.model.bounds

    @property
    def radius(self) -> float | Tensor:
        """The eps of the surviving rows, shaped to broadcast against x."""
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

    def steepest_step(self, grad: Batch, x: Batch | None = None) -> Batch:
        """The unit step that gains most on a linear loss of this gradient; from x, where that is given."""
        return self.ball.steepest_step(grad, x, self.bounds)

    def look(
        self, x: Batch, *, gradient: bool = True, graph: bool = False, aim: Labels | None = None, free: bool = False
    ) -> Seen:
        """Evaluate the points x (n, *f), count the passes, keep the best.

        Args:  gradient: also return the gradient of the loss; its entries that are not finite are 0.
            graph: also keep what :meth:`gradients` needs;  aim: (n,) class that the loss steers to, not the problem's.
            free: points may lie outside the ball; those that do are neither successes nor kept.
        """
        if (gradient or graph) and torch.is_inference_mode_enabled():
            raise SettingError(
                "torch.inference_mode() switches gradients off, and this attack needs them; call it outside, or under "
                "torch.no_grad(), where an attack turns them on"
            )
        with torch.set_grad_enabled(gradient or graph):
            x = x.detach().requires_grad_(gradient or graph)
            samples = self._forward(x, backwards=int(gradient))
            logits, loss = averaged(self.loss, samples, self.y, self.aim if aim is None else aim)
            grad = self._gradient(loss, x) if gradient else x.new_empty(0)
        kept = (x, logits) if graph else None
        logits, loss, x = logits.detach(), loss.detach(), x.detach()
        success, defined, rank = self._judge(x, logits, loss, free)
        finite = self.record.update(x, rank, success, defined, grad.sum())
        return Seen(logits, loss, grad if finite else grad.nan_to_num(0.0, 0.0, 0.0), success, kept)

    def gradients(self, seen: Seen, cotangents: Tensor) -> Tensor:
        """Gradients (m, n, *f) of m combinations of the logits, from the one forward pass of ``seen``.

        Each counts as a backward pass; entries that are not finite are 0.

        Args:  seen: of a look with ``graph=True`` in the same step;  cotangents: (m, n, k), the weights of the logits.
        """
        assert seen.graph is not None, "look(..., graph=True) keeps the graph"
        self._afford(backwards=len(cotangents) * self.model.draws)
        self.record.count(backwards=len(cotangents) * self.model.draws)
        x, logits = seen.graph
        return self.model.gradients(logits, x, cotangents).nan_to_num(0.0, 0.0, 0.0)

    def logits(self, x: Batch) -> Logits:
        """Logits (n, k) of the points x, without gradient: counted, but not candidates for the result."""
        with torch.no_grad():
            return averaged(self.loss, self._forward(x), self.y, self.aim)[0]

    def ask(self, x: Batch, rows: Labels) -> Seen:
        """Evaluate points x (m, *f) of the rows ``rows`` (m,), without gradient; each counts for its row, none is kept.

        A row that cannot afford all of its points settles; what it is told is NaN, and no success.
        """
        each = torch.zeros_like(self.y).index_add_(0, rows, torch.full_like(rows, self.model.draws))
        self._afford(forwards=each)
        before, kept = self.record.passes, self.record.charge(each)[rows].nonzero().squeeze(1)
        with torch.no_grad(), drawing(self.noise, before, rows[kept]):
            found = self.model.logits(x[kept]) if len(kept) else x.new_empty(0, self.model.num_classes or 2)
        logits = found.new_full((len(x), found.shape[1]), torch.nan).index_copy_(0, kept, found)
        y, target, aim = _tree.take((self.y, self.target, self.aim), rows)
        return Seen(logits, self.loss(logits, y, aim), x.new_empty(0), self._fools(logits, y, target), None)

    def shrink(self, state: S, t: int, *, eager: bool = False) -> tuple[Self, S]:
        """Settle the rows that the state calls done; drop settled rows once enough are in the batch, or at once."""
        every = self.limits.check_every or (1 if self.x0.device.type == "cpu" else 5)
        done = getattr(state, "done", None)
        if done is not None and t % every == 0:
            self.record.settle(done)
        left = len(self.x0) - self.record.settled_rows
        share = 1.0 if eager and self.limits.shrink_at else self.limits.shrink_at
        if not self.record.settled_rows or left == 0 or left > share * len(self.x0):
            return self, state
        index = (~self.record.settled).nonzero().squeeze(1)
        self.record.compact(index)
        x0, y, target, aim, noise, limits = _tree.take(
            (self.x0, self.y, self.target, self.aim, self.noise, self.limits), index
        )
        ball = self.ball.take(index)
        return replace(self, x0=x0, y=y, target=target, aim=aim, ball=ball, noise=noise, limits=limits), _tree.take(
            state, index
        )

    def result(self) -> AttackResult:
        """Ask the model once more about exactly the points that are returned; call it on the problem as opened."""

        def loss(logits: Logits, y: Labels, target: Labels | None) -> PerRow:
            # no point was looked at if there was no step, or no budget
            check_classes(logits, refuses=self.model.refuses, y=y, target=target)
            return self.loss(logits, y, target)

        with drawing(self.noise.child("verification")):  # on draws that the attack has not seen
            return self.record.result(self.model, self.ball, loss, self.x0, self.y, self.target)

    def _forward(self, x: Batch, *, backwards: int = 0) -> Tensor:
        """Logits (draws, n, k)."""
        draws = self.model.draws
        self._afford(forwards=draws, backwards=backwards * draws)
        version = None if x.is_inference() else x._version
        with drawing(self.noise, self.record.passes):
            samples = self.model.samples(x)
        if version is not None and x._version != version:
            raise ModelError("the model changes its input in place; write x = x - mean, not x -= mean")
        self.record.count(forwards=draws)
        if self.record.forwards <= 2 * draws:  # the first look, also where a pass before it asked for the labels
            check_classes(samples[0], refuses=self.model.refuses, y=self.y, target=self.target, aim=self.aim)
        return samples

    def _afford(self, *, forwards: int | Tensor = 0, backwards: int = 0) -> None:
        """Settle the rows whose budget these passes would exceed; stop the attack if none is left."""
        record, limits = self.record, self.limits
        over = (record.passes + forwards > limits.forwards) | (record.backwards + backwards > limits.backwards)
        if over is not False:
            record.settle(over)
        if self.empty or record.late:
            raise Spent

    def _judge(self, x: Batch, logits: Logits, loss: PerRow, free: bool) -> tuple[Mask, Mask, PerRow]:
        """Which points fool as asked for, which are defined, and what each is ranked by, -inf if it cannot be kept."""
        success, finite = self._fools(logits, self.y, self.target), defined(logits)
        least = self.record.keep is Keep.MIN_DISTANCE
        if not (least or free):
            return success, finite, loss
        distance = self.ball.distance(x, self.x0)
        inside = distance <= self.ball.radius(distance) + SLACK * self.bounds.width  # the rounding of the sphere
        success &= inside
        return success, finite, torch.where(success if least else inside, -distance if least else loss, -torch.inf)

    def _fools(self, logits: Logits, y: Labels, target: Labels | None) -> Mask:
        refuses = self.model.refuses
        success = fooled(logits, y, target, refuses=refuses) & defined(logits)
        if not self.confidence:
            return success
        return success & (margin(logits[:, :-1] if refuses else logits, y, target) >= self.confidence)

    def _gradient(self, loss: PerRow, x: Batch) -> Batch:
        if not loss.requires_grad:  # the output does not depend on the input
            return torch.zeros_like(x)
        self.record.count(backwards=self.model.draws)
        with told(x):
            return torch.autograd.grad(loss.sum(), x, materialize_grads=True)[0]
