"""Every check on one model: the whole examination, and the short one that goes before an evaluation."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ModelError, SaddlepointError
from saddlepoint.evaluation.doctor import differences, gradients, inputs, labels, outputs, precision
from saddlepoint.evaluation.doctor.patient import Patient, untouched
from saddlepoint.records import Finding

Check = Callable[[Patient], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "filled bounds": inputs.filling,
    "inputs not normalised": inputs.standard,
    "input in place": outputs.in_place,
    "finite outputs": outputs.finite,
    "logits and mode": outputs.scale_and_mode,
    "squashed outputs": outputs.squashed,
    "batch": outputs.company,
    "labels in range": labels.beyond,
    "order of labels": labels.order,
    "range, normalisation, channels, layout": inputs.preparation,
    "accuracy above chance": labels.chance,
    "gradients": gradients.alive,
    "finite differences": differences.slopes,
    "16 bits": precision.bits,
    "rounding": precision.rounding,
    "TF32": precision.tf32,
}
"""Every check, by the name that the healthy line gives it, in order."""

SHORT: Sequence[Check] = (
    inputs.filling,
    outputs.squashed,
    outputs.company,
    labels.order,
    gradients.alive,
    precision.bits,
)
"""Those that an evaluation runs first: a few passes of a few rows."""

_GLANCE, _LOW = 64, 0.5
_MOST, _LEAST, _WARM = 512, 64, 16
_SECONDS, _PASSES = 30.0, 30  # for the whole examination, and how often each row goes through the model in it
_CAUSES = (labels.beyond, labels.order, inputs.preparation)


@final
@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What an examination found.

    Attributes:
        model, data: their names;  rows: how many were looked at;  seconds: that it took.
        findings: errors first; none if nothing was found.
        checks: the names of the checks that ran.
    """

    model: str
    data: str
    rows: int
    findings: list[Finding]
    checks: list[str]
    seconds: float

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_json(self) -> str:
        """Strict JSON, ending in a newline."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def examine(name: str, model: Classifier, data: Dataset, rows: int | None = None) -> Checkup:
    """Run every check on a model; nothing of it is changed and nothing counted.

    Args:  rows: of the data, evenly spread; None takes 64 to 512, as many as about half a minute allows.
    """
    start, ran, found = time.monotonic(), [], list[Finding]()
    with untouched(model):
        try:
            patient = Patient.of(name, model, data, rows or _affordable(model, data))
            patient.logits  # noqa: B018 (asked here: a model that fails is told by how)
        except SaddlepointError as error:
            patient = Patient.of(name, model, data, rows or _LEAST)
            found += [*inputs.filling(patient), *inputs.refusal(patient, error)]
            return _checkup(patient, data, found, ["the model runs"], start)
        explained = False
        for title, check in CHECKS.items():
            if check is labels.chance and explained:
                continue
            new = list(_told(check, patient))
            explained = explained or (check in _CAUSES and bool(new))
            found += new
            ran.append(title)
    return _checkup(patient, data, found, ran, start)


def glance(name: str, model: Classifier, data: Dataset) -> list[Finding]:
    """The short examination; the inputs' preparation is looked into only if the model is wrong on most rows.

    What depends on time is in no finding: the same model and data give the same list.
    """
    with untouched(model):
        patient = Patient.of(name, model, data, _GLANCE)
        try:
            accuracy = float(patient.right.double().mean())
        except ModelError:  # told by whoever asks next
            return []
        k = patient.logits.shape[1]
        low = accuracy < _LOW or accuracy <= 1.5 / k
        checks = [*SHORT, inputs.preparation] if low else SHORT
        return [finding for check in checks for finding in _told(check, patient)]


def _told(check: Check, patient: Patient) -> Iterator[Finding]:
    """What a check finds; that the model fails in it is a finding, too."""
    try:
        yield from check(patient)
    except ModelError as error:
        yield from inputs.refusal(patient, error)


def _affordable(model: Classifier, data: Dataset) -> int:
    """How many rows the time allows, by a pass of a few."""
    x = data.x[:_WARM].to(model.device)
    patient = Patient(name="", model=model.uncounted(), x=x, y=data.y[:_WARM].to(model.device), classes=1)
    _value(patient.logits)  # the first pass is slower
    start = time.monotonic()
    _value(patient.again)
    each = (time.monotonic() - start) / len(x)
    return int(min(max(_SECONDS / (_PASSES * max(each, 1e-9)), _LEAST), _MOST))


def _value(logits: Tensor) -> float:
    """Waits for the device."""
    return float(logits.sum())


def _checkup(patient: Patient, data: Dataset, found: list[Finding], ran: list[str], start: float) -> Checkup:
    return Checkup(
        model=patient.name,
        data=data.name,
        rows=len(patient.x),
        findings=sorted(found, key=lambda f: ("error", "warning", "note").index(f.level)),
        checks=ran,
        seconds=round(time.monotonic() - start, 3),
    )
