"""Whether the labels mean the same to the model and to the data."""

from collections.abc import Iterator

import torch
from torch import Tensor

from saddlepoint.evaluation.doctor.evidence import Cause, Gain, gain
from saddlepoint.evaluation.doctor.patient import Patient
from saddlepoint.evaluation.findings import missed
from saddlepoint.records import Finding

_CONSEQUENCE = "Right rows count as wrong and are not attacked: every accuracy is meaningless."


def beyond(patient: Patient) -> Iterator[Finding]:
    """Labels of classes that the model does not have."""
    k, low, high = patient.logits.shape[1], int(patient.y.min()), int(patient.y.max())
    if high < k:
        return
    shifted = low >= 1 and high == k
    yield patient.finding(
        "error",
        "The labels are shifted" if shifted else "Labels of classes that the model does not have",
        evidence=f"labels run from {low} to {high}, the model has classes 0 to {k - 1}",
        consequence="Rows of such a class can never be right.",
        remedy="Count classes from 0: y - 1." if shifted else "Give rows of the model's classes, or a model of all.",
    )


def absent(patient: Patient) -> Iterator[Finding]:
    """Classes that no row has, though there are enough rows for them."""
    lacking = missed(patient.labels.tolist(), patient.classes, patient.logits.shape[1])
    if lacking:
        yield patient.finding(
            "warning",
            "Classes are missing",
            evidence=lacking,
            consequence="Every number on these rows is that of these classes alone.",
            remedy="Shuffle the rows before they are saved, and cut them afterwards. If there are no others, say so.",
        )


def order(patient: Patient) -> Iterator[Cause]:
    """Labels that are shifted, or classes in another order."""
    logits, y = patient.logits, patient.y
    k, predicted = logits.shape[1], logits.argmax(1)
    if int((~patient.right).sum()) < 17 or bool((y >= k).any()):
        return
    shifts = [int(((predicted + s) % k == y).sum()) for s in range(1, k)] if k <= 1000 else []
    s = 1 + shifts.index(max(shifts)) if shifts else 0
    shifted = (predicted + s) % k
    meant, test = _learnt(predicted, y, k)
    if meant is not None:
        read = meant[predicted[test]]
        if int((read == y[test]).sum()) > int((shifted == y)[test].sum()):
            yield from _permuted(patient, read, test, meant)
            return
    found = gain(patient.right, shifted == y)
    if found.sure and _explained(found):
        by = s if s <= k // 2 else s - k
        finding = patient.finding(
            "error",
            "The labels are shifted",
            evidence=f"with the labels y {'-' if by > 0 else '+'} {abs(by)}, {found}",
            consequence=_CONSEQUENCE,
            remedy=f"Shift the labels by {-by}: classes are counted from 0, in the order of the logits.",
        )
        yield Cause(found.accuracy, finding)


def _learnt(predicted: Tensor, y: Tensor, k: int) -> tuple[Tensor | None, Tensor]:
    """What each of the model's classes (k,) means, learnt on one half of the rows, and the places of the other half.

    None if two classes mean the same.
    """
    halves = torch.randperm(len(predicted), generator=torch.Generator().manual_seed(0)).to(predicted.device)
    fit, test = halves.chunk(2)
    table = torch.zeros(k * k, device=predicted.device, dtype=torch.int64)
    table.scatter_add_(0, predicted[fit] * k + y[fit], torch.ones_like(fit))
    most, meant = table.view(k, k).max(1)
    meant = torch.where(most > 0, meant, torch.arange(k, device=predicted.device))
    one_to_one = len(meant[most > 0].unique()) == int((most > 0).sum())
    return (meant if one_to_one else None), test


def _permuted(patient: Patient, read: Tensor, test: Tensor, meant: Tensor) -> Iterator[Cause]:
    """The other half of the rows, read in the order that was learnt."""
    found = gain(patient.right[test], read == patient.y[test])
    if found.sure and _explained(found):
        moved = (meant != torch.arange(len(meant), device=meant.device)).nonzero().squeeze(1)[:5].tolist()
        pairs = ", ".join(f"{i} means {int(meant[i])}" for i in moved)
        finding = patient.finding(
            "error",
            "The classes are in another order",
            evidence=f"where the model says class {pairs}; read so, {found}",
            consequence=_CONSEQUENCE,
            remedy="Put the labels, or the logits, into the order of the other: compare the two lists of class names.",
        )
        yield Cause(found.accuracy, finding)


def _explained(found: Gain) -> bool:
    """Whether half of the wrong rows are mended: unlike inputs, labels mend all or nothing."""
    return 2 * (found.after - found.before) >= found.rows - found.before


def chance(patient: Patient) -> Iterator[Finding]:
    """Accuracy that guessing would reach."""
    k, right = patient.logits.shape[1], int(patient.right.sum())
    if right <= len(patient.y) * (1 / k + min(0.5 / k, 0.1)):
        yield patient.finding(
            "warning",
            "Clean accuracy is close to chance",
            evidence=f"{right} of {len(patient.y)} rows are right, {k} classes",
            consequence="There is nothing to attack: rows that are wrong when clean are neither fooled nor robust.",
            remedy="Check the weights, the input range, the normalisation and the order of the labels.",
        )
