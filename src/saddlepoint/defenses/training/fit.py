"""The training loop: seeded, one schedule, last epoch, nothing chosen on test data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.augment import shift
from saddlepoint.defenses.training.checkpoint import Checkpoint, Run
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.errors import InputError, SettingError
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast: Adam under a one-cycle learning rate (Smith & Topin 2019, arXiv:1708.07120).

    Args:  epochs, batch_size: at least 1;  peak: the highest learning rate, reached at ``rise`` of the training;
        seed: of the order and the noise;  shift: images move by up to that many pixels along each axis, filled with 0.
    """

    epochs: int = 30
    batch_size: int = 128
    peak: float = 5e-3
    rise: float = 0.4
    seed: int = 0
    shift: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise SettingError(f"epochs={self.epochs} and batch_size={self.batch_size} must be at least 1")
        if self.shift < 0:
            raise SettingError(f"shift={self.shift} must be >= 0, in pixels")
        if not (self.peak > 0 and 0 < self.rise < 1):
            raise SettingError(f"peak={self.peak} must be positive and rise={self.rise} lie between 0 and 1")


@final
@dataclass(frozen=True)
class Epoch:
    """What one epoch said: its number from 1, and the mean loss of its batches."""

    number: int
    loss: float


def fit(
    module: nn.Module,
    x: Batch,
    y: Labels,
    objective: Objective,
    schedule: Schedule,
    *,
    watch: Callable[[int, int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Epoch]:
    """Train ``module`` in place on x (n, *f) and y (n,); it is left in evaluation mode.

    The same seed, machine and thread count give the same weights, bit for bit, killed and resumed or not.

    Args:
        watch: called after every batch with (batches done, batches in all), for a progress bar.
        checkpoint: keeps the training in a file, and goes on where that file left it.

    Returns:  one Epoch each.
    Raises:  InputError if x and y do not match, or the loss stops being finite;
        RecordError if the checkpoint is of another training, or cannot be read or written.
    """
    if not len(x) or len(x) != len(y):
        raise InputError(f"x has {len(x)} rows and y {len(y)}; training needs as many, and at least one")
    device = next(module.parameters()).device
    optimizer = torch.optim.Adam(module.parameters(), lr=schedule.peak)
    replays = int(getattr(objective, "replays", 1))
    per_epoch = -(-len(x) // schedule.batch_size) * replays
    total = per_epoch * schedule.epochs
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.peak, total_steps=max(total, 2), pct_start=schedule.rise, cycle_momentum=False
    )
    run = Run(module, optimizer, cycle, 0, [], [], {})
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(schedule.seed)  # dropout draws from torch's own generator
        if checkpoint is not None:
            checkpoint.restore(run)
        module.train()
        for epoch, rows in _batches(len(x), schedule, replays, run.done):
            drawn = Noise(schedule.seed).child(epoch).at(rows.to(device))
            inputs = x[rows].to(device)
            if schedule.shift:
                inputs = shift(inputs, drawn, schedule.shift)
            labels = y[rows].to(device)
            points = objective.points(module, inputs, labels, noise=drawn, progress=run.done / total, memory=run.memory)
            loss = objective.loss(module, inputs, points, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            cycle.step()
            run.done += 1
            run.losses.append(loss.detach())
            if run.done % per_epoch == 0:
                run.means.append(_mean(run.losses, epoch + 1))
                run.losses.clear()
            if checkpoint is not None:
                checkpoint.keep(run)
            if watch is not None:
                watch(run.done, total)
    module.eval()
    return [Epoch(number, mean) for number, mean in enumerate(run.means, 1)]


def _batches(n: int, schedule: Schedule, replays: int, skip: int) -> Iterator[tuple[int, Tensor]]:
    """Epoch and rows of every batch, ``replays`` times each, but the first ``skip``; the order is of the seed alone."""
    shuffler = torch.Generator().manual_seed(schedule.seed)
    for epoch in range(schedule.epochs):
        for rows in torch.randperm(n, generator=shuffler).split(schedule.batch_size):
            for _ in range(replays):
                if skip:
                    skip -= 1
                else:
                    yield epoch, rows


def _mean(losses: list[Tensor], epoch: int) -> float:
    mean = float(torch.stack(losses).mean())
    if mean != mean or mean in (float("inf"), float("-inf")):
        raise InputError(f"the loss of epoch {epoch} is {mean}; lower the learning rate (peak=) and check the inputs")
    return mean
