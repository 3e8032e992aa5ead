"""The training loop: seeded, one schedule, nothing chosen on test data, the same in one process or many."""

from collections.abc import Callable

import torch
from torch import nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training import about
from saddlepoint.defenses.training.average import put
from saddlepoint.defenses.training.checkpoint import Checkpoint
from saddlepoint.defenses.training.checks import check
from saddlepoint.defenses.training.epochs import close
from saddlepoint.defenses.training.modes import to_training
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.order import Order
from saddlepoint.defenses.training.passes import counted
from saddlepoint.defenses.training.processes import processes
from saddlepoint.defenses.training.run import Run
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.step import Step
from saddlepoint.defenses.training.validation import Validation
from saddlepoint.training_record import Epoch, Event, TrainingRecord

_OTHER_PROCESS = 1_000_003  # added to the seed of dropout in each process but the first


def fit(
    module: nn.Module,
    x: Batch,
    y: Labels,
    objective: Objective,
    schedule: Schedule,
    *,
    validation: Validation | None = None,
    watch: Callable[[int, int], None] | None = None,
    told: Callable[[Epoch, Event | None], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainingRecord:
    """Train ``module`` in place on x (n, *f) and y (n,); it is left in evaluation mode.

    Parts of a module in training mode that are in evaluation mode stay so, such as frozen batch normalisation; in one
    that is in evaluation mode as a whole, only normalisations without a parameter that is trained do.

    The same seed, machine and thread count give the same weights, bit for bit, killed and resumed or not. Started by
    ``torchrun`` or ``accelerate launch``, every process takes its part of each batch; the draws and the gradient are
    those of the whole batch, so that the training is the same up to rounding. BatchNorm alone sees its process's part.

    Args:
        validation: what is measured on held-out rows after every epoch; they are then not trained on.
        watch: called after every step with (steps done, steps in all), for a progress bar.
        told: called after every epoch, also with what the guard saw in it.
        checkpoint: keeps the training in a file, and goes on where that file left it.

    Returns:  what happened. The module has the weights that validation chose, or else those of the last epoch; of
        their moving average where the schedule has one.
    Raises:  ArgumentTypeError, ModelError or InputError for what cannot be trained, before the first step (see
        :func:`saddlepoint.defenses.training.checks.check`); InputError if the loss stops being finite;
        RecordError if the checkpoint is of another training (net, x, y, objective, schedule, validation, or what else
        it was told), or cannot be read or written.
    """
    module, x, y = check(module, x, y, objective, schedule, validation)
    device = next(module.parameters()).device
    order = Order.of(len(x), schedule, objective, validation)
    among = processes(device)
    for copied in module.state_dict().values() if among.count > 1 else ():
        copied.copy_(among.spread(copied.cpu()))  # every process begins as the first
    run = Run(module=module, optimizer=schedule.optimizer.make(module, schedule.peak))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), counted(module) as meter:
        torch.manual_seed(schedule.seed + _OTHER_PROCESS * among.index)  # dropout draws from torch's own generator
        if checkpoint is not None:
            if among.index == 0:  # the others never look at the file
                checkpoint.of(about.training(module, x, y, objective, schedule, validation))
            checkpoint.restore(run, among)
        step = Step(run, objective, schedule, order, among, meter)
        to_training(module)
        for epoch, rows, replay in order.batches(run.done):
            if run.ended:
                break
            due = step(epoch, rows, replay, x, y, checkpoint is not None and checkpoint.due())
            if run.done % order.per_epoch == 0:
                close(run, schedule, validation, x, y, order.held_out, among, step.rate)
                if told is not None:
                    told(run.epochs[-1], next((each for each in run.events if each.epoch == len(run.epochs)), None))
            if due and checkpoint is not None:
                checkpoint.keep(run, among)
            if watch is not None:
                watch(run.done, order.total)
        kept = _settle(run, validation)
    module.eval()
    counts = among.total(torch.tensor([run.forwards, run.backwards], device=device)).tolist()
    return TrainingRecord(
        epochs=tuple(run.epochs),
        events=tuple(run.events),
        planned=schedule.epochs,
        kept=kept,
        ended=run.ended or "finished",
        forwards=counts[0],
        backwards=counts[1],
        validation=run.validation,
        processes=among.count,
        settings={
            "schedule": schedule.describe(),
            "validation": None if validation is None else validation.describe(),
        },
    )


def _settle(run: Run, validation: Validation | None) -> int:
    """Give the module the weights that are the result; the number of their epoch."""
    if validation is not None and validation.keep == "best" and run.best:
        put(run.module, run.best)
        return run.kept
    if run.ended == "guard":
        put(run.module, run.before)
        return run.safe
    if run.average:
        put(run.module, run.average)
    return len(run.epochs)
