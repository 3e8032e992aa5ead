"""What a caller may give an attack; every error says what to change."""

import math

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Logits, is_dense, is_number
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, InputError, SettingError, shown
from saddlepoint.noise import Noise
from saddlepoint.result import SLACK, Keep

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_call(
    model: Classifier, x: Tensor, ball: object, loss: object, keep: object, noise: object, limits: object
) -> Batch:
    """The inputs, clamped to the bounds, after a look at what the attack and its budget say about them."""
    x0 = check_inputs(model, x)
    if not isinstance(ball, Ball):
        raise ArgumentTypeError(f"ball={shown(ball)} must be a ball with its radius, such as saddlepoint.Linf(8 / 255)")
    ball.check(x0, model.bounds)
    if not callable(loss):
        raise ArgumentTypeError(
            f"loss={shown(loss)} must be a function (logits, y, aim) -> (n,): see saddlepoint.losses"
        )
    if not isinstance(keep, Keep):
        raise ArgumentTypeError(f"keep={shown(keep)} must be a saddlepoint.Keep, such as Keep.FIRST_SUCCESS")
    if not isinstance(noise, Noise):
        raise ArgumentTypeError(f"noise={shown(noise)} must be a seed and row ids, such as saddlepoint.Noise(0)")
    for name in ("forwards", "backwards"):
        limit = getattr(limits, name, None)
        if limit is None:
            raise ArgumentTypeError(
                f"limits={shown(limits)} must be a budget, such as saddlepoint.Limits(forwards=100)"
            )
        if isinstance(limit, Tensor) and (limit.shape != x0.shape[:1] or limit.device != x0.device):
            raise SettingError(
                f"{name} has shape {tuple(limit.shape)} on {limit.device}; it must be one number, or one per row of x: "
                f"({len(x0)},) on {x0.device}"
            )
    return x0


def check_batch(model: Classifier, x: Tensor, y: Tensor | None, target: Tensor | None, noise: object) -> None:
    """Refuse what attacks in turn would otherwise take rows of before anybody looked at it."""
    check_inputs(model, x)
    for name, labels in (("y", y), ("target", target)):
        if labels is not None:
            check_labels(labels, x, name)
    if not isinstance(noise, Noise):
        raise ArgumentTypeError(f"noise={shown(noise)} must be a seed and row ids, such as saddlepoint.Noise(0)")


def check_inputs(model: Classifier, x: Tensor) -> Batch:
    """The inputs, clamped to the bounds; the caller's tensor is not touched."""
    if not isinstance(model, Classifier):
        raise ArgumentTypeError(
            f"model is {type(model).__name__}; wrap it, so that its input range is clear: "
            "saddlepoint.Classifier(model, bounds=(0, 1))"
        )
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64) or x.layout is not torch.strided:
        raise InputError(
            f"x is {_kind(x)}; inputs must be a dense float32 or float64 tensor in the bounds: x.float(), for 8-bit "
            "images x.float() / 255"
        )
    if x.dim() < 2 or 0 in x.shape[1:]:
        raise InputError(f"x has shape {tuple(x.shape)}; it must be a batch (n, *f) with at least one feature axis")
    if x.device != model.device:
        raise InputError(f"x is on {x.device}, the model on {model.device}; move it: x.to({str(model.device)!r})")
    bounds, x = model.bounds, x.detach()
    if x.numel():
        low, high = (v.item() for v in torch.aminmax(x))
        slack = SLACK * bounds.width
        if not (low >= bounds.lower - slack and high <= bounds.upper + slack):
            remedy = "give Classifier the bounds of your inputs, and leave normalisation to it (mean=, std=)"
            raise InputError(
                f"inputs range from {low:g} to {high:g}, the bounds are [{bounds.lower:g}, {bounds.upper:g}]; "
                f"{'leave out the rows that hold NaN' if math.isnan(low) else remedy}"
            )
    return x.clamp(bounds.lower, bounds.upper)


def check_labels(labels: Tensor, x0: Batch, name: str) -> Labels:
    """Labels as int64, one per row of x0."""
    if not isinstance(labels, Tensor) or labels.dtype not in _INTEGERS or labels.layout is not torch.strided:
        raise InputError(f"{name} is {_kind(labels)}; it must be an integer tensor of class indices, one per row")
    if labels.shape != x0.shape[:1]:
        remedy = f"; for one-hot rows {name}.argmax(1)" if labels.dim() == 2 else ""
        raise InputError(
            f"{name} has shape {tuple(labels.shape)}; it must be ({len(x0)},): one class index per row of x{remedy}"
        )
    if labels.device != x0.device:
        raise InputError(f"{name} is on {labels.device}, x on {x0.device}; move it: {name}.to({str(x0.device)!r})")
    return labels.detach().to(torch.int64)


def _kind(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{value.dtype}" if value.layout is torch.strided else f"{value.dtype}, {value.layout}"


def check_rows(noise: Noise, x0: Batch) -> Labels:
    """The row ids of the batch."""
    if noise.rows is None:
        return torch.arange(len(x0), device=x0.device)
    if not is_dense(noise.rows) or noise.rows.dtype != torch.int64 or noise.rows.dim() != 1:
        raise InputError(f"noise is bound to {shown(noise.rows)}; row ids must be an int64 tensor (n,): noise.at(rows)")
    if len(noise.rows) != len(x0):
        raise InputError(f"noise is bound to {len(noise.rows)} row ids, the batch has {len(x0)} rows; give one per row")
    return noise.rows.to(x0.device)


def check_classes(logits: Logits, *, refuses: bool = False, **labels: Labels | None) -> None:
    """Refuse a class that the model does not have; that of a refusal is none."""
    for name, values in labels.items():
        if refuses and values is not None and bool((values == logits.shape[1] - 1).any()):
            raise InputError(
                f"{name} holds {logits.shape[1] - 1}, which stands for the refusal; the model's classes are 0 to "
                f"{logits.shape[1] - 2}"
            )
        if values is not None and not bool(((values >= 0) & (values < logits.shape[1])).all()):
            raise InputError(
                f"{name} holds class {int(values.min())} to {int(values.max())}; "
                f"the model has classes 0 to {logits.shape[1] - 1}"
            )


def check_limits(
    forwards: float | Tensor, backwards: float | Tensor, seconds: float, shrink_at: float, check_every: int | None
) -> None:
    """Refuse a budget that means nothing."""
    for name, value in {"forwards": forwards, "backwards": backwards, "seconds": seconds}.items():
        if isinstance(value, Tensor) and name != "seconds":
            if not is_dense(value) or value.dim() != 1 or value.is_complex() or not bool((value >= 0).all()):
                raise SettingError(f"{name}={shown(value)} must be one number >= 0 for each row (n,), none of them NaN")
        elif not is_number(value) or not value >= 0:
            raise SettingError(f"{name}={shown(value)} must be a number >= 0; leave it out for no limit")
    if not is_number(shrink_at) or not 0 <= shrink_at <= 1:
        raise SettingError(f"shrink_at={shown(shrink_at)} must lie in [0, 1]; 0 switches shrinking off")
    if check_every is not None and (not isinstance(check_every, int) or check_every < 1):
        raise SettingError(f"check_every={shown(check_every)} must be an integer >= 1")


def check_confidence(confidence: float) -> float:
    """A margin that a point can have."""
    if isinstance(confidence, bool) or not is_number(confidence) or not 0 <= confidence < math.inf:
        raise SettingError(f"confidence={shown(confidence)} must be a finite number >= 0, in logit units")
    return confidence
