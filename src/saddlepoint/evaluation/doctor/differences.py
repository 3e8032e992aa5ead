"""Whether gradients are those of the logits: finite differences along random directions and along the gradient."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from saddlepoint.errors import ModelError
from saddlepoint.evaluation.doctor.patient import Patient
from saddlepoint.noise import Noise
from saddlepoint.records import Finding

STEPS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Sizes of the steps in Linf, as shares of the width of the bounds."""

_ROUNDING = 1e-5  # of the size of the logits: differences below ten times that say nothing
_ENOUGH = 8  # rows that must say something
_AGREE, _DISAGREE = 0.9, 0.5  # cosines


@final
@dataclass(frozen=True)
class Agreement:
    """How the change of the logits that gradients predict agrees with the one that is measured, at one step size.

    ``cosine`` and ``slope`` (measured over predicted) over ``rows`` rows and all directions;  ``moved``: rows whose
    logits change at all.
    """

    step: float
    cosine: float
    slope: float
    rows: int
    moved: int


def slopes(patient: Patient) -> Iterator[Finding]:
    """Gradients that point elsewhere, and logits that are constant in pieces."""
    if patient.random or not bool(patient.finite.all()):
        return
    try:
        found = agreements(patient)
    except ModelError:  # no backward pass: told elsewhere
        return
    sound = [each for each in found if each.rows >= _ENOUGH]
    if not sound:
        return
    best, finest = max(sound, key=lambda each: each.cosine), sound[0]
    if best.cosine < _DISAGREE or not 0.5 < best.slope < 2:
        yield patient.finding(
            "error",
            "The gradients are wrong",
            evidence=f"small steps change the logits of {best.rows} rows by {best.slope:.3g} times what the gradients "
            f"predict, at a cosine of {best.cosine:.2f}, at best (steps of {_sizes(sound)} of the width)",
            consequence="Attacks that follow these gradients go astray, and the model looks robust.",
            remedy="Look for functions with a backward pass of their own, detach(), or gradients that are blurred.",
        )
    elif finest.cosine < _DISAGREE and best.cosine > _AGREE and best.step > finest.step and not patient.coarse:
        yield patient.finding(
            "warning",
            "The logits are constant in pieces",
            evidence=f"steps of {best.step:g} of the width change the logits as the gradients predict (cosine "
            f"{best.cosine:.2f}), steps of {finest.step:g} do not ({finest.cosine:.2f}; {finest.moved} of "
            f"{patient.few} rows move)",
            consequence="The gradients are those of another, smooth model: small steps of an attack do nothing.",
            remedy="Attack the model without the rounding of its inputs, and judge on the model with it.",
        )


def agreements(patient: Patient) -> list[Agreement]:
    """Predicted and measured changes on a few rows, moved into the middle of the box so that no step leaves it."""
    bounds = patient.model.bounds
    x = bounds.lower + 0.1 * bounds.width + 0.8 * (patient.x[: patient.few] - bounds.lower)
    grads = patient.backward(x, patient.y[: patient.few])
    if not grads.attached:
        return []
    ways = [Noise(1).normal(x, draw).sign() for draw in range(2)] + [grads.of_logits.sign()]
    here = patient.ask(x)
    size = _ROUNDING * (grads.weights * here).abs().sum(1).double()
    predicted = torch.stack([(grads.of_logits.double() * way).flatten(1).sum(1) for way in ways])
    found = []
    for step in STEPS:
        h = step * bounds.width
        ends = [(patient.ask(x + h * way), patient.ask(x - h * way)) for way in ways]
        measured = torch.stack([((up - down).double() * grads.weights).sum(1) / 2 for up, down in ends])
        moved = torch.stack([(up != here).any(1) | (down != here).any(1) for up, down in ends]).any(0)
        found.append(_compare(step, h * predicted, measured, size, int(moved.sum())))
    return found


def _compare(step: float, predicted: Tensor, measured: Tensor, noise: Tensor, moved: int) -> Agreement:
    """Over the rows (n,) where a change (d, n) is well above rounding, each scaled to its largest change."""
    largest = torch.maximum(predicted.abs(), measured.abs()).amax(0)
    told = (largest > 10 * noise) & largest.isfinite()
    p, m = (change[:, told] / largest[told] for change in (predicted, measured))
    product, square, own = (p * m).sum(), (p * p).sum(), (m * m).sum()
    if not float(square) or not float(own):
        return Agreement(step, 0.0, 0.0, int(told.sum()), moved)
    return Agreement(step, float(product / (square * own).sqrt()), float(product / square), int(told.sum()), moved)


def _sizes(found: list[Agreement]) -> str:
    return f"{found[0].step:g} to {found[-1].step:g}"
