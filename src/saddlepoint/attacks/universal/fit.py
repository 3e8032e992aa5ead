"""Universal adversarial perturbations: one v that fools a model on most inputs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, is_number
from saddlepoint.attacks.universal.checkpoint import Checkpoint, Run, told
from saddlepoint.attacks.universal.rules import Rule, Sequential, check_whole
from saddlepoint.attacks.universal.task import Task
from saddlepoint.attacks.universal.value import Fitted, Universal, check_ball
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, InputError, SettingError, shown
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class UniversalPerturbation:
    """Finds one perturbation v for all inputs: |v|_p <= eps, and argmax z(x + v) != argmax z(x) for most x.

    Fooled is measured against what the model says of x, not against labels: v = 0 fools nothing, whatever the accuracy.

    Args:
        ball: Linf or L2, with one finite eps in input units.
        rule: how the rows move v on: ``Sequential()``, the paper's, ``Minibatch()`` or ``Ascent()``.
        rate: stop after an epoch whose v fools at least this share of the rows.
        epochs: passes over the rows, at most.
        target: a class that all rows are to be called; rows that are called so anyway are left out, and do not count.

    Raises:  SettingError, RadiusError or ArgumentTypeError for a setting outside its range.
    Source:  Moosavi-Dezfooli, Fawzi, Fawzi & Frossard 2017, arXiv:1610.08401, Algorithm 1; its authors stop at 0.8.
    Departs:  every point is moved into the box before the model sees it, in the attack inside, too; of all epochs the v
        with the highest rate is returned, the paper returns the last.
    """

    ball: Ball
    rule: Rule = Sequential()
    rate: float = 0.8
    epochs: int = 10
    target: int | None = None

    def __post_init__(self) -> None:
        check_ball(self.ball)
        if not callable(getattr(self.rule, "step", None)) or isinstance(self.rule, type):
            raise ArgumentTypeError(f"rule={shown(self.rule)} must be a rule, such as Sequential() or Ascent()")
        if not is_number(self.rate) or not 0 < self.rate <= 1:
            raise SettingError(f"rate={shown(self.rate)} must lie in (0, 1], a share of the rows such as 0.8")
        check_whole("epochs", self.epochs)
        if self.target is not None and (isinstance(self.target, bool) or not isinstance(self.target, int)):
            raise SettingError(f"target={shown(self.target)} must be one class index for all rows, or None")

    def fit(
        self,
        model: Classifier,
        x: Batch,
        *,
        held_out: Tensor | None = None,
        noise: Noise = Noise(),
        checkpoint: str | Path | None = None,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> Universal:
        """Fit v to the rows x (n, *f); no labels are needed.

        Args:
            held_out: (m, *f) other rows, on which the rate is measured at the end.
            noise: its seed and row ids decide the order of the rows in each epoch.
            checkpoint: a file that the fit is kept in every half minute, and deleted at the end. The same call goes on
                from it after a kill, to the same bytes.
            progress: told (rows seen, rows at most, rate of the last epoch) every time v may have moved.

        Raises:  InputError, RadiusError, ModelError for inputs that cannot be attacked;  RecordError for a checkpoint
            of another fit, or one that cannot be written.
        """
        before = model.meter.forwards, model.meter.backwards
        with model.frozen():
            task = Task.of(model, x, self.target, self.ball, noise, "to fit to")
            others = None
            if held_out is not None:
                _check_shape(held_out, task.x)
                twin = model.uncounted()
                others = Task.of(twin, held_out, self.target, self.ball, Noise(), "that is held out")
            run = Run(torch.zeros_like(task.x[:1]), torch.zeros_like(task.x[:1]))
            file = Checkpoint(None if checkpoint is None else Path(checkpoint), self._about(task))
            run.forwards = model.meter.forwards - before[0]
            file.restore(run)
            before = model.meter.forwards - run.forwards, model.meter.backwards - run.backwards
            if self.ball.eps != 0:
                self._run(task, run, file, before, progress)
            rate = max(run.rates, default=0.0)
            fitted = Fitted(
                rule=self.rule.name,
                target=self.target,
                rate=rate,
                held_out_rate=None if others is None else others.rate(run.best),
                rows=len(task.x),
                held_out_rows=0 if others is None else len(others.x),
                epochs=len(run.rates),
                forwards=run.forwards,
                backwards=run.backwards,
                seed=noise.seed,
                model=model.fingerprint,
            )
        found = Universal(v=run.best, ball=self.ball, fitted=fitted)
        file.remove()
        return found

    def _run(
        self, task: Task, run: Run, file: Checkpoint, before: tuple[int, int],
        progress: Callable[[int, int, str], None] | None,
    ) -> None:  # fmt: skip
        n, meter = len(task.x), task.model.meter
        while run.epoch < self.epochs and max(run.rates, default=0.0) < self.rate:
            order = task.order(run.epoch)
            while run.place < n:
                run.v, run.place = self.rule.step(task, run.v, order, run.place)
                run.forwards, run.backwards = meter.forwards - before[0], meter.backwards - before[1]
                file.keep(run)
                if progress is not None:
                    said = f"{self.rule.name}  fooled {run.rates[-1]:.1%}" if run.rates else self.rule.name
                    progress(run.epoch * n + run.place, self.epochs * n, said)
            rate = task.rate(run.v)
            if rate > max(run.rates, default=0.0):
                run.best = run.v
            run.rates.append(rate)
            run.epoch, run.place = run.epoch + 1, 0
            run.forwards = meter.forwards - before[0]

    def _about(self, task: Task) -> dict[str, Any]:
        """All that could move the result, as JSON."""
        rows = task.noise.rows
        assert rows is not None
        return {
            "settings": told(self),
            "seed": task.noise.seed,
            "model": task.model.fingerprint,
            "rows": _digest(task.x, rows),
            "torch": torch.__version__,
        }


def _check_shape(held_out: Tensor, x: Tensor) -> None:
    if held_out.shape[1:] != x.shape[1:]:
        raise InputError(
            f"the held-out rows have shape {tuple(held_out.shape[1:])}, those to fit to {tuple(x.shape[1:])}; one "
            "perturbation needs inputs of one shape"
        )


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
