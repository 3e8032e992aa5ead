"""Whether the inputs are those that the model was trained on."""

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional

from saddlepoint.errors import ModelError, SaddlepointError, shown
from saddlepoint.evaluation.doctor.evidence import gain
from saddlepoint.evaluation.doctor.mappings import Mapping, layouts, mappings
from saddlepoint.evaluation.doctor.patient import Patient, bare, spread
from saddlepoint.records import Finding

_UNFILLED, _HALF = 0.02, 0.5  # shares of the width of the bounds
_FIRST = 16, 128  # rows on which every mapping is tried, a quarter of all; the best few are tried on all
_FINAL = 6
_MENDED = 0.5  # accuracy from which on a layout is what a model that failed wants: nothing else can be compared


def filling(patient: Patient) -> Iterator[Finding]:
    """Data that fill a small part of the bounds, so that eps means something else."""
    bounds, low, high = patient.model.bounds, float(patient.x.min()), float(patient.x.max())
    share = (high - low) / bounds.width
    box = f"the bounds from {bounds.lower:g} to {bounds.upper:g}"
    ran = f"{len(patient.x)} inputs run from {low:.4g} to {high:.4g}, {box}"
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


def preparation(patient: Patient) -> Iterator[Finding]:
    """Inputs prepared in another way than for training: another preparation makes the model right where it is wrong."""
    if patient.outside or int((~patient.right).sum()) < 17:  # fewer cannot pass the sign test
        return
    tried = list(_tried(patient))
    if not tried:
        return
    best = max(after.sum() for _, after, _ in tried)
    near = [each for each in tried if each[1].sum() >= best - 0.01 * len(patient.x)]
    mapping, after, _ = min(near, key=lambda each: each[2])  # of equals, the one that the model is surest of
    found = gain(patient.right, after)
    if found.sure:
        yield patient.finding(
            "error",
            mapping.title,
            evidence=f"with {mapping.words}, {found}",
            consequence="The model is wrong before anything is attacked: every number is of a model that nobody uses.",
            remedy=mapping.remedy,
        )


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


def _tried(patient: Patient) -> Iterator[tuple[Mapping, Tensor, float]]:
    """The best mappings of a first try on some rows, each with which rows are right then, and the loss."""
    n = len(patient.x)
    some = spread(n, min(max(n // 4, _FIRST[0]), _FIRST[1])).to(patient.x.device)
    x, y = patient.x[some], patient.y[some]
    first = []
    for mapping in mappings(patient.model, x):
        logits = _asked(patient, mapping, x)
        if logits is not None:
            first.append((int(logits.argmax(1).eq(y).sum()), -_loss(logits, y), mapping))
    first.sort(key=lambda each: each[:2], reverse=True)
    for _, _, mapping in first[:_FINAL]:
        logits = _asked(patient, mapping, patient.x)
        if logits is not None:
            yield mapping, logits.argmax(1) == patient.y, _loss(logits, patient.y)


def _asked(patient: Patient, mapping: Mapping, x: Tensor) -> Tensor | None:
    """Logits of the bare module at the mapped inputs; None if it fails, or they are not finite."""
    try:
        logits = patient.ask(mapping.apply(x), bare(patient.model))
    except (ModelError, RuntimeError):
        return None
    return logits if bool(logits.isfinite().all()) else None


def _loss(logits: Tensor, y: Tensor) -> float:
    return float(functional.cross_entropy(logits.double(), y.clamp_max(logits.shape[1] - 1)))
