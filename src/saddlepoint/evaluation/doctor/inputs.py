"""Whether the inputs are those that the model was trained on."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint.errors import SaddlepointError, shown
from saddlepoint.evaluation.doctor.evidence import Cause, gain
from saddlepoint.evaluation.doctor.mappings import DOUBLED, Mapping, layouts, mappings
from saddlepoint.evaluation.doctor.patient import Patient, bare, spread
from saddlepoint.records import Finding

_UNFILLED, _HALF = 0.02, 0.5  # shares of the width of the bounds
_FIRST = 16, 128  # rows on which every mapping is tried, a quarter of all; the best of each kind are tried on all
_FINAL = 4
_MENDED = 0.5  # accuracy from which on a layout is what a model that failed wants: nothing else can be compared
_EQUAL, _AS_GOOD = 0.01, 1.5  # of equals (within a point, and that much loss), the simplest is named


class Tried(NamedTuple):
    """A mapping and its place in the list, which rows (n,) are right with it, and the mean loss."""

    place: int
    mapping: Mapping
    after: Tensor
    loss: float


def filling(patient: Patient) -> Iterator[Finding]:
    """Data that fill a small part of the bounds, so that eps means something else."""
    bounds, (low, high) = patient.model.bounds, patient.span
    share = (high - low) / bounds.width
    box = f"the bounds from {bounds.lower:g} to {bounds.upper:g}"
    ran = f"the inputs run from {low:.4g} to {high:.4g}, {box}"
    if patient.outside:
        yield patient.finding(
            "error",
            "The inputs leave the bounds",
            evidence=ran,
            consequence="Attacks stay inside the bounds: an evaluation refuses these inputs.",
            remedy="Give Classifier the bounds of the inputs before normalisation, or scale the inputs into them.",
        )
    elif share <= _UNFILLED:
        yield patient.finding(
            "error",
            "The data do not fill the bounds",
            evidence=ran,
            consequence="eps is in units of the bounds, and so is far from what it seems beside these inputs.",
            remedy="Give Classifier the bounds of the inputs, or scale the inputs once, not twice.",
        )
    elif share <= _HALF:
        yield patient.finding(
            "warning",
            "The data fill only a part of the bounds",
            evidence=ran,
            consequence="Attacks may go where no input is, which makes them stronger than the threat that is meant.",
            remedy="Give Classifier the bounds of valid inputs, unless these rows are an odd sample.",
        )


def standard(patient: Patient) -> Iterator[Finding]:
    """Data that were normalised before they came here."""
    bounds, x = patient.model.bounds, patient.x
    mean, std = float(x.mean()), float(x.std(correction=0))
    if bounds.lower < -0.5 and bounds.width > 2.2 and abs(mean) < 0.5 and 0.6 < std < 1.5:
        yield patient.finding(
            "warning",
            "The inputs look normalised",
            evidence=f"mean {mean:.3g}, standard deviation {std:.3g}, bounds from {bounds.lower:g} to {bounds.upper:g}",
            consequence="eps is in standard deviations, and the box is not that of valid inputs where channels differ.",
            remedy="Give inputs as they were before, with their bounds, and mean and std to Classifier.",
        )


def preparation(patient: Patient) -> Iterator[Cause]:
    """Inputs prepared in another way than for training: another preparation makes the model right where it is wrong."""
    if patient.outside or int((~patient.right).sum()) < 17:  # fewer cannot pass the sign test
        return
    tried = list(_tried(patient))
    if not tried:
        return
    most, n = max(int(each.after.sum()) for each in tried), len(patient.x)
    near = [each for each in tried if int(each.after.sum()) >= most - _EQUAL * n]
    least = min(each.loss for each in near)
    best = min((each for each in near if each.loss <= _AS_GOOD * least), key=lambda each: each.place)
    mapping, found = best.mapping, gain(patient.right, best.after)
    if found.sure:
        rest = sorted((each for each in near if each is not best), key=lambda each: each.place)
        others = [each.mapping.words for each in rest[:2]]
        finding = patient.finding(
            "error",
            mapping.title,
            evidence=f"with {mapping.words}, {found}"
            + (f"; much the same with {' or '.join(others)}" if others else ""),
            consequence="The model is wrong before anything is attacked: every number is of a model that nobody uses.",
            remedy=mapping.remedy,
        )
        yield Cause(found.accuracy, finding)


def twice(patient: Patient) -> Iterator[Finding]:
    """The Classifier's mean and std, met again in a part of the module."""
    model = patient.model
    if model.mean is None or model.std is None or not isinstance(model.module, nn.Module):
        return
    for part in model.module.modules():
        own = [_numbers(getattr(part, name, None)) for name in ("mean", "std")]
        if all(_alike(a, b) for a, b in zip(own, (model.mean, model.std), strict=True)):
            yield patient.finding(
                "error",
                DOUBLED,
                evidence=f"the module's {type(part).__name__} holds the same mean and std as the Classifier, "
                f"{shown(model.mean.tolist())} and {shown(model.std.tolist())}",
                consequence="Inputs are normalised twice: the model is not the one that was trained.",
                remedy="Leave mean and std out of Classifier.",
            )
            return


def _numbers(value: object) -> Tensor | None:
    """A few numbers as a tensor (c,), or None if the value is something else."""
    if not isinstance(value, Tensor | list | tuple | float | int):
        return None
    try:
        return torch.as_tensor(value, dtype=torch.float64, device="cpu").detach().flatten()
    except (TypeError, ValueError, RuntimeError):
        return None


def _alike(own: Tensor | None, given: Tensor) -> bool:
    return own is not None and own.numel() == given.numel() and torch.allclose(own, given.flatten(), rtol=1e-3)


def refusal(patient: Patient, error: SaddlepointError) -> Iterator[Finding]:
    """A model that fails on the inputs as they are; a layout that it takes, and is right on, is named."""
    for mapping in layouts(patient.model, patient.x):
        logits = _asked(patient, mapping, patient.x)
        if logits is None or logits.argmax(1).eq(patient.y).double().mean() < _MENDED:
            continue
        right = int(logits.argmax(1).eq(patient.y).sum())
        yield patient.finding(
            "error",
            mapping.title,
            evidence=f"the model fails on shape {tuple(patient.x.shape)}; with {mapping.words}, "
            f"{right} of {len(logits)} rows are right",
            consequence="Nothing can be attacked.",
            remedy=mapping.remedy,
        )
        return
    yield patient.finding(
        "error",
        "The model fails",
        evidence=shown(error, 300),
        consequence="Nothing can be attacked.",
        remedy="Call the module on a batch of these inputs by hand, and mend what it says.",
    )


def _tried(patient: Patient) -> Iterator[Tried]:
    """The best mappings of a first try on some rows, and then on all."""
    n = len(patient.x)
    some = spread(n, min(max(n // 4, _FIRST[0]), _FIRST[1])).to(patient.x.device)
    x, y = patient.x[some], patient.y[some]
    first = []
    for place, mapping in enumerate(mappings(patient.model, x)):
        logits = _asked(patient, mapping, x)
        if logits is not None:
            first.append((-int(logits.argmax(1).eq(y).sum()), _loss(logits, y), place, mapping))
    first.sort(key=lambda each: each[:3])
    leading = {each[3].title: each for each in reversed(first)}  # the best of each kind, and the best of all
    for _, _, place, mapping in sorted({*first[:_FINAL], *leading.values()}, key=lambda each: each[:3]):
        logits = _asked(patient, mapping, patient.x)
        if logits is not None:
            yield Tried(place, mapping, logits.argmax(1) == patient.y, _loss(logits, patient.y))


def _asked(patient: Patient, mapping: Mapping, x: Tensor) -> Tensor | None:
    """Logits of the bare module at the mapped inputs; None if it fails, or they are not finite."""
    try:
        logits = patient.ask(mapping.apply(x), bare(patient.model))
    except (SaddlepointError, RuntimeError):
        return None
    return logits if bool(logits.isfinite().all()) else None


def _loss(logits: Tensor, y: Tensor) -> float:
    return float(functional.cross_entropy(logits.double(), y.clamp_max(logits.shape[1] - 1)))
