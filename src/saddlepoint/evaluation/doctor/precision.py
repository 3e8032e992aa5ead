"""Whether the numbers of the model are fine enough for small steps."""

from collections.abc import Iterator

import torch

from saddlepoint.errors import ModelError
from saddlepoint.evaluation.doctor.patient import SHORT, Patient, coarse, copied, exact
from saddlepoint.records import Finding

_ROWS = 128
_NAMES = {torch.bfloat16: "bfloat16 (8 bits)", torch.float16: "float16 (11 bits)"}


def bits(patient: Patient) -> Iterator[Finding]:
    """A model that computes in 16 bits, told by its outputs, its parameters or its autocast."""
    kind = coarse(patient.logits) or patient.model.autocast
    kind = patient.model.dtype if kind is None and patient.model.dtype in SHORT else kind
    if kind is None:
        return
    fine = copied(patient.model, torch.float32)
    evidence = f"the outputs are numbers of {_NAMES.get(kind, str(kind))}"
    if fine is not None and (patient.model.dtype in SHORT or patient.model.autocast):
        x, z = patient.x[:_ROWS], patient.logits[:_ROWS]
        other = patient.ask(x, fine)
        evidence += (
            f"; in float32, {int((other.argmax(1) != z.argmax(1)).sum())} of {len(x)} predictions are others, and "
            f"logits move by up to {(other - z).abs().nan_to_num().max().item():.3g}"
        )
    yield patient.finding(
        "warning",
        "The model computes in 16 bits",
        evidence=evidence,
        consequence="Small steps and gradients are rounded away, and rounding decides verdicts near the boundary.",
        remedy="Evaluate in float32: model.float(), no autocast, no half() in the model.",
    )


def rounding(patient: Patient) -> Iterator[Finding]:
    """Predictions that float64 does not confirm."""
    if patient.model.dtype is not torch.float32 or patient.model.autocast:
        return
    double = copied(patient.model, torch.float64)
    if double is None:
        return
    x, z = patient.x[:_ROWS], patient.logits[:_ROWS]
    try:
        finer = patient.ask(x.double(), double)
    except ModelError:  # it insists on float32
        return
    flipped, off = int((finer.argmax(1) != z.argmax(1)).sum()), (finer - z).abs().nan_to_num().amax(1)
    if flipped >= 0.01 * len(x) and float(off.median()) > 1e-3 * patient.scale:
        yield patient.finding(
            "warning",
            "Rounding decides predictions",
            evidence=f"in float64, {flipped} of {len(x)} predictions are others, and logits move by "
            f"{off.median().item():.3g} in the median (spread of the logits {patient.scale:.3g})",
            consequence="Verdicts are those of the rounding, and small steps of an attack are lost in it.",
            remedy="Find where large numbers cancel, and subtract before they grow.",
        )


def tf32(patient: Patient) -> Iterator[Finding]:
    """Matrix products in TensorFloat-32 on a GPU, where that can be seen."""
    with exact(patient.model.device):
        without = patient.ask(patient.x[:_ROWS])
    z = patient.logits[:_ROWS]
    flipped, off = int((without.argmax(1) != z.argmax(1)).sum()), (without - z).abs().nan_to_num().max().item()
    if flipped or off > 1e-2 * patient.scale:
        yield patient.finding(
            "note",
            "TF32 is on",
            evidence=f"without it, {flipped} of {len(z)} predictions are others, and logits move by up to {off:.3g}",
            consequence="Verdicts near the boundary are those of 10-bit products.",
            remedy="torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False",
        )
