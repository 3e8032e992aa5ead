"""Attack every row, judge every answer, count."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, final

import torch
from torch import Tensor, nn

from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import DataError, SettingError
from saddlepoint.evaluation import findings, pictures, targets
from saddlepoint.evaluation.stats import wilson
from saddlepoint.evaluation.suites import DEFAULT, build, settings
from saddlepoint.evaluation.verify import judge
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.records import (
    FOOLED,
    HELD,
    UNDEFINED,
    WRONG,
    AttackRecord,
    DataRecord,
    Finding,
    ModelRecord,
    RunRecord,
    ThreatRecord,
)
from saddlepoint.result import AttackResult
from saddlepoint.solve import Attack

Progress = Callable[[int, int, str], None]
"""Called with (rows done, rows in all, what is running)."""

_LARGEST_BATCH = 512
_KEPT_SAMPLES = 64


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
    draw = draw and pictures.is_image(data.x)
    if draw:
        pictures.require_pillow()
    started, clock = datetime.now(UTC), time.monotonic()
    run = _Run(data, target, Noise(seed), batch_size or _LARGEST_BATCH, limits, progress, draw)
    run.total = len(models) * len(balls) * len(attacks) * len(data)
    plan = {ball: [a if not isinstance(a, str) else build(a, ball) for a in attacks] for ball in balls}
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


class _Run:
    """The state of one evaluation."""

    def __init__(
        self,
        data: Dataset,
        target: str,
        noise: Noise,
        batch_size: int,
        limits: Limits,
        progress: Progress | None,
        draw: bool,
    ) -> None:
        self.data, self.target, self.noise, self.batch_size, self.limits = data, target, noise, batch_size, limits
        self.progress, self.draw = progress, draw
        self.done = self.total = 0
        self.files: dict[str, bytes] = {}
        self.findings: list[Finding] = []

    def model(self, i: int, name: str, model: Classifier, plan: Mapping[Ball, Sequence[Attack]]) -> ModelRecord:
        data = self.data
        self.findings += findings.of_outputs(name, model, data.x[:16].to(model.device))
        clean, predicted = self._clean(model)
        right = torch.tensor([letter == HELD for letter in clean])
        threats = []
        for j, (ball, attacks) in enumerate(plan.items()):
            outcomes = [self._attack(name, model, attack, ball, clean, predicted, right) for attack in attacks]
            verdicts = "".join(_worst(letters) for letters in zip(*(r.verdicts for r, _ in outcomes), strict=True))
            strongest, samples = min(outcomes, key=lambda o: (o[0].robust.count, o[0].name))
            shown, files = pictures.draw(
                pictures.choose(samples), strongest.name, _names(data, model), model.bounds, f"{i}-{j}"
            )
            self.files.update(files)
            threats.append(
                ThreatRecord(
                    norm=ball.norm,
                    eps=float(ball.eps),
                    attacks=[r for r, _ in outcomes],
                    worst=wilson(verdicts.count(HELD), len(data)),
                    verdicts=verdicts,
                    pictures=shown,
                )
            )
        module = model.module
        return ModelRecord(
            name=name,
            fingerprint=model.fingerprint,
            parameters=sum(p.numel() for p in module.parameters()) if isinstance(module, nn.Module) else 0,
            classes=model.num_classes or 0,
            bounds=(model.bounds.lower, model.bounds.upper),
            clean=wilson(clean.count(HELD), len(data)),
            threats=threats,
        )

    def _clean(self, model: Classifier) -> tuple[str, Tensor]:
        """One letter per row (held means right), and the predicted classes."""
        letters, predicted = [], []
        for rows in torch.arange(len(self.data)).split(self.batch_size):
            x, y = self.data.x[rows].to(model.device), self.data.y[rows].to(model.device)
            verdict = judge(model, x, x, y, None, norm=None, eps=0.0)
            letters += _letters(verdict.fooled, verdict.undefined, fooled=WRONG)
            predicted.append(verdict.predicted.cpu())
        return "".join(letters), torch.cat(predicted)

    def _attack(
        self,
        name: str,
        model: Classifier,
        attack: Attack,
        ball: Ball,
        clean: str,
        predicted: Tensor,
        right: Tensor,
    ) -> tuple[AttackRecord, list[pictures.Sample]]:
        """Run one attack on the rows that are right when clean."""
        letters, distances = list(clean), []
        samples: list[pictures.Sample] = []
        forwards = backwards = unconfirmed = strayed = 0
        clock, index = time.monotonic(), right.nonzero().squeeze(1)
        self.done += len(self.data) - len(index)
        start = 0
        while start < len(index):
            rows = index[start : start + self.batch_size]
            result, x, y, target = self._batch(model, attack, rows)
            if result is None:
                continue
            start += len(rows)
            verdict = judge(model, x, result.x, y, target, norm=ball.norm, eps=float(ball.eps))
            vacuous = torch.zeros_like(y, dtype=torch.bool) if target is None else target == y
            fooled = verdict.fooled & ~vacuous
            undefined = verdict.undefined | (result.undefined & ~fooled)
            for row, letter in zip(rows.tolist(), _letters(fooled, undefined, fooled=FOOLED), strict=True):
                letters[row] = letter
            forwards, backwards = forwards + int(result.forwards.sum()), backwards + int(result.backwards.sum())
            unconfirmed += int((result.success & ~verdict.fooled).sum())
            strayed += int(verdict.outside.sum())
            distances.append(result.distance[fooled].cpu())
            if self.draw and len(samples) < _KEPT_SAMPLES:
                samples += _samples(self.data, predicted, rows, x, y, result, fooled, verdict.predicted)
            self._tell(len(rows), f"{name}  {attack.name}  {ball.norm} {float(ball.eps):g}")
        self._confirm(name, attack, unconfirmed, strayed)
        record = AttackRecord(
            name=attack.name,
            settings=settings(attack),
            robust=wilson(letters.count(HELD), len(letters)),
            fooled=letters.count(FOOLED),
            undefined=letters.count(UNDEFINED),
            attacked=len(index),
            forwards=forwards,
            backwards=backwards,
            distance=_median(distances),
            verdicts="".join(letters),
            seconds=round(time.monotonic() - clock, 3),
        )
        return record, samples

    def _batch(
        self, model: Classifier, attack: Attack, rows: Tensor
    ) -> tuple[AttackResult | None, Tensor, Tensor, Tensor | None]:
        """One batch; None after halving the batch size because memory did not suffice."""
        data = self.data
        x, y = data.x[rows].to(model.device), data.y[rows].to(model.device)
        ids = data.rows[rows].to(model.device)
        try:
            target = targets.choose(self.target, model, x, y, self.noise.at(ids))
            noise = self.noise.child(attack.name).at(ids)
            return attack(model, x, y, target=target, noise=noise, limits=self.limits), x, y, target
        except (torch.OutOfMemoryError, MemoryError):
            if self.batch_size == 1:
                raise
            self.batch_size = max(1, self.batch_size // 2)
            return None, x, y, None

    def _tell(self, rows: int, what: str) -> None:
        self.done += rows
        if self.progress is not None:
            self.progress(self.done, self.total, what)

    def _confirm(self, name: str, attack: Attack, unconfirmed: int, strayed: int) -> None:
        if unconfirmed:
            self.findings.append(
                Finding(
                    level="warning",
                    title="Claims that were not confirmed",
                    evidence=f"{unconfirmed} rows that {attack.name} calls fooled are not, asked again",
                    remedy="They count as held. The model may be random, or depend on who shares the batch.",
                    model=name,
                )
            )
        if strayed:
            self.findings.append(
                Finding(
                    level="error",
                    title="Points outside ball or box",
                    evidence=f"{strayed} points that {attack.name} returned",
                    remedy="They count as undefined. Mend the attack.",
                    model=name,
                )
            )


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
    for attack in attacks:
        own = None if isinstance(attack, str) else getattr(attack, "ball", None)
        if own is not None and list(balls) != [own]:
            raise SettingError(f"{attack.name} has {own!r}, the evaluation {list(balls)!r}; give both the same ball")  # type: ignore[union-attr]


def _letters(hit: Tensor, undefined: Tensor, *, fooled: str) -> list[str]:
    pairs = zip(hit.tolist(), undefined.tolist(), strict=True)
    return [UNDEFINED if u else fooled if h else HELD for h, u in pairs]


def _worst(letters: tuple[str, ...]) -> str:
    """Wrong when clean, else fooled by any, else undefined under any, else held."""
    return next((letter for letter in (WRONG, FOOLED, UNDEFINED) if letter in letters), HELD)


def _samples(
    data: Dataset,
    predicted: Tensor,
    rows: Tensor,
    x: Tensor,
    y: Tensor,
    result: AttackResult,
    fooled: Tensor,
    said: Tensor,
) -> list[pictures.Sample]:
    """The first fooled rows of a batch, for pictures."""
    return [
        pictures.Sample(
            row=int(data.rows[rows[i]]),
            y=int(y[i]),
            clean_prediction=int(predicted[rows[i]]),
            adversarial_prediction=int(said[i]),
            distance=float(result.distance[i]),
            x0=x[i].cpu(),
            x=result.x[i].cpu(),
        )
        for i in fooled.nonzero().squeeze(1).tolist()[:_KEPT_SAMPLES]
    ]


def _median(distances: list[Tensor]) -> float | None:
    every = torch.cat(distances) if distances else torch.empty(0)
    return float(every.median()) if len(every) else None


def _names(data: Dataset, model: Classifier) -> list[str]:
    k = model.num_classes or len(data.classes)
    return [*data.classes, *(str(i) for i in range(len(data.classes), k))]


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
