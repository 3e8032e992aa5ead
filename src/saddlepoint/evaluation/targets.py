"""Targets of a targeted evaluation."""

import torch
from torch import Tensor

from saddlepoint.classifier import Classifier
from saddlepoint.errors import SpecError, shown
from saddlepoint.noise import Noise, drawing


def choose(spec: str, model: Classifier, x: Tensor, y: Tensor, noise: Noise) -> Tensor | None:
    """The class (n,) that each row is to become.

    Args:  spec: "none", "least-likely" (of the clean input), "random" (drawn per row id, never the label) or a
        class index;  noise: bound to the rows' ids.
    Raises:  SpecError if the spec is none of these, or no class of the model.
    """
    if spec == "none":
        return None
    with torch.no_grad(), model.frozen(), drawing(noise.child("least likely")):
        logits = model.logits(x)
    logits = logits[:, :-1] if model.refuses else logits
    k = logits.shape[1]
    if spec == "least-likely":
        return logits.argmin(1)
    if spec == "random":
        draw = noise.child("target").uniform(x.new_empty(len(x), 1)).squeeze(1)
        return (y + 1 + (draw * (k - 1)).long()) % k
    check(spec, k)
    return torch.full_like(y, int(spec))


def check(spec: str, classes: int) -> None:
    """Refuse a spec that :func:`choose` does not know, for a model with that many classes.

    Raises:  SpecError.
    """
    if spec in ("none", "least-likely", "random") or (spec.isdecimal() and len(spec) < 10 and int(spec) < classes):
        return
    classes_of = f"a class of the model, 0 to {classes - 1}"
    raise SpecError(f"target={shown(spec)} must be none, least-likely, random, or {classes_of}")
