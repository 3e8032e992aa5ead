"""The training loop: seeded, one schedule, nothing chosen on test data, the same in one process or many."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Bounds
from saddlepoint.classifier import Meter
from saddlepoint.defenses.training.augment import augment
from saddlepoint.defenses.training.average import follow, put
from saddlepoint.defenses.training.checkpoint import Checkpoint
from saddlepoint.defenses.training.epochs import close
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.passes import counted
from saddlepoint.defenses.training.processes import Processes, processes
from saddlepoint.defenses.training.rates import rate
from saddlepoint.defenses.training.run import Run
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.validation import Validation
from saddlepoint.errors import InputError
from saddlepoint.noise import Noise
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
    Raises:  InputError if x and y do not match, or the loss stops being finite;
        RecordError if the checkpoint is of another training, or cannot be read or written.
    """
    if not len(x) or len(x) != len(y):
        raise InputError(f"x has {len(x)} rows and y {len(y)}; training needs as many, and at least one")
    device = next(module.parameters()).device
    plan = _Plan.of(len(x), schedule, objective, validation)
    among = processes(device)
    for copied in module.state_dict().values() if among.count > 1 else ():
        copied.copy_(among.spread(copied.cpu()))  # every process begins as the first
    run = Run(module=module, optimizer=schedule.optimizer.make(module, schedule.peak))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), counted(module) as meter:
        torch.manual_seed(schedule.seed + _OTHER_PROCESS * among.index)  # dropout draws from torch's own generator
        if checkpoint is not None:
            checkpoint.restore(run, among)
        step = _Step(run, objective, schedule, plan, among, meter)
        module.train()
        for epoch, rows, replay in plan.batches(run.done):
            if run.ended:
                break
            due = step(epoch, rows, replay, x, y, checkpoint is not None and checkpoint.due())
            if run.done % plan.per_epoch == 0:
                close(run, schedule, validation, x, y, plan.held_out, among, step.rate)
                if told is not None:
                    told(run.epochs[-1], next((each for each in run.events if each.epoch == len(run.epochs)), None))
            if due and checkpoint is not None:
                checkpoint.keep(run, among)
            if watch is not None:
                watch(run.done, plan.total)
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


@final
@dataclass(frozen=True)
class _Plan:
    """Which rows are trained on, in which order, and how many steps that takes."""

    schedule: Schedule
    rows: Tensor
    held_out: Tensor
    replays: int

    @classmethod
    def of(cls, n: int, schedule: Schedule, objective: Objective, validation: Validation | None) -> "_Plan":
        """The plan for n rows."""
        every = torch.arange(n)
        rows, held_out = (every, every[:0]) if validation is None else validation.held_out(n, schedule.seed)
        return cls(schedule, rows, held_out, getattr(objective, "replays", 1))

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.rows) // self.schedule.batch_size) * self.replays

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.per_epoch * self.schedule.epochs

    def batches(self, skip: int) -> Iterator[tuple[int, Tensor, int]]:
        """Epoch, rows and replay of every step but the first ``skip``; the order is of the seed alone."""
        shuffler = torch.Generator().manual_seed(self.schedule.seed)
        for epoch in range(self.schedule.epochs):
            order = torch.randperm(len(self.rows), generator=shuffler)
            for rows in self.rows[order].split(self.schedule.batch_size):
                for replay in range(self.replays):
                    if skip:
                        skip -= 1
                    else:
                        yield epoch, rows, replay


@final
class _Step:
    """One step of the optimizer."""

    def __init__(
        self, run: Run, objective: Objective, schedule: Schedule, plan: _Plan, among: Processes, meter: Meter
    ) -> None:
        self.run, self.objective, self.schedule, self.plan = run, objective, schedule, plan
        self.among, self.meter = among, meter
        self.rate = 0.0
        self.device = next(run.module.parameters()).device
        self.bounds: Bounds = getattr(objective, "bounds", Bounds())  # an objective without has none to keep to

    def __call__(self, epoch: int, batch: Tensor, replay: int, x: Batch, y: Labels, due: bool) -> bool:
        """Train on a batch of rows; whether the run is due to be written, which all processes agree on."""
        run, rows = self.run, self.among.share(batch)
        self.meter.forwards = self.meter.backwards = 0
        run.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(epoch, rows, replay, x, y)
        loss, due = self.among.average(run.module, loss, len(rows), len(batch), due)
        if self.schedule.clip is not None:
            nn.utils.clip_grad_norm_([p for p in run.module.parameters() if p.grad is not None], self.schedule.clip)
        self.rate = rate(self.schedule, run.done, self.plan.total)
        for group in run.optimizer.param_groups:
            group["lr"] = self.rate
        run.optimizer.step()
        self.among.follow(run.module)
        if self.schedule.ema is not None:
            follow(run.average, run.module, self.schedule.ema)
        run.done += 1
        run.losses.append(loss)
        run.forwards += self.meter.forwards
        run.backwards += self.meter.backwards
        return due

    def _loss(self, epoch: int, rows: Tensor, replay: int, x: Batch, y: Labels) -> Tensor:
        """The loss of this process's rows, with its gradient in the parameters; 0 of none."""
        run, device = self.run, self.device
        if not len(rows):  # the last batch may be smaller than the number of processes
            return next(run.module.parameters()).new_zeros(())
        drawn = Noise(self.schedule.seed).child(epoch).at(rows.to(device))
        inputs, labels = augment(x[rows].to(device), drawn, self.schedule, self.bounds), y[rows].to(device)
        noise = drawn.child(f"replay {replay}") if replay else drawn
        progress = run.done / self.plan.total
        told: dict[str, Any] = {"noise": noise, "progress": progress, "memory": run.memory}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.schedule.precision == "bfloat16"):
            points = self.objective.points(run.module, inputs, labels, **told)
            loss = self.objective.loss(run.module, inputs, points, labels)
        loss.backward()
        return loss.detach()
