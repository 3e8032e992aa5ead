"""Whether the outputs are logits, of one row each, the same each time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from saddlepoint.errors import ModelError, shown
from saddlepoint.evaluation.doctor.patient import Patient
from saddlepoint.evaluation.findings import of_logits
from saddlepoint.records import Finding

_CHUNK = 64
_MANY = 100  # outputs; fewer may lie anywhere by chance
_ALONE = 8  # rows that are asked one by one
_ROUNDING, _COARSE = 0.01, 0.1  # of the spread of the logits, in 32 bits (or TF32) and in 16


def finite(patient: Patient) -> Iterator[Finding]:
    """Outputs that are NaN or infinite on clean rows."""
    spoiled = int((~patient.finite).sum())
    if spoiled:
        yield patient.finding(
            "error",
            "The outputs are not finite",
            evidence=f"{spoiled} of {len(patient.x)} clean rows give NaN or infinity",
            consequence="Such rows are undefined, neither fooled nor robust: no number with them can be cited.",
            remedy="Find the division, logarithm or overflow that they come from.",
        )


def scale_and_mode(patient: Patient) -> Iterator[Finding]:
    """Probabilities in place of logits, random outputs, training mode: the findings of an evaluation."""
    yield from of_logits(patient.name, patient.logits, patient.again)
    if not patient.random and patient.training is not None:
        few = patient.logits[: len(patient.training)]
        yield from (f for f in of_logits(patient.name, few, few, patient.training) if "mode" in f.title)


def squashed(patient: Patient) -> Iterator[Finding]:
    """Outputs pressed into an interval, and piling up at its ends: sigmoid, tanh."""
    z = patient.logits
    if z.numel() < _MANY:
        return
    for low, high, name in ((0.0, 1.0, "sigmoid"), (-1.0, 1.0, "tanh")):
        inside = bool(((z >= low) & (z <= high)).all())
        piled = float(((z - low < 0.01) | (high - z < 0.01)).double().mean())
        sums = bool(((z.sum(1) - 1).abs() < 1e-4).all())
        if inside and piled > 0.2 and bool((z > high - 0.1).any()) and not sums:
            yield patient.finding(
                "warning",
                "The outputs are squashed",
                evidence=f"all outputs on {len(z)} inputs lie in [{low:g}, {high:g}], "
                f"{100 * piled:.0f} % of them within 0.01 of an end",
                consequence="Where they are flat, gradients vanish, which weakens attacks.",
                remedy=f"Return what goes into the last {name}.",
            )
            return


def in_place(patient: Patient) -> Iterator[Finding]:
    """A model that writes into its input."""
    given = patient.x[: patient.few].clone()
    with torch.no_grad(), patient.model.frozen():
        patient.model.logits(given)
    if not torch.equal(given, patient.x[: patient.few]):
        changed = (given - patient.x[: patient.few]).abs().nan_to_num().max().item()
        yield patient.finding(
            "error",
            "The model changes its input in place",
            evidence=f"after one pass, {len(given)} inputs differ by up to {changed:.3g}",
            consequence="Every pass changes the point that is attacked: evaluations refuse such a model.",
            remedy="Write x = x - mean, not x -= mean, nor x.sub_(mean).",
        )


def company(patient: Patient) -> Iterator[Finding]:
    """Logits of a row that depend on the rows beside it: alone, in another order, among others."""
    if len(patient.x) < 2:
        return
    z, x = patient.logits[: patient.few], patient.x[: patient.few]
    n = len(x)
    order = torch.arange(n - 1, -1, -1, device=x.device)
    try:
        alone = patient.ask(x[:_ALONE], chunk=1)
    except ModelError as error:
        yield patient.finding(
            "error",
            "The model fails on a single row",
            evidence=f"on {n} rows at once it does not; on one: {shown(error, 200)}",
            consequence="Attacks drop rows that are done: the last one left ends the evaluation with this error.",
            remedy="Call model.eval(), and take no squeeze() or mean over the axis of the rows.",
        )
        alone = z[:_ALONE]
    others = torch.cat([alone - z[:_ALONE], _among(patient, x[: n // 2]) - z[: n // 2], _turned(patient, x, order) - z])
    moved = others.abs().amax(1)
    off = moved > (_COARSE if patient.coarse else _ROUNDING) * patient.scale
    if bool(off.any()):
        yield patient.finding(
            "error",
            "Rows depend on who shares the batch",
            evidence=f"of {len(off)} looks at rows alone, in another half or order, {int(off.sum())} give "
            f"other logits, by up to {moved.nan_to_num().max().item():.3g}",
            consequence="An attack can fool a row through another one, and no verdict can be repeated.",
            remedy="Use the running statistics of batch normalisation (track_running_stats=True, eval mode).",
        )


def _among(patient: Patient, x: Tensor) -> Tensor:
    return patient.ask(x, chunk=_CHUNK)


def _turned(patient: Patient, x: Tensor, order: Tensor) -> Tensor:
    return patient.ask(x[order], chunk=_CHUNK)[order]
