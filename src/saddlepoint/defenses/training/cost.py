"""What a training costs, in passes of rows through nets."""

import copy
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.modes import to_training
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.passes import counted
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.validation import Validation
from saddlepoint.errors import SaddlepointWarning
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class Cost:
    """Passes of a whole training.

    Args:
        forwards, backwards: of one row in one step;  rows: trained on in each epoch;  epochs, replays: how often.
        validation: most passes of all validations together: rows that fall early take fewer.
    """

    forwards: float
    backwards: float
    rows: int
    epochs: int
    replays: int
    validation: int

    @property
    def steps(self) -> int:
        """Rows of all steps together."""
        return self.rows * self.epochs * self.replays

    @property
    def total(self) -> int:
        """Passes in all."""
        return round((self.forwards + self.backwards) * self.steps) + self.validation


def cost(
    module: nn.Module,
    objective: Objective,
    schedule: Schedule,
    validation: Validation | None,
    x: Batch,
    y: Labels,
    *others: nn.Module,
) -> Cost:
    """What training on x (n, *f) and y (n,) will cost: one step is done on two rows, on a copy, and counted.

    Args:  others: modules whose passes count as well, such as a teacher.
    """
    twin, few = copy.deepcopy(module), slice(0, 2)
    to_training(twin)
    device = next(twin.parameters()).device
    inputs, labels = x[few].to(device), y[few].to(device)
    noise = Noise(schedule.seed).at(torch.arange(len(inputs), device=device))
    with (
        ExitStack() as stack,
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        warnings.simplefilter("ignore", SaddlepointWarning)  # a teacher that is to be trained first knows nothing yet
        meters = [stack.enter_context(counted(each)) for each in (twin, *others)]
        points = objective.points(twin, inputs, labels, noise=noise, progress=1.0, memory={})
        objective.loss(twin, inputs, points, labels).backward()
    held = 0 if validation is None else validation.rows
    each = 0 if validation is None else 1 + (3 + 1) + (2 * validation.steps + 2)  # clean, FGSM, PGD; both are verified
    return Cost(
        forwards=sum(meter.forwards for meter in meters) / len(inputs),
        backwards=sum(meter.backwards for meter in meters) / len(inputs),
        rows=len(x) - held,
        epochs=schedule.epochs,
        replays=getattr(objective, "replays", 1),
        validation=held * each * schedule.epochs,
    )
