"""What a caller may give an attack; every error says what to change."""

import math

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Logits
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, InputError, SettingError
from saddlepoint.noise import Noise

SLACK = 1e-6
"""Inputs up to this share of the width outside the bounds are clamped; beyond it they are an error."""


def check_inputs(model: Classifier, x: Tensor) -> Batch:
    """The inputs, clamped to the bounds; the caller's tensor is not touched."""
    if not isinstance(model, Classifier):
        raise ArgumentTypeError(
            f"model is {type(model).__name__}; wrap it, so that its input range is clear: "
            "saddlepoint.Classifier(model, bounds=(0, 1))"
        )
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise InputError(
            f"x is {kind}; inputs must be a float32 or float64 tensor in the bounds; for 8-bit images: x.float() / 255"
        )
    if x.dim() < 2:
        raise InputError(f"x has shape {tuple(x.shape)}; it must be a batch (n, *f) with at least one feature axis")
    if x.device != model.device:
        raise InputError(f"x is on {x.device}, the model on {model.device}; move it: x.to({str(model.device)!r})")
    bounds, x = model.bounds, x.detach()
    if x.numel():
        low, high = (v.item() for v in torch.aminmax(x))
        slack = SLACK * bounds.width
        if not (low >= bounds.lower - slack and high <= bounds.upper + slack):
            raise InputError(
                f"inputs range from {low:g} to {high:g}, the bounds are [{bounds.lower:g}, {bounds.upper:g}]; "
                "give Classifier the bounds of your inputs, and leave normalisation to it (mean=, std=)"
            )
    return x.clamp(bounds.lower, bounds.upper)


def check_labels(labels: Tensor, x0: Batch, name: str) -> Labels:
    """Labels as int64, one per row of x0."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype is torch.bool:
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"{name} is {kind}; it must be an integer tensor of class indices, one per row")
    if labels.shape != x0.shape[:1]:
        raise InputError(
            f"{name} has shape {tuple(labels.shape)}; it must be ({len(x0)},): one class index per row of x"
        )
    if labels.device != x0.device:
        raise InputError(f"{name} is on {labels.device}, x on {x0.device}; move it: {name}.to({str(x0.device)!r})")
    return labels.detach().to(torch.int64)


def check_rows(noise: Noise, x0: Batch) -> Labels:
    """The row ids of the batch."""
    if noise.rows is None:
        return torch.arange(len(x0), device=x0.device)
    if len(noise.rows) != len(x0):
        raise InputError(f"noise is bound to {len(noise.rows)} row ids, the batch has {len(x0)} rows; give one per row")
    return noise.rows.to(x0.device)


def check_classes(logits: Logits, **labels: Labels | None) -> None:
    """Refuse a class that the model does not have."""
    for name, values in labels.items():
        if values is not None and not bool(((values >= 0) & (values < logits.shape[1])).all()):
            raise InputError(
                f"{name} holds class {int(values.min())} to {int(values.max())}; "
                f"the model has classes 0 to {logits.shape[1] - 1}"
            )


def check_confidence(confidence: float) -> float:
    """A margin that a point can have."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence < math.inf:
        raise SettingError(f"confidence={confidence!r} must be a finite number >= 0, in logit units")
    return confidence
