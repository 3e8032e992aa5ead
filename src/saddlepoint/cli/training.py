"""One training from its recipe to its files; of many processes only the first writes."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from saddlepoint._files import locked, write_atomic
from saddlepoint.classifier import Classifier
from saddlepoint.cli.common import unwritten
from saddlepoint.cli.job import Job, environment
from saddlepoint.cli.measuring import measure
from saddlepoint.cli.telling import Teller
from saddlepoint.defenses.training import Checkpoint, TrainingRecord, fit
from saddlepoint.defenses.training.processes import started
from saddlepoint.errors import RecordError
from saddlepoint.models import file_sha256, save_weights
from saddlepoint.report.training import write

_OTHER_OUT = "give another --out, or delete it"
MEASURED = 2000  # test rows: on more, the cascade takes longer than a small net learns


def train(job: Job, teacher: nn.Module | None, tell: Teller) -> tuple[nn.Module, TrainingRecord, dict[str, Any]]:
    """Train, or go on with a training that was killed, measure and write everything.

    Returns:  the net, the record of its training, and its card; the card is empty in all processes but the first.
    """
    first, module, about = started()[0] == 0, job.net(), job.about(teacher)
    checkpoint = Checkpoint(job.out.with_suffix(".checkpoint"), about)
    with _alone(checkpoint.path) if first else _nothing():
        record = fit(
            module, job.learn.x, job.learn.y, job.objective(teacher), job.recipe.schedule,
            validation=job.validation(), watch=tell.watch, told=tell.told, checkpoint=checkpoint,
        )  # fmt: skip
        if not first:
            return module, record, {}
        record = replace(record, settings={**record.settings, "recipe": about["recipe"], "data": job.learn.name})
        save_weights(module, job.out)
        card = _card(job, module, record, about)
        _write_card(job, card)  # before anything else can fail: these weights are known again
        _write(job.out.with_suffix(".training.json"), record.to_json())
        tell.measuring()
        card["accuracy"] = measure(Classifier(module, bounds=job.bounds), job.test[:MEASURED], job.ball)
        write(record, card, job.out.with_suffix(".training.html"))
        _write_card(job, card)  # last: with its accuracy, all is there
        checkpoint.remove()
    return module, record, card


def finished(job: Job, teacher: nn.Module | None) -> dict[str, Any] | None:
    """The card of this very training, if it was finished before; None if there is nothing yet, or only a part.

    Raises:  RecordError if the file of the weights is there, and is of another training or changed.
    """
    if not os.path.exists(job.out):  # False, not an error, for a path that cannot be looked at
        return None
    card = _read(job.out.with_suffix(".json"))
    if "accuracy" not in card and job.out.with_suffix(".checkpoint").exists():
        return None  # killed between its files: the checkpoint tells whether it is of this training
    told, about = card.get("about"), json.loads(json.dumps(job.about(teacher)))
    if not isinstance(told, dict):
        raise RecordError(
            f"{job.out.name!r} is there, and no {job.out.with_suffix('.json').name!r} says that it is of this "
            f"training; {_OTHER_OUT}"
        )
    differing = sorted(key for key in about.keys() | told.keys() if about.get(key) != told.get(key))
    if differing:
        raise RecordError(f"{job.out.name!r} is of another training: its {', '.join(differing)} differ; {_OTHER_OUT}")
    if card.get("sha256") != file_sha256(job.out):
        raise RecordError(f"{job.out.name!r} was changed after its training; {_OTHER_OUT}")
    return card if "accuracy" in card else None


def _read(path: Path) -> dict[str, Any]:
    """The card in a file; empty if there is none that can be read."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _card(job: Job, module: nn.Module, record: TrainingRecord, about: dict[str, Any]) -> dict[str, Any]:
    """All but the accuracy."""
    data, net = job.learn, job.architecture
    return {
        "description": f"{net.get('name', net.get('py'))} on {data.name.partition(':')[0]}: {job.recipe.description}",
        "architecture": net,
        "bounds": list(data.bounds),
        "classes": len(data.classes),
        "parameters": sum(p.numel() for p in module.parameters()),
        "sha256": file_sha256(job.out),
        "recipe": {
            "name": job.recipe.name,
            "data": data.name,
            "rows": len(data),
            "data_sha256": data.fingerprint,
            **job.recipe.describe(job.ball),
            "final_loss": round(record.epochs[-1].loss, 6),
            "kept": record.kept,
            "ended": record.ended,
        },
        "environment": environment(),
        "about": about,  # by which it is known again
    }


def _write_card(job: Job, card: dict[str, Any]) -> None:
    _write(job.out.with_suffix(".json"), json.dumps(card, indent=1, allow_nan=False) + "\n")


def _write(path: Path, content: str) -> None:
    try:
        write_atomic(path, content.encode())
    except OSError as error:
        raise RecordError(f"{path.name!r} cannot be written ({error.strerror}); make room, and run it again") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else trains into the same file meanwhile.

    Raises:  RecordError if somebody does, or nothing can be written there.
    """
    lock, out = path.with_suffix(".lock"), path.with_suffix(".safetensors")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock))
        except BlockingIOError as error:
            raise RecordError(
                f"another process trains into {out.name!r}; wait for it, or give another --out"
            ) from error
        except OSError as error:
            raise unwritten(out, error) from error
        yield
        lock.unlink(missing_ok=True)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
