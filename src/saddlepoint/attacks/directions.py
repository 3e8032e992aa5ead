"""What turns gradients into a direction of ascent; attacks differ in it, not in their loops."""

import torch

from saddlepoint._typing import Batch


def momentum(velocity: Batch, grad: Batch, decay: float) -> Batch:
    """Decayed sum of the gradients of a row, each scaled to unit L1 norm: g <- decay g + q / |q|_1.

    Args:  velocity, grad: (n, *f), a zero gradient adds nothing;  decay: 0 keeps only the latest gradient.
    Returns:  (n, *f), no unit.
    Source:  Dong et al. 2018, arXiv:1710.06081, Eq. (6).
    """
    # Scaled by the largest entry first, so that tiny gradients neither underflow nor divide by zero.
    flat = grad.flatten(1)
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(grad.dtype).tiny)
    unit = flat / flat.abs().sum(1, keepdim=True).clamp_min(1)
    return decay * velocity + unit.view(grad.shape)
