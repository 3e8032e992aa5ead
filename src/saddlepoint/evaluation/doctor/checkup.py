"""Every check on one model: the whole examination, and the short one that goes before an evaluation."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import final

from torch import Tensor

from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ModelError, SaddlepointError
from saddlepoint.evaluation.doctor import differences, front, gradients, inputs, labels, outputs, precision
from saddlepoint.evaluation.doctor.evidence import Cause
from saddlepoint.evaluation.doctor.patient import Patient, untouched
from saddlepoint.records import Finding

Check = Callable[[Patient], Iterator[Finding]]


def _likeliest(causes: Iterator[Cause]) -> Iterator[Finding]:
    """The cause that makes the model right most often: classes in another order can look like other channels."""
    yield from (cause.finding for cause in sorted(causes, key=lambda cause: -cause.accuracy)[:1])


def order_of_classes(patient: Patient) -> Iterator[Finding]:
    """Labels in another order."""
    yield from _likeliest(labels.order(patient))


def preparation(patient: Patient) -> Iterator[Finding]:
    """Labels in another order, or inputs prepared in another way."""
    yield from _likeliest(chain(labels.order(patient), inputs.preparation(patient)))


CHECKS: dict[str, Check] = {
    "filled bounds": inputs.filling,
    "inputs not normalised": inputs.standard,
    "input in place": outputs.in_place,
    "finite outputs": outputs.finite,
    "logits and mode": outputs.scale_and_mode,
    "squashed outputs": outputs.squashed,
    "batch": outputs.company,
    "labels in range": labels.beyond,
    "classes present": labels.absent,
    "normalised once": inputs.twice,
    "preparation of inputs and labels": preparation,
    "gradients": gradients.alive,
    "finite differences": differences.steps,
    "16 bits": precision.bits,
    "rounding": precision.rounding,
    "TF32": precision.tf32,
    "accuracy behind transforms": front.spoiling,
    "accuracy above chance": labels.chance,
}
"""Every check, by the name that the healthy line gives it, in order."""

SHORT: Sequence[Check] = (
    inputs.filling,
    inputs.twice,
    outputs.squashed,
    outputs.company,
    order_of_classes,
    gradients.alive,
    precision.bits,
    front.spoiling,
)
"""Those that an evaluation runs first: a few passes of a few rows."""

_GLANCE, _LOW = 64, 0.5
_MOST, _LEAST, _WARM = 512, 64, 16
_SECONDS, _PASSES = 20.0, 30  # for the whole examination, and how often each row goes through the model in it
_EFFECTS = (preparation, order_of_classes, labels.chance)  # wrong rows, which any other error may have caused
_STEADY = (outputs.company, differences.steps, precision.rounding, precision.tf32)


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

    Args:  rows: of the data, from all over it; None takes 64 to 512, as many as about twenty seconds allow.
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
        for title, check in CHECKS.items():
            if _applies(check, patient, found):
                found += _told(check, patient)
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
        checks = [preparation if low and check is order_of_classes else check for check in SHORT]
        found: list[Finding] = []
        for check in checks:
            found += _told(check, patient) if _applies(check, patient, found) else []
        return found


def _applies(check: Check, patient: Patient, before: Sequence[Finding]) -> bool:
    """Whether a check could say something: not of what an error explains, what is not there, or changes by itself."""
    if check in _EFFECTS and any(finding.level == "error" for finding in before):
        return False
    if check is front.spoiling and not patient.model.stages:
        return False
    if check is precision.tf32 and patient.model.device.type != "cuda":
        return False
    return not (check in _STEADY and patient.random)


def _told(check: Check, patient: Patient) -> list[Finding]:
    """What a check finds; that the model fails in it is a finding, too."""
    try:
        return list(check(patient))
    except ModelError as error:
        return list(inputs.refusal(patient, error))


def _affordable(model: Classifier, data: Dataset) -> int:
    """How many rows the time allows, by a pass of a few."""
    patient = Patient.of("", model, data[:_WARM], _WARM)
    _value(patient.logits)  # the first pass is slower
    start = time.monotonic()
    _value(patient.again)
    each = (time.monotonic() - start) / len(patient.x)
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
