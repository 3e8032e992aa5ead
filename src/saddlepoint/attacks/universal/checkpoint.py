"""A fit under way as one file without code: killed at any moment, it goes on to the same perturbation, bit for bit."""

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from saddlepoint import _tensors
from saddlepoint._typing import Batch
from saddlepoint.balls import Ball

_EVERY = 30.0  # seconds: what a kill can lose
_PLAIN = ("epoch", "place", "rates", "forwards", "backwards")


@final
@dataclass
class Run:
    """A fit under way.

    Attributes:
        v: (1, *f) the perturbation;  best: (1, *f) that of the highest rate at the end of an epoch.
        epoch: the one that is under way;  place: how many of its rows were seen;  rates: of the epochs before.
        forwards, backwards: passes so far.
    """

    v: Batch
    best: Batch
    epoch: int = 0
    place: int = 0
    rates: list[float] = field(default_factory=list)
    forwards: int = 0
    backwards: int = 0


@final
class Checkpoint:
    """Keeps a run in a file, every half minute; without a path it does nothing.

    Args:  path: of the file;  about: what is fitted to what, as JSON; a file that says otherwise is refused.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path = path
        self.about: dict[str, Any] = json.loads(json.dumps(about))
        self._kept = time.monotonic()

    def restore(self, run: Run) -> None:
        """Put a run where the file left it; without a file nothing changes.

        Raises:  RecordError if the file is damaged, or belongs to another fit.
        """
        if self.path is None or not self.path.exists():
            return
        found, tensors = _tensors.read(self.path)
        _tensors.same(self.path, self.about, found["about"], "fit")
        run.v, run.best = tensors["v"].to(run.v), tensors["best"].to(run.v)
        for name in _PLAIN:
            setattr(run, name, found[name])

    def keep(self, run: Run) -> None:
        """Write the run, if half a minute has passed since it was last written.

        Raises:  RecordError if it cannot be written; what was written before is kept.
        """
        if self.path is None or time.monotonic() - self._kept < _EVERY:
            return
        said = {"about": self.about, **{name: getattr(run, name) for name in _PLAIN}}
        _tensors.write(self.path, {"v": run.v, "best": run.best}, said)
        self._kept = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the fit is over."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def told(value: object) -> Any:  # noqa: ANN401 (JSON)
    """Settings so that no others are told alike, in this process or another: classes and fields, functions by name."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, Ball):
        return value.describe()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"class": kind, **{each.name: told(getattr(value, each.name)) for each in dataclasses.fields(value)}}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    name = getattr(value, "__qualname__", None)
    return f"{kind} {getattr(value, '__module__', '')}.{name}" if name else f"{kind} {getattr(value, 'name', '')}"
