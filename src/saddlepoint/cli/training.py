"""One training from its recipe to its files; of many processes only the first writes."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from saddlepoint._files import locked, write_atomic
from saddlepoint.balls import Ball, Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.cli.measuring import measure
from saddlepoint.cli.telling import Teller
from saddlepoint.data import Dataset
from saddlepoint.defenses.training import Checkpoint, TrainingRecord, Validation, fit
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.processes import started
from saddlepoint.defenses.training.recipes import Recipe
from saddlepoint.errors import RecordError, SettingError, WeightsError
from saddlepoint.models import file_sha256, load_model, load_weights, save_weights
from saddlepoint.models.nets import build
from saddlepoint.report.training import write

MEASURED = 2000  # test rows: ten random starts on more take longer than the training


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, on what, and where it goes.

    Args:
        recipe: as changed by options;  ball: that is trained in, validated in and measured in;  seed: of the weights.
        learn, test: the splits;  architecture: of the net, as in its card;  device: where it runs.
        start: a file of weights to begin with, or None;  tensorboard: whether to write events for it.
    """

    recipe: Recipe
    ball: Ball
    out: Path
    learn: Dataset
    test: Dataset
    architecture: dict[str, Any]
    device: str
    seed: int
    start: Path | None = None
    tensorboard: bool = False

    @property
    def bounds(self) -> Bounds:
        """The box of the inputs."""
        return Bounds.of(self.learn.bounds)

    def objective(self, teacher: nn.Module | None) -> Objective:
        """What is minimised."""
        return self.recipe.make(self.ball, self.bounds, teacher)

    def validation(self) -> Validation | None:
        """What is measured after every epoch."""
        return self.recipe.validate(self.ball, self.bounds)

    def net(self) -> nn.Module:
        """The net before its training; its first weights are of the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = own_net(self.architecture["py"]) if "py" in self.architecture else build(self.architecture)
        if self.start is not None:
            load_weights(module, self.start)
        return module.to(self.device)

    def of_teacher(self) -> "Job":
        """The training of the net that this one learns from: the same net and schedule, on the labels."""
        temperature = self.recipe.objective.get("temperature")
        soft = {"temperature": temperature} if self.recipe.objective["name"] == "defensive-distillation" else {}
        plain = {name: value for name, value in soft.items() if value is not None}
        recipe = replace(
            self.recipe,
            name=f"teacher of {self.recipe.name}",
            description="cross-entropy on clean inputs, for a student",
            objective={"name": "standard", **plain},
            awp=None,
        )
        return replace(self, recipe=recipe, out=self.out.with_suffix(".teacher.safetensors"), tensorboard=False)

    def about(self, teacher: nn.Module | None) -> dict[str, Any]:
        """What its checkpoint must agree with."""
        found = {
            "recipe": {"name": self.recipe.name, **self.recipe.describe(self.ball)},
            "net": self.architecture,
            "data": self.learn.fingerprint,
            "environment": environment(),
            "device": torch.device(self.device).type,
            "start": None if self.start is None else file_sha256(self.start),
        }
        return found if teacher is None else {**found, "teacher": Classifier(teacher).fingerprint}


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
        tell.measuring()
        accuracy = measure(Classifier(module, bounds=job.bounds), job.test[:MEASURED], job.ball)
        save_weights(module, job.out)
        card = _card(job, module, record, accuracy)
        _write(job.out.with_suffix(".json"), json.dumps(card, indent=1, allow_nan=False) + "\n")
        _write(job.out.with_suffix(".training.json"), record.to_json())
        write(record, card, job.out.with_suffix(".training.html"))
        checkpoint.remove()
    return module, record, card


def taught(job: Job, spec: str | None, tell: Callable[[str], Teller]) -> nn.Module | None:
    """The teacher that a recipe needs: the model of that spec, or else one that is trained first and kept beside out.

    Raises:  SettingError if there is a spec, and no teacher is needed.
    """
    if not job.recipe.teacher:
        if spec is not None:
            raise SettingError(f"--teacher cannot be given for {job.recipe.name!r}, which learns from labels alone")
        return None
    if spec is not None:
        return _bare(load_model(spec, device=job.device), spec)
    first = job.of_teacher()
    if (module := _finished(first)) is not None:
        return module
    return train(first, None, tell(f"training the {first.recipe.name}"))[0]


def taught_by(job: Job, spec: str | None) -> nn.Module | None:
    """The teacher as :func:`taught` gives it, but not trained yet where there is no spec."""
    return job.of_teacher().net() if job.recipe.teacher and spec is None else taught(job, spec, _no_teller)


def _finished(job: Job) -> nn.Module | None:
    """The net of a training that was finished before, if its files are there and of this very training."""
    if not (job.out.exists() and job.out.with_suffix(".json").exists()):
        return None
    try:
        card = json.loads(job.out.with_suffix(".json").read_text(encoding="utf-8"))
        same = card["about"] == json.loads(json.dumps(job.about(None)))
        module = job.net()
        if same:
            load_weights(module, job.out, card["sha256"])
    except (ValueError, KeyError, TypeError, WeightsError):
        same = False
    if not same:
        raise RecordError(
            f"{job.out.name!r} is no teacher of this training; delete it and its .json to train one, name it with "
            "--teacher, or give another --out"
        )
    return module


def own_net(spec: str) -> nn.Module:
    """The net that a function of the user's makes: ``py:package.module:factory``."""
    return _bare(load_model(spec), spec)


def _bare(model: Classifier, spec: str) -> nn.Module:
    """The module of a classifier that adds nothing to it."""
    if not isinstance(model.module, nn.Module) or model.mean is not None or model.std is not None:
        raise SettingError(
            f"{spec!r} is a Classifier with normalisation, or of a function; training needs an nn.Module that "
            "normalises itself"
        )
    return model.module


def _card(job: Job, module: nn.Module, record: TrainingRecord, accuracy: dict[str, Any]) -> dict[str, Any]:
    data, net = job.learn, job.architecture
    card = {
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
        "accuracy": accuracy,
    }
    return {**card, "about": job.about(None)} if job.recipe.name.startswith("teacher of ") else card


def environment() -> dict[str, Any]:
    """What the bits of the weights depend on, beside the recipe."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def _write(path: Path, content: str) -> None:
    try:
        write_atomic(path, content.encode())
    except OSError as error:
        raise RecordError(f"{path.name!r} cannot be written ({error.strerror}); make room, and run it again") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else trains into the same file meanwhile.

    Raises:  RecordError if somebody does.
    """
    lock = path.with_suffix(".lock")
    try:
        with locked(lock):
            yield
            lock.unlink(missing_ok=True)
    except BlockingIOError as error:
        raise RecordError(
            f"another process trains into {path.with_suffix('.safetensors').name!r}; wait for it, or give another --out"
        ) from error


def _no_teller(what: str) -> Teller:
    raise AssertionError(what)  # nothing is trained where there is a spec


@contextmanager
def _nothing() -> Iterator[None]:
    yield
