"""The losses of AdvGAN, one number a row."""

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint._typing import Batch, Labels, Logits, PerRow
from saddlepoint.losses import margin


def adversarial(logits: Logits, y: Labels, target: Labels | None, confidence: float = 0.0) -> PerRow:
    """How far a point is from fooling:  max(0, confidence - margin).

    Args:  logits (n, k);  y, target (n,); a row whose target is its label counts 0: there is nothing to reach.
    Returns:  (n,), in logit units.
    Source:  Xiao et al. 2018, arXiv:1801.02610, Eq. (2), with the loss of Carlini & Wagner 2017, arXiv:1608.04644.

    >>> adversarial(torch.tensor([[5.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]), None)
    tensor([3., 0.])
    """
    short = (confidence - margin(logits, y, target)).clamp_min(0)
    return short if target is None else torch.where(target == y, 0, short)


def beyond(perturbation: Batch, bound: float) -> PerRow:
    """max(0, |perturbation|_2 - bound), (n,), in input units.

    Source:  Xiao et al. 2018, Eq. (3).
    """
    length: Tensor = torch.linalg.vector_norm(perturbation.flatten(1), dim=1)
    return (length - bound).clamp_min(0)


def told_apart(clean: Tensor, other: Tensor) -> PerRow:
    """What the discriminator minimises: scores (n, m) of clean inputs off 1, and of others off 0.

    Source:  least squares, Mao et al. 2017, arXiv:1611.04076, Eq. (2), as the authors' experiments use it.
    """
    return (clean - 1).square().mean(1) + other.square().mean(1)


def passing(scores: Tensor) -> PerRow:
    """What the generator minimises: the scores (n, m) of its points off 1."""
    return (scores - 1).square().mean(1)


def distilled(logits: Logits, answers: Tensor) -> PerRow:
    """Cross-entropy of a copy with what the black box answered, probabilities (n, k).

    Source:  Xiao et al. 2018, section 3.4.
    """
    return functional.cross_entropy(logits, answers, reduction="none")
