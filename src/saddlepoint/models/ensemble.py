"""Several models as one: the weighted mean of their logits."""

import hashlib
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError, shown


@final
class Ensemble(nn.Module):
    """Logits (n, k) = sum over members of w_k times their logits; each member normalises its inputs itself.

    Args:  members, weights, bounds: as :func:`ensemble` has checked them.
    """

    def __init__(self, members: Sequence[Classifier], weights: Sequence[float], bounds: Bounds) -> None:
        super().__init__()
        self.members, self.weights, self.bounds = tuple(members), tuple(weights), bounds
        self.inner = nn.ModuleList(each.module for each in members if isinstance(each.module, nn.Module))
        # In the state dict, and so in the fingerprint: what the parameters alone do not tell.
        self.register_buffer("share", torch.tensor(self.weights, dtype=torch.float64))
        self.register_buffer("marks", torch.stack([_mark(each) for each in members]))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of inputs (n, *f) in the bounds of the ensemble."""
        parts = [weight * self._logits(each, x) for each, weight in zip(self.members, self.weights, strict=True)]
        if len({part.shape[1] for part in parts}) > 1:
            raise ModelError(
                f"the members of the ensemble have {', '.join(str(part.shape[1]) for part in parts)} classes; their "
                "logits can be averaged only if they have the same"
            )
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]

    def _logits(self, member: Classifier, x: Tensor) -> Tensor:
        own, given = member.bounds, self.bounds
        inner = x if own == given else own.lower + (x - given.lower) * (own.width / given.width)
        return member.logits(inner)


def ensemble(
    members: Sequence[Classifier], *, weights: Sequence[float] | None = None, bounds: Bounds | None = None
) -> Classifier:
    """One classifier out of several: the mean of their logits, which transfers better than that of their losses.

    A pass of the ensemble is one of each member: its own meter counts it once, and the meters of the members too.

    Args:
        members: at least one, of the same classes, on one device.
        weights: one for each member, >= 0, divided by their sum; None weighs all alike.
        bounds: the box of the ensemble's inputs, that of the first member where it is left out. A member with another
            box sees the inputs moved and stretched into its own.

    Raises:  ArgumentTypeError or SettingError if the members or weights are not as said;  ModelError, at the first
        look, if the members have different classes.
    Source:  Dong et al. 2018, arXiv:1710.06081, section 3.3, "ensemble in logits".
    """
    members = list(members)
    if not members or not all(isinstance(each, Classifier) for each in members):
        raise ArgumentTypeError(f"members={shown(members)} must be at least one saddlepoint.Classifier")
    if len({each.device for each in members}) > 1:
        raise SettingError(
            f"the members are on {', '.join(str(each.device) for each in members)}; load all on one device"
        )
    given = [1.0] * len(members) if weights is None else [float(weight) for weight in weights]
    if len(given) != len(members) or not all(0 <= each < float("inf") for each in given) or not sum(given) > 0:
        raise SettingError(f"weights={shown(weights)} must be {len(members)} numbers >= 0, one of them positive")
    box = members[0].bounds if bounds is None else bounds
    module = Ensemble(members, [each / sum(given) for each in given], box)
    return Classifier(module, bounds=box, device=members[0].device)


def _mark(member: Classifier) -> Tensor:
    """(32,) bytes that tell a member from others of the same parameters."""
    kind = type(member.module)
    mark = f"{member.fingerprint} {kind.__module__}.{kind.__qualname__} {member.autocast}"
    return torch.frombuffer(bytearray(hashlib.sha256(mark.encode()).digest()), dtype=torch.uint8)
