"""Whether what stands in front of a model leaves clean inputs what they are."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from saddlepoint.classifier import Classifier
from saddlepoint.errors import SaddlepointError
from saddlepoint.evaluation.doctor.patient import Patient, chunks
from saddlepoint.records import Finding

_CHUNK = 64
_MOST_SPOILT = 0.1  # of the rows, as of a squeezer's
_COLLAPSED = 0.05  # of the variance of the inputs


def spoiling(patient: Patient) -> Iterator[Finding]:
    """Transforms that cost clean accuracy, such as an autoencoder that gives all inputs the same face."""
    model = patient.model
    try:
        alone = patient.ask(patient.x, model.bare.uncounted()).argmax(1) == patient.y
    except SaddlepointError:  # the net takes only what they return, such as codes
        return
    n, without, behind = len(alone), int(alone.sum()), int(patient.right.sum())
    if without - behind <= _MOST_SPOILT * n:
        return
    kept = _variance(torch.cat(chunks(partial(_behind, model), patient.x, _CHUNK))) / max(_variance(patient.x), 1e-30)
    collapsed = kept < _COLLAPSED
    yield patient.finding(
        "warning",
        "All inputs look the same behind the transforms" if collapsed else "The transforms spoil clean inputs",
        evidence=f"of {n} clean rows {behind} are right behind them and {without} without them; "
        f"{100 * kept:.2g} % of the variance between the rows is left",
        consequence="Few rows are left to attack, and robust accuracy is low whatever the attack does.",
        remedy="Train the autoencoder longer, at another rate or on less noise, until clean accuracy is back."
        if collapsed
        else "Use milder transforms, train an autoencoder longer, or train the model behind them.",
    )


def _behind(model: Classifier, x: Tensor) -> Tensor:
    """What the model behind the transforms gets, (n, *)."""
    with torch.no_grad(), model.frozen():
        for stage in model.stages:
            x = stage(x)
    return x


def _variance(x: Tensor) -> float:
    """Between rows, the sum over features."""
    return float(x.double().var(0, correction=0).sum())
