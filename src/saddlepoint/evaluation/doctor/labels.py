"""Whether the labels mean the same to the model and to the data."""

from collections.abc import Iterator

import torch
from torch import Tensor

from saddlepoint.evaluation.doctor.evidence import Cause, gain
from saddlepoint.evaluation.doctor.patient import Patient
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


def order(patient: Patient) -> Iterator[Cause]:
    """Labels that are shifted, or classes in another order."""
    logits, y = patient.logits, patient.y
    k, predicted = logits.shape[1], logits.argmax(1)
    if int((~patient.right).sum()) < 17 or bool((y >= k).any()):
        return
    shifts = [int(((predicted + s) % k == y).sum()) for s in range(1, k)] if k <= 1000 else []
    s = 1 + shifts.index(max(shifts)) if shifts else 0
    shifted = gain(patient.right, (predicted + s) % k == y)
    if s and shifted.sure and 2 * (shifted.after - shifted.before) >= shifted.rows - shifted.before:
        by = s if s <= k // 2 else s - k
        finding = patient.finding(
            "error",
            "The labels are shifted",
            evidence=f"with the labels y {'-' if by > 0 else '+'} {abs(by)}, {shifted}",
            consequence=_CONSEQUENCE,
            remedy=f"Shift the labels by {-by}: classes are counted from 0, in the order of the logits.",
        )
        yield Cause(shifted.accuracy, finding)
        return
    yield from _permuted(patient, predicted, k)


def _permuted(patient: Patient, predicted: Tensor, k: int) -> Iterator[Cause]:
    """The order is learnt on one half of the rows, drawn at random but always the same, and tried on the other."""
    halves = torch.randperm(len(predicted), generator=torch.Generator().manual_seed(0)).to(predicted.device)
    fit, test = halves.chunk(2) if len(halves) > 1 else (halves, halves)
    table = torch.zeros(k * k, device=predicted.device).scatter_add_(
        0, predicted[fit] * k + patient.y[fit], torch.ones_like(predicted[fit], dtype=torch.float32)
    )
    most, meant = table.view(k, k).max(1)
    own = torch.arange(k, device=predicted.device)
    meant = torch.where(most > 0, meant, own)
    one_to_one = len(meant[most > 0].unique()) == int((most > 0).sum())
    found = gain(patient.right[test], meant[predicted[test]] == patient.y[test])
    mended = 2 * (found.after - found.before) >= found.rows - found.before
    if one_to_one and found.sure and mended:
        moved = (meant != own).nonzero().squeeze(1)[:5].tolist()
        pairs = ", ".join(f"{i} means {int(meant[i])}" for i in moved)
        finding = patient.finding(
            "error",
            "The classes are in another order",
            evidence=f"where the model says class {pairs}; read so, {found}",
            consequence=_CONSEQUENCE,
            remedy="Put the labels, or the logits, into the order of the other: compare the two lists of class names.",
        )
        yield Cause(found.accuracy, finding)


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
