"""What a training says, as plain values: its epochs, what its guard saw, and what it cost. Imports no torch."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self, final

from saddlepoint.errors import RecordError

SCHEMA_VERSION = 1


@final
@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch said.

    Args:
        number: from 1;  loss: mean of its batches;  rate: the learning rate of its last step.
        seconds: that it took, with its validation; two epochs are equal whatever it is.
        clean, fgsm, pgd: share of the held-out rows that are right when clean, under FGSM and under PGD, each with
            those before it; None without validation.
    """

    number: int
    loss: float
    rate: float = 0.0
    seconds: float = field(default=0.0, compare=False)
    clean: float | None = None
    fgsm: float | None = None
    pgd: float | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that the guard saw.

    Args:
        epoch: its number;  reason: in words, with the numbers.
        action: "rolled back" to the weights of the epoch before, and stopped; or "warned".
    """

    epoch: int
    reason: str
    action: str


@final
@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """A training from its settings to its end.

    Args:
        epochs: one each, also those whose weights were not kept;  events: what the guard saw.
        planned: epochs that were asked for;  kept: number of the epoch whose weights are the result, 0 for those it
            began with;  ended: "finished", "guard" or "patience".
        forwards, backwards: rows through the net in training; of a pass that is taken again with gradient both count.
        validation: rows forward and backward in validation.
        processes: that shared the batches;  settings: objective, schedule and validation as JSON.
    """

    epochs: tuple[Epoch, ...]
    events: tuple[Event, ...] = ()
    planned: int
    kept: int
    ended: str = "finished"
    forwards: int = 0
    backwards: int = 0
    validation: int = 0
    processes: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION

    @property
    def best(self) -> Epoch | None:
        """The epoch of the highest PGD accuracy on held-out rows, the first of equals; None without validation."""
        measured = [epoch for epoch in self.epochs if epoch.pgd is not None]
        return max(measured, key=lambda epoch: epoch.pgd or 0.0, default=None)

    def to_json(self) -> str:
        """Strict JSON text."""
        return json.dumps(asdict(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, content: str) -> Self:
        """The record that :meth:`to_json` wrote.

        Raises:  RecordError if it is none, or of another version.
        """
        try:
            told = json.loads(content)
            if told["schema"] != SCHEMA_VERSION:
                raise ValueError(f"it has schema {told['schema']}, this version reads {SCHEMA_VERSION}")
            parts = {
                "epochs": tuple(Epoch(**each) for each in told["epochs"]),
                "events": tuple(Event(**each) for each in told["events"]),
            }
            return cls(**{**told, **parts})
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"this is no record of a training ({error}); train again to write it anew") from error
