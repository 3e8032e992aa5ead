"""The end of an epoch: validation, the best weights, patience, and the guard."""

import math
import time

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.average import holding, snapshot
from saddlepoint.defenses.training.guard import suspicion
from saddlepoint.defenses.training.processes import Processes
from saddlepoint.defenses.training.run import Run
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.validation import Validation
from saddlepoint.errors import InputError
from saddlepoint.training_record import Epoch, Event


def close(
    run: Run,
    schedule: Schedule,
    validation: Validation | None,
    x: Batch,
    y: Labels,
    held_out: Tensor,
    among: Processes,
    rate: float,
) -> None:
    """Write down the epoch that is over, and decide whether the training ends with it.

    Raises:  InputError if its mean loss is not finite.
    """
    number = len(run.epochs) + 1
    loss = _mean(run.losses, number)
    run.losses.clear()
    before = run.epochs[-1] if run.epochs else None
    if validation is None:
        run.epochs.append(Epoch(number=number, loss=loss, rate=rate, seconds=_lap(run)))
        return
    with holding(run.module, run.average):
        found, passes = validation.measure(run.module, x, y, held_out, schedule.seed, among)
        run.validation += passes
        clean, fgsm, pgd = found
        run.epochs.append(
            Epoch(number=number, loss=loss, rate=rate, seconds=_lap(run), clean=clean, fgsm=fgsm, pgd=pgd)
        )
        _guard(run, validation, before)
        if not run.ended:
            _remember(run, validation)


def _guard(run: Run, validation: Validation, before: Epoch | None) -> None:
    """Look for catastrophic overfitting; what the training goes back to are the last weights that were not suspect."""
    now = run.epochs[-1].number
    reason = suspicion(before, run.epochs[-1]) if validation.guard != "off" else None
    if reason is None:
        if validation.guard == "stop":
            run.safe, run.before = now, snapshot(run.module)
        return
    stops = validation.guard == "stop" and run.safe > 0
    run.events.append(Event(epoch=now, reason=reason, action="rolled back" if stops else "warned"))
    if stops:
        run.ended = "guard"


def _remember(run: Run, validation: Validation) -> None:
    """Copy the weights where they may be wanted again; end a training that no longer improves."""
    record = max(run.epochs, key=lambda epoch: epoch.pgd or 0.0).number  # the first of equals
    now = run.epochs[-1].number
    if validation.keep == "best" and record == now:
        run.kept, run.best = now, snapshot(run.module)
    if validation.patience is not None and now - record >= validation.patience:
        run.ended = "patience"


def _lap(run: Run) -> float:
    """Seconds of the epoch; the clock of the next one begins."""
    seconds = run.elapsed()
    run.seconds, run.since = 0.0, time.monotonic()
    return seconds


def _mean(losses: list[Tensor], epoch: int) -> float:
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise InputError(f"the loss of epoch {epoch} is {mean}; lower the learning rate (peak=) and check the inputs")
    return mean
