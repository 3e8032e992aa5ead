"""By what a model is known again: a few of its numbers, since its code cannot be told from its weights."""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.classifier import Classifier
from saddlepoint.errors import SaddlepointError
from saddlepoint.noise import Noise, drawing

_AWAY = 0.05  # of the width of the box: where an attack might look
_DIRECTIONS = 4
_SLACK, _SLOPE_SLACK = 1e-3, 2e-2  # for the rounding of another number of threads, or another machine


def likeness(model: Classifier, x: Tensor, logits: Tensor) -> dict[str, list[float]]:
    """Numbers that two models share only if they compute the same, forward and backward; rounded to 6 digits.

    "probe": the logits of the clean inputs x (n, *f);  "away": those near them;  "slopes": how they change along random
    signs as wide as the box, by the backward pass, where there is one. A new surrogate in place of a gradient that was
    masked moves nothing but the slopes.

    These passes are no part of an attack and not counted; random numbers are as before.
    """
    found = {"probe": _rounded(logits), "away": [], "slopes": []}
    width = model.bounds.width
    drawn = torch.Generator().manual_seed(0)  # on the CPU: alike on every device
    signs = (torch.randint(2, (_DIRECTIONS + 1, *x.shape[1:]), generator=drawn) * 2 - 1).to(x)
    point = (x + _AWAY * width * signs[-1]).clamp(model.bounds.lower, model.bounds.upper).requires_grad_()
    seeds = torch.random.fork_rng([model.device] if model.device.type == "cuda" else [])
    try:
        with seeds, torch.enable_grad(), model.frozen(), drawing(Noise()):
            near = model.uncounted().logits(point)
            found["away"] = _rounded(near)
            if near.requires_grad:
                weights = torch.linspace(1, 2, near.shape[1], dtype=near.dtype, device=near.device)
                weights[1::2] *= -1  # a sum of all logits would be blind to a softmax
                (grad,) = torch.autograd.grad((near * weights).sum(), point, materialize_grads=True)
                along = width * grad.flatten(1).double() @ signs[:-1].flatten(1).double().T
                found["slopes"] = _rounded(along)
    except (SaddlepointError, RuntimeError):  # no backward pass, or none that works: told by the attacks that need it
        pass
    return found


def alike(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether two models are the same: equal fingerprints, and these numbers up to rounding."""
    if found.get("fingerprint") != wanted["fingerprint"]:
        return False
    limits = {"probe": _SLACK, "away": _SLACK, "slopes": _SLOPE_SLACK}
    return all(_near(found.get(name, ()), wanted[name], slack) for name, slack in limits.items())


def _near(found: list[float], wanted: list[float], slack: float) -> bool:
    if len(found) != len(wanted):
        return False
    return all(abs(a - b) <= slack * (1 + abs(b)) for a, b in zip(found, wanted, strict=True))


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.detach().cpu().double().nan_to_num().flatten().tolist()]
