"""Whether gradients are there, finite, and alive."""

from collections.abc import Iterator

import torch
from torch import Tensor

from saddlepoint.errors import ModelError, shown
from saddlepoint.evaluation.doctor.patient import Gradients, Patient
from saddlepoint.losses import cross_entropy
from saddlepoint.records import Finding

_SOME = 0.05  # share of rows from which on something is said
_BLIND = "Attacks that follow gradients do not move, and the model looks robust."


def alive(patient: Patient) -> Iterator[Finding]:
    """Gradients that are missing, fail, are not finite, or are zero although the logits move."""
    try:
        grads = patient.gradients
    except ModelError as error:
        yield patient.finding(
            "error",
            "The backward pass fails",
            evidence=shown(error, 300),
            consequence="No attack that follows gradients can run.",
            remedy="Write out of place, and use functions that torch can differentiate.",
        )
        return
    z, finite = patient.logits[: patient.few], patient.finite[: patient.few]
    if not bool(finite.any()):
        return
    if len(z) > 1 and torch.equal(z[finite], z[finite][:1].expand_as(z[finite])):
        yield patient.finding(
            "error",
            "The logits do not depend on the input",
            evidence=f"{int(finite.sum())} different inputs have the same logits",
            consequence="There is nothing to attack.",
            remedy="Check that the module uses its input, and that its weights were loaded.",
        )
    elif not grads.attached:
        yield patient.finding(
            "error",
            "The gradient is cut off",
            evidence=f"the logits of {len(z)} inputs differ, but hold no graph to the inputs",
            consequence=_BLIND,
            remedy="Take no detach(), no .data, no numpy and no torch.no_grad() inside the model.",
        )
    else:
        yield from _values(patient, grads, finite)


def _values(patient: Patient, grads: Gradients, finite: Tensor) -> Iterator[Finding]:
    n = int(finite.sum())
    of_logits, of_loss = grads.of_logits.flatten(1)[finite], grads.of_loss.flatten(1)[finite]
    broken = ~(of_logits.isfinite() & of_loss.isfinite()).all(1)
    if bool(broken.any()):
        yield patient.finding(
            "error",
            "Gradients are not finite",
            evidence=f"{int(broken.sum())} of {n} rows with finite logits have NaN or infinite entries in the gradient",
            consequence="Attacks take such entries as 0: they see less of the model than there is.",
            remedy="Mend the square root, norm, power or division whose slope is infinite at these inputs.",
        )
    still = ~broken & (of_logits == 0).all(1)
    if int(still.sum()) >= max(1, _SOME * n) and not patient.probabilities:
        yield patient.finding(
            "error",
            "A step has no gradient",
            evidence=f"{int(still.sum())} of {n} rows have a gradient of the logits that is exactly zero, "
            "but the logits of different rows differ",
            consequence=_BLIND,
            remedy="Replace the step (round, threshold, argmax, sign) by a smooth one, or attack without gradients.",
        )
    flat = ~broken & (of_loss == 0).all(1) & (~still | patient.probabilities)
    if int(flat.sum()) >= max(1, _SOME * n):
        yield _saturated(
            patient, int(flat.sum()), n, patient.logits[: patient.few][finite], patient.y[: patient.few][finite]
        )


def _saturated(patient: Patient, flat: int, n: int, z: Tensor, y: Tensor) -> Finding:
    gap = z.double().topk(2, 1).values
    between = float((gap[:, 0] - gap[:, 1]).median())
    divided = z.double() / max(1.0, between / 10)
    smallest = float(cross_entropy(divided, y.clamp_max(z.shape[1] - 1)).min())
    hint = f"; divided by {between / 10:.3g}, no loss is below {smallest:.2g}" if between > 10 else ""
    return patient.finding(
        "warning",
        "The logits saturate",
        evidence=f"{flat} of {n} rows have a cross-entropy gradient of exactly zero; the two highest logits are "
        f"{between:.3g} apart in the median{hint}",
        consequence="Attacks on cross-entropy do not move these rows, which are not robust for that.",
        remedy="Attack the margin (loss: margin), or divide the logits by a constant: no prediction changes.",
    )
