"""The judge: verdicts from the returned tensors alone, by code that shares nothing with the attacks."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint import colour
from saddlepoint.classifier import Classifier, told
from saddlepoint.noise import Noise, drawing


@final
@dataclass(frozen=True)
class Verdicts:
    """(n,) each: fooled, undefined (output not finite, or the point left ball or box), outside; the rest held.

    ``predicted`` (n,) are the classes the bare module gives to the points, ``distance`` (n,) is that from x0, ``room``
    (n,) is what is left until the row is fooled: how far the label's logit is above the next one, or, where there is a
    target, its logit below the highest other one.
    """

    fooled: Tensor
    undefined: Tensor
    outside: Tensor
    predicted: Tensor
    distance: Tensor
    room: Tensor


def judge(
    model: Classifier,
    x0: Tensor,
    x: Tensor,
    y: Tensor,
    target: Tensor | None,
    *,
    norm: str | None,
    eps: float,
    noise: Noise = Noise(),
) -> Verdicts:
    """Ask the bare module about the points x (n, *f) and measure them against x0.

    Args:  norm: "linf", "l2", "l1", "l0" or "ciede2000"; None judges clean inputs, where x is x0.
        noise: bound to the rows' ids; a random transform draws from a stream of it that no attack sees, the same for
            the clean inputs and every attack.
    """
    bounds, slack = model.bounds, 1e-6 * (model.bounds.upper - model.bounds.lower)
    box = ((x < bounds.lower - slack) | (x > bounds.upper + slack) | x.isnan()).flatten(1).any(1)
    delta = (x.double() - x0.double()).abs().flatten(1)
    if norm == "l0":
        reach = (delta > 0).sum(1).double()
    elif norm == "ciede2000":
        shades = [colour.lab((each.double() - bounds.lower) / bounds.width) for each in (x0, x)]
        reach = colour.difference(*shades).flatten(1).norm(dim=1)
    else:
        reach = torch.linalg.vector_norm(delta, {None: 1, "l1": 1, "l2": 2, "linf": float("inf")}[norm], dim=1)
    outside = box | (reach > eps * (1 + 1e-6) + slack)
    with drawing(noise.child("judge")):
        logits = _ask(model, x)
    defined = logits.isfinite().all(1)
    predicted = logits.argmax(1)
    hit = predicted != y if target is None else predicted == target
    if model.refuses and norm is not None and target is None:
        hit = hit & (predicted != logits.shape[1] - 1)  # a refusal fools nobody; a refused clean row is not right
    return Verdicts(hit & defined & ~outside, ~defined | outside, outside, predicted, reach, _room(logits, y, target))


def _room(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """(n,), in logit units; positive where a row holds."""
    goal = y if target is None else target
    own = torch.arange(logits.shape[1], device=logits.device) == goal.unsqueeze(1)
    inf = float("inf")
    gap = logits.masked_fill(~own, -inf).amax(1) - logits.masked_fill(own, -inf).amax(1)
    return gap if target is None else -gap


def _ask(model: Classifier, x: Tensor) -> Tensor:
    """Logits of the user's own module in evaluation mode and full precision, normalised here."""
    shape = (1, -1, *[1] * (x.dim() - 2))
    inner = x
    if model.mean is not None:
        inner = inner - model.mean.to(x).reshape(shape)
    if model.std is not None:
        inner = inner / model.std.to(x).reshape(shape)
    module = model.module
    flags = [(m, m.training) for m in module.modules()] if isinstance(module, nn.Module) else []
    try:
        for part, _ in flags:
            part.training = False
        with torch.no_grad(), told(x):
            output = module(inner if model.dtype is None else inner.to(model.dtype))
    finally:
        for part, training in flags:
            part.training = training
    logits: Tensor = getattr(output, "logits", output).float().reshape(len(x), -1)
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
