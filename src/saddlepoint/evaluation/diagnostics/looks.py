"""How the logits of clean inputs move under steps of two sizes, whether they repeat, and where gradients are zero."""

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Mask
from saddlepoint.balls import Ball
from saddlepoint.errors import ModelError
from saddlepoint.evaluation.diagnostics.sample import Sample
from saddlepoint.evaluation.doctor.patient import chunks, coarse, exact
from saddlepoint.losses import Loss, cross_entropy, margin
from saddlepoint.noise import Noise

TINY = 1e-5
"""Size of the small steps in Linf, as a share of the width of the bounds: below the grid of any common rounding."""

_DRAWS = 4


def looks(sample: Sample, ball: Ball) -> dict[str, Tensor]:
    """Of each row (n,), on the CPU.

    change: by how much its logits differ when asked again;  scale: their spread;  margin: of the clean input.
    far, near: whether random steps, as wide as the ball or tiny, move its logits at all;  told: whether those tiny ones
    must move them by more than rounding, by the slope of the wide ones.
    flat_ce, flat_margin: whether the gradient of that loss is exactly zero, in every feature.
    """
    with exact(sample.model.device) as sure:
        parts = chunks(
            lambda x, y, ids: _looks(sample, ball, x, y, ids), sample.x, sample.batch_size, sample.y, sample.ids
        )
    found = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    return found if sure else found | {"told": torch.zeros_like(found["told"])}


def _looks(sample: Sample, ball: Ball, x: Batch, y: Tensor, ids: Tensor) -> dict[str, Tensor]:
    model, noise = sample.model, Noise(sample.seed).at(ids).child("diagnosis looks")
    with torch.no_grad(), model.frozen():
        here, again = model.logits(x.clone()), model.logits(x.clone())
        far, near = torch.zeros_like(y, dtype=torch.bool), torch.zeros_like(y, dtype=torch.bool)
        slope = torch.zeros_like(here[:, 0])
        for draw in range(_DRAWS):
            drawn = noise.child(draw)
            wide = ball.random_start(x, model.bounds, drawn)
            way = TINY * model.bounds.width * drawn.child("tiny").normal(x).sign()
            small = torch.where((x + way).clamp(model.bounds.lower, model.bounds.upper) == x, x - way, x + way)
            moved = (model.logits(wide) - here).abs().amax(1)
            reach = (wide - x).flatten(1).norm(dim=1) / x[:1].numel() ** 0.5  # per feature
            slope = torch.maximum(slope, moved / reach.clamp_min(torch.finfo(x.dtype).tiny))
            far, near = far | (moved > 0), near | (model.logits(small) != here).any(1)
    rounding = torch.finfo(coarse(here) or model.autocast or here.dtype).eps * here.abs().amax(1)
    return {
        "change": (here - again).abs().amax(1).nan_to_num(torch.inf),
        "scale": here.std(1),
        "margin": margin(here, y),
        "far": far,
        "near": near,
        "told": slope * TINY * model.bounds.width > 10 * rounding,
        "flat_ce": _flat(sample, x, y, cross_entropy),
        "flat_margin": _flat(sample, x, y, margin),
    }


def _flat(sample: Sample, x: Batch, y: Tensor, loss: Loss) -> Mask:
    """Whether the gradient of a loss is exactly zero; so it is where none can be taken."""
    leaf = x.clone().requires_grad_()
    with torch.enable_grad(), sample.model.frozen():
        value = loss(sample.model.logits(leaf.clone()), y, None)
        if not value.requires_grad:
            return torch.ones_like(y, dtype=torch.bool)
        try:
            (grad,) = torch.autograd.grad(value.sum(), leaf, materialize_grads=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ModelError(f"the backward pass fails: {error}") from error
    return (grad == 0).flatten(1).all(1)
