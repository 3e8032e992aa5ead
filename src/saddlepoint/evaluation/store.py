"""Where the outcomes of jobs lie: found again by key, whole or not at all, checked when read."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, final

from safetensors import SafetensorError
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor

from saddlepoint._files import locked, write_atomic
from saddlepoint.errors import RecordError, shown
from saddlepoint.evaluation.likeness import alike
from saddlepoint.evaluation.other_run import differences

Outcome = dict[str, Tensor]
"""What one job found, as tensors on the CPU."""


class Store(Protocol):
    """Outcomes by key."""

    def get(self, key: str) -> Outcome | None:
        """The outcome, or None if there is none that is whole."""

    def has(self, key: str) -> bool:
        """Whether an outcome was written."""

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome."""

    def alone(self) -> AbstractContextManager[None]:
        """While something is found that all processes must agree on: others wait, and then read it."""


@final
@dataclass(frozen=True)
class MemoryStore:
    """Outcomes of this process."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def get(self, key: str) -> Outcome | None:
        return self.outcomes.get(key)

    def has(self, key: str) -> bool:
        return key in self.outcomes

    def put(self, key: str, outcome: Outcome) -> None:
        self.outcomes[key] = outcome

    def alone(self) -> AbstractContextManager[None]:
        return nullcontext()


@final
@dataclass(frozen=True)
class FolderStore:
    """Outcomes in a folder: ``jobs/KEY.safetensors``, then ``jobs/KEY.json`` with its hash, which is the commit mark.

    A run that was killed goes on where it was; several processes, on several machines, may share the folder.
    """

    folder: Path

    def get(self, key: str) -> Outcome | None:
        """The outcome; None, and so computed again, if a file is missing or its bytes are not those written."""
        try:
            mark = json.loads(self._mark(key).read_text(encoding="utf-8"))
            content = self._tensors(key).read_bytes()
            if hashlib.sha256(content).hexdigest() != mark["sha256"]:
                return None
            return decode(content)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None

    def has(self, key: str) -> bool:
        return self._mark(key).exists()

    def put(self, key: str, outcome: Outcome) -> None:
        """Write an outcome.

        Raises:  RecordError if it cannot be written; what was written before is kept.
        """
        content = encode({name: tensor.contiguous() for name, tensor in outcome.items()})
        mark = {"key": key, "sha256": hashlib.sha256(content).hexdigest()}
        try:
            write_atomic(self._tensors(key), content)
            write_atomic(self._mark(key), (json.dumps(mark) + "\n").encode())
        except OSError as error:
            raise RecordError(
                f"an outcome cannot be written to {called(self.folder)!r} ({error.strerror}); finished jobs are kept: "
                "make room and run the same command again"
            ) from error

    def alone(self) -> AbstractContextManager[None]:
        return locked(self.folder / ".lock-agree", wait=True)

    def _mark(self, key: str) -> Path:
        return self.folder / "jobs" / f"{key}.json"

    def _tensors(self, key: str) -> Path:
        return self.folder / "jobs" / f"{key}.safetensors"


@contextmanager
def opened(folder: Path, spec: dict[str, Any], shard: tuple[int, int]) -> Iterator[tuple[FolderStore, str]]:
    """The store of a run's folder, and when the run was first started; nobody else works on the same jobs meanwhile.

    Args:  spec: what the run is: the first writes it, later ones must agree;  shard: (i, m), this process is i of m.
    Raises:  RecordError if the folder is no run, belongs to another run, is in use, or cannot be written.
    """
    usable(folder)
    with ExitStack() as stack:
        try:
            (folder / "jobs").mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(folder, shard))
            started = _agreed(folder / "spec.json", spec)
        except OSError as error:
            raise RecordError(
                f"the folder {called(folder)!r} cannot be written ({error.strerror}); make room, or give another --out"
            ) from error
        yield FolderStore(folder), started


def called(folder: Path) -> str:
    """The last part of a folder's path, as it was given: that of the current one is a dot."""
    return folder.name or str(folder)


def usable(folder: Path) -> Path:
    """The folder, if it is new, empty, or holds a run.

    Raises:  RecordError otherwise.
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()
    except (OSError, ValueError) as error:  # too long, no path at all, or not for us
        raise RecordError(
            f"the folder {shown(called(folder))} cannot be used: {shown(error)}; give another --out"
        ) from error
    if folder.exists() and not folder.is_dir():
        raise RecordError(f"{called(folder)!r} is a file; give --out a folder")
    standing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        raise RecordError(
            f"the folder {called(folder)!r} cannot be made in {called(standing)!r}; give --out another place"
        )
    marks = ("spec.json", "run.json", "jobs")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).exists() for name in marks):
        raise RecordError(
            f"the folder {called(folder)!r} holds files that are no run; give --out a new or empty folder"
        )
    return folder


def _agreed(path: Path, spec: dict[str, Any]) -> str:
    """Write the spec, or compare it with the one that is there; returns when that was written."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    if not path.exists():
        mine = path.with_name(f".spec.{os.getpid()}.{os.urandom(8).hex()}")
        try:
            write_atomic(mine, (json.dumps({"started": started, **spec}, indent=1) + "\n").encode())
            os.link(mine, path)  # exclusive: fails where another process was faster
            return started
        except FileExistsError:
            pass
        finally:
            mine.unlink(missing_ok=True)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        started = str(found.pop("started"))
    except (ValueError, KeyError, AttributeError) as error:
        raise RecordError(
            f"{called(path.parent)}/spec.json is damaged; give another --out, or delete that folder"
        ) from error
    _compare(called(path.parent), found, spec)
    return started


def _compare(name: str, found: dict[str, Any], spec: dict[str, Any]) -> None:
    spec = json.loads(json.dumps(spec))
    differing = [key for key in spec if key != "models" and found.get(key) != spec[key]]
    held = found.get("models")
    if not differing and isinstance(held, dict) and set(held) == set(spec["models"]):
        changed = [model for model, value in spec["models"].items() if not alike(held[model], value)]
        if not changed:
            return
        raise RecordError(
            f"the model {', '.join(changed)} has changed since the run in {name!r} was started (or is random, and so "
            "never the same); give another --out, or restore the model"
        )
    told = ", and ".join(differences(found, spec)) or "the models"
    raise RecordError(
        f"the folder {name!r} holds another run, which differs in {told}; "
        "give another --out, or repeat the command of that run"
    )


@contextmanager
def _locked(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold the run (shared among shards) and the shard (alone); released by the system when the process ends."""
    i, m = shard
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / ".lock", shared=m > 1))
            stack.enter_context(locked(folder / f".lock-{i}-of-{m}"))
        except BlockingIOError as error:
            raise RecordError(
                f"the folder {called(folder)!r} is in use by another process; wait for it, or give another --out"
            ) from error
        yield
