"""What an attacker maximises: functions of (logits, y, aim) that return one number a row."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch.nn import functional

from saddlepoint._typing import Labels, Logits, Mask, PerRow

Loss: TypeAlias = Callable[[Logits, Labels, Labels | None], PerRow]
"""(logits (n, k), y (n,), aim (n,) or None) -> (n,), larger is better for the attacker; ``aim=None``: away from y."""


def cross_entropy(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """Cross-entropy, as the attacker wants it.

    Away from y: -log softmax(z)_y.  Towards an aim t: log softmax(z)_t.

    Args:  logits (n, k), any real scale;  y, aim (n,) class indices.
    Returns:  (n,), in nats.
    Source:  Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572, section 4; towards an aim: Kurakin, Goodfellow & Bengio
        2017, arXiv:1607.02533, section 2.3.

    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([0.6931])
    """
    if aim is not None:
        return -functional.cross_entropy(logits, aim, reduction="none")
    return functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """How far each row is past the decision boundary.

    Away from y: max_{j != y} z_j - z_y.  Towards an aim t: z_t - max_{j != t} z_j.  Positive exactly when the attack
    succeeds (ties aside).

    Args:  logits (n, k), any real scale, k >= 2;  y, aim (n,) class indices.
    Returns:  (n,), in logit units.
    Source:  Carlini & Wagner 2017, arXiv:1608.04644, f_6.  Departs: negated, not clipped at zero, no confidence offset.

    >>> margin(torch.tensor([[2.0, 5.0]]), torch.tensor([0]))
    tensor([3.])
    """
    kept = y if aim is None else aim
    own = logits.gather(1, kept[:, None]).squeeze(1)
    other = logits.scatter(1, kept[:, None], -torch.inf).amax(1)
    return other - own if aim is None else own - other


def fooled(logits: Logits, y: Labels, target: Labels | None = None) -> Mask:
    """Rows whose prediction is the target, or is not y where no target is given."""
    predicted = logits.argmax(1)
    return predicted != y if target is None else predicted == target


def defined(logits: Logits) -> Mask:
    """Rows whose output is finite; NaN is not."""
    return logits.abs().amax(1) < torch.inf
