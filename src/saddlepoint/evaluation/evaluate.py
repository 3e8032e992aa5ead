"""Attack every row, judge every answer, count."""

import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, final

import torch
from torch import Tensor

from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import DataError, SettingError
from saddlepoint.evaluation import findings, pictures
from saddlepoint.evaluation.running import Progress, Running
from saddlepoint.evaluation.suites import DEFAULT, build
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.records import DataRecord, RunRecord
from saddlepoint.solve import Attack

_LARGEST_BATCH = 512


@final
@dataclass(frozen=True)
class Evaluated:
    """A run: its record, and the picture files that the record names."""

    record: RunRecord
    files: dict[str, bytes] = field(default_factory=dict)


def evaluate(
    models: Mapping[str, Classifier],
    data: Dataset,
    *,
    balls: Sequence[Ball],
    attacks: Sequence[str | Attack] = DEFAULT,
    target: str = "none",
    seed: int = 0,
    batch_size: int | None = None,
    limits: Limits = Limits(),
    draw: bool = True,
    command: str = "",
    progress: Progress | None = None,
) -> Evaluated:
    """Robust accuracy of models under attacks inside balls, each answer judged by independent code.

    Args:
        models: by name;  data: the rows, x in every model's bounds.
        balls: one for each threat, each with one eps.
        attacks: names, or attacks whose ball is one of ``balls``.
        target: "none", "least-likely", "random" or a class index.
        seed: of every random draw; a row's result depends on it and on the row's id only.
        batch_size: rows at once; None starts at 512 and halves while memory does not suffice. No number depends on it.
        limits: budget per row and attack.
        draw: make pictures (images only; needs Pillow).
        progress: told after every batch.

    Returns:  the record and the pictures.
    Raises:  SettingError, SpecError, DataError, InputError, RadiusError, ModelError: each says what to change.
    """
    _check(models, data, balls, attacks, batch_size)
    plan = {ball: [a if not isinstance(a, str) else build(a, ball) for a in attacks] for ball in balls}
    draw = draw and pictures.is_image(data.x)
    if draw:
        pictures.require_pillow()
    started, clock = datetime.now(UTC), time.monotonic()
    run = Running(
        data,
        target=target,
        noise=Noise(seed),
        batch_size=batch_size or _LARGEST_BATCH,
        limits=limits,
        draw=draw,
        progress=progress,
        total=len(models) * len(plan) * len(attacks) * len(data),
    )
    records = [run.model(i, name, model, plan) for i, (name, model) in enumerate(models.items())]
    about = DataRecord(
        name=data.name,
        fingerprint=data.fingerprint,
        rows=len(data),
        shape=list(data.x.shape[1:]),
        classes=list(data.classes),
    )
    told = [*run.findings, *findings.of_data(about)]
    told += [finding for record in records for finding in findings.of_model(record, about, target)]
    spec = {
        "models": list(models),
        "data": data.name,
        "rows": len(data),
        "attacks": [a if isinstance(a, str) else a.name for a in attacks],
        "threats": [ball.describe() for ball in balls],
        "target": target,
        "seed": seed,
    }
    record = RunRecord(
        spec=spec,
        command=command,
        data=about,
        models=records,
        findings=sorted(told, key=lambda f: ("error", "warning", "note").index(f.level)),
        environment=_environment(next(iter(models.values())).device),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
    )
    return Evaluated(record, run.files)


def _check(
    models: Mapping[str, Classifier],
    data: Dataset,
    balls: Sequence[Ball],
    attacks: Sequence[str | Attack],
    batch_size: int | None,
) -> None:
    if not models or not balls or not attacks:
        raise SettingError("an evaluation needs at least one model, one attack and one ball (norm and eps)")
    if not len(data):
        raise DataError(f"{data.name} has no rows; give at least one")
    if batch_size is not None and batch_size < 1:
        raise SettingError(f"batch_size={batch_size} must be >= 1, or None")
    for ball in balls:
        if isinstance(ball.eps, Tensor):
            raise SettingError("an evaluation needs one eps for each ball; give several balls for several radii")
        if math.isinf(ball.eps):
            raise SettingError(f"{ball!r} has no border; an evaluation needs a finite eps, in input units")
    low, high = float(data.x.min()), float(data.x.max())
    for name, model in models.items():
        if not model.bounds.lower <= low <= high <= model.bounds.upper:
            raise DataError(
                f"{data.name} runs from {low:g} to {high:g}, the inputs of {name} from {model.bounds.lower:g} to "
                f"{model.bounds.upper:g}; give Classifier the bounds of your inputs"
            )
    for attack in attacks:
        own = None if isinstance(attack, str) else getattr(attack, "ball", None)
        if own is not None and list(balls) != [own]:
            raise SettingError(f"{attack.name} has {own!r}, the evaluation {list(balls)!r}; give both the same ball")  # type: ignore[union-attr]


def _environment(device: torch.device) -> dict[str, str]:
    about: dict[str, Any] = {
        "saddlepoint": metadata.version("saddlepoint"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
    return {key: str(value) for key, value in about.items()}
