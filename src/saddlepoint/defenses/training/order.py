"""Which rows are trained on, in which order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.validation import Validation


@final
@dataclass(frozen=True)
class Order:
    """Which rows are trained on, in which order, and how many steps that takes."""

    schedule: Schedule
    rows: Tensor
    held_out: Tensor
    replays: int

    @classmethod
    def of(cls, n: int, schedule: Schedule, objective: Objective, validation: Validation | None) -> "Order":
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
