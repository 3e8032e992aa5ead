"""Whether gradients are those of the logits: finite differences along random directions and along it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from saddlepoint.errors import ModelError
from saddlepoint.evaluation.doctor.patient import Patient, exact
from saddlepoint.noise import Noise
from saddlepoint.records import Finding

STEPS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Sizes of the steps in Linf, as shares of the width of the bounds."""

_ROUNDING = 1e-5  # of the size of the logits: differences below ten times that say nothing
_ENOUGH = 8  # rows that must say something
_DISAGREE = 0.5  # cosine
_STUCK = 0.5  # share of rows
_HEARD = 0.1  # of what the other features do
TINY = (1e-6, 1e-5, 1e-4)
"""Steps that should move the logits of a smooth model by a little more than rounding: the first that does is taken."""


@final
@dataclass(frozen=True)
class Agreement:
    """How the change of the logits that gradients predict agrees with the one that is measured, at one step size.

    ``cosine`` and ``slope`` (measured over predicted) over ``rows`` rows and all directions.
    """

    step: float
    cosine: float
    slope: float
    rows: int


class Stuck(NamedTuple):
    """Of ``rows`` rows, how many stay where they are under a step."""

    step: float
    still: int
    rows: int

    @property
    def share(self) -> float:
        return self.still / max(1, self.rows)


def steps(patient: Patient) -> Iterator[Finding]:
    """Logits that are constant in pieces, or else gradients that are not theirs, or not those of every feature."""
    yield from list(pieces(patient)) or list(slopes(patient)) or unheard(patient)


def slopes(patient: Patient) -> Iterator[Finding]:
    """Gradients that point elsewhere, and logits that are constant in pieces."""
    if not bool(patient.finite.all()):
        return
    try:
        with exact(patient.model.device):
            found = agreements(patient)
    except ModelError:  # no backward pass: told elsewhere
        return
    sound = [each for each in found if each.rows >= _ENOUGH]
    if not sound:
        return
    best = max(sound, key=lambda each: each.cosine)
    if best.cosine < _DISAGREE or not 0.5 < best.slope < 2:
        yield patient.finding(
            "error",
            "The gradients are wrong",
            evidence=f"small steps change the logits of {best.rows} rows by {best.slope:.3g} times what the gradients "
            f"predict, at a cosine of {best.cosine:.2f}, at best (steps of {_sizes(sound)} of the width)",
            consequence="Attacks that follow these gradients go astray, and the model looks robust.",
            remedy="Look for functions with a backward pass of their own, detach(), or gradients that are blurred.",
        )


def unheard(patient: Patient) -> Iterator[Finding]:
    """Features that have no gradient in any row, though small steps of them alone move the logits.

    Along the sign of the gradient such features stand still, and so :func:`slopes` may not see them.
    """
    if patient.coarse or not bool(patient.finite.all()):
        return
    x = _inner(patient)
    try:
        grads = patient.backward(x, patient.y[: patient.few])
    except ModelError:
        return
    without = (grads.of_logits == 0).all(0)
    if not bool(without.any()) or bool(without.all()):  # none is told elsewhere
        return
    with exact(patient.model.device):
        here = patient.ask(x)
        size = 10 * _ROUNDING * (grads.weights * here).abs().sum(1).double()
        for step in STEPS[1:3]:  # a longer one may wake what rests, such as a rectifier at an edge that is always dark
            way = step * patient.model.bounds.width * Noise(1).normal(x, 0).sign()
            theirs, others = (
                ((patient.ask(x + way * part) - here).double() * grads.weights).sum(1).abs()
                for part in (without, ~without)
            )
            told = int((theirs > size).sum())
            if told > len(x) / 2 and float(theirs.median()) > _HEARD * float(others.median()):
                share = float(without.double().mean())
                yield patient.finding(
                    "error",
                    "Features have no gradient",
                    evidence=f"{100 * share:.3g} % of the input features have a gradient of exactly zero in all "
                    f"{len(x)} rows, but a step of {step:g} of the width in these alone moves the logits of {told}",
                    consequence="Attacks that follow gradients leave these features as they are: the model looks "
                    "robust.",
                    remedy="Look for detach(), indexing of copies, or rounding on a part of the input; or declare a "
                    "surrogate with Classifier.prepend.",
                )
                return


def pieces(patient: Patient) -> Iterator[Finding]:
    """Logits that a tiny step along the gradient leaves as they are, bit for bit."""
    if patient.coarse or not bool(patient.finite.all()):
        return
    try:
        with exact(patient.model.device) as sure:
            if not sure:
                return
            stuck = max(
                (_stuck(patient, x) for x in (patient.x[: patient.few], _inner(patient))), key=lambda s: s.share
            )
    except ModelError:
        return
    if stuck.share > _STUCK:
        yield patient.finding(
            "warning",
            "The logits are constant in pieces",
            evidence=f"a step of {stuck.step:g} of the width along the gradient leaves the logits of {stuck.still} of "
            f"{stuck.rows} rows exactly as they are, although the gradient is not zero",
            consequence="The gradients are those of another, smooth model: small steps of an attack do nothing.",
            remedy="Attack the model without its rounding, judge it with, and try attacks without gradients.",
        )


def _stuck(patient: Patient, x: Tensor) -> Stuck:
    """The shortest step along the gradient that float32 must notice in enough rows, and the rows that do not move."""
    grads, found = patient.backward(x, patient.y[: len(x)]), Stuck(0.0, 0, 0)
    slope = grads.of_logits.double().abs().flatten(1).sum(1)
    here = patient.ask(x)
    size = (grads.weights * here).abs().sum(1).double()
    for step in TINY:
        h = step * patient.model.bounds.width
        told = h * slope > 10 * torch.finfo(here.dtype).eps * size
        if int(told.sum()) < min(_ENOUGH, len(x)):
            continue
        way = h * grads.of_logits.sign()
        still = (patient.ask(x + way) == here).all(1) & (patient.ask(x - way) == here).all(1)
        found = Stuck(step, int((still & told).sum()), int(told.sum()))
        break
    return found


def agreements(patient: Patient) -> list[Agreement]:
    """Predicted and measured changes on a few rows, moved into the middle of the box so that no step leaves it."""
    bounds, x = patient.model.bounds, _inner(patient)
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
        found.append(_compare(step, h * predicted, measured, size))
    return found


def _inner(patient: Patient) -> Tensor:
    """The first rows, moved towards the middle of the box by a fifth."""
    bounds = patient.model.bounds
    return bounds.lower + 0.1 * bounds.width + 0.8 * (patient.x[: patient.few] - bounds.lower)


def _compare(step: float, predicted: Tensor, measured: Tensor, noise: Tensor) -> Agreement:
    """Over the changes (d, n) that are well above rounding, each scaled by the larger of the two."""
    largest = torch.maximum(predicted.abs(), measured.abs())
    told = (largest > 10 * noise) & largest.isfinite() & (predicted != 0).any(0)  # zero gradients are told elsewhere
    p, m = (change[told] / largest[told] for change in (predicted, measured))
    product, square, own = (p * m).sum(), (p * p).sum(), (m * m).sum()
    rows = int(told.any(0).sum())
    if not float(square) or not float(own):
        return Agreement(step, 0.0, 0.0, rows)
    return Agreement(step, float(product / (square * own).sqrt()), float(product / square), rows)


def _sizes(found: list[Agreement]) -> str:
    return f"{found[0].step:g} to {found[-1].step:g}"
