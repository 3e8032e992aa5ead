"""All that changes while a training runs."""

import time
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint.defenses.training.average import State
from saddlepoint.training_record import Epoch, Event


@final
@dataclass(kw_only=True)
class Run:
    """The state of a training.

    Args:
        done: steps done;  losses: of the steps of the current epoch;  seconds: that the current epoch took before
            ``since``, a reading of the clock.
        epochs, events: so far;  ended: "", or why it stopped before its last step.
        best, before, average: copies of the weights: the best so far, those that the guard would go back to, and the
            moving average; empty where they are not needed.
        kept, safe: numbers of the epochs whose weights are ``best`` and ``before``; 0 for none.
        memory: what the objective keeps from batch to batch.
        forwards, backwards, validation: rows through the net in this process; those of validation in all.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    done: int = 0
    losses: list[Tensor] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ended: str = ""
    kept: int = 0
    safe: int = 0
    best: State = field(default_factory=dict)
    before: State = field(default_factory=dict)
    average: State = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0
    validation: int = 0
    seconds: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        """Seconds of the current epoch so far, also those before a kill."""
        return self.seconds + time.monotonic() - self.since
