"""Scores of several layers as one, by logistic regression or by their sum."""

from typing import NamedTuple

import torch
from torch import Tensor

from saddlepoint._typing import PerRow
from saddlepoint.errors import DataError, missing


class Weights(NamedTuple):
    """What each of m parts is worth: mean, scale and weight (m,), in float64."""

    mean: Tensor
    scale: Tensor
    weight: Tensor

    def of(self, parts: Tensor) -> PerRow:
        """The weighted sum (n,) of standardised parts (n, m)."""
        return ((parts.double() - self.mean) / self.scale) @ self.weight


def summed(clean: Tensor) -> Weights:
    """All parts alike, standardised by clean rows (n, m)."""
    mean, scale = _standard(clean)
    return Weights(mean, scale, torch.ones_like(mean))


def regressed(clean: Tensor, adversarial: Tensor) -> Weights:
    """What tells adversarial parts (p, m) from clean ones (n, m), standardised by the clean ones.

    Raises:  DataError if there are fewer than two adversarial rows;  MissingExtraError without scikit-learn.
    """
    if len(adversarial) < 2:
        raise DataError("the attack fooled fewer than 2 rows: there is nothing to learn from; use a stronger one")
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise missing("scikit-learn", "detect") from error
    mean, scale = _standard(clean)
    parts = ((torch.cat([clean, adversarial]).double() - mean) / scale).cpu().numpy()
    labels = [0] * len(clean) + [1] * len(adversarial)
    found = LogisticRegression(class_weight="balanced", max_iter=1000).fit(parts, labels)
    return Weights(mean, scale, torch.from_numpy(found.coef_[0]).to(mean))


def _standard(clean: Tensor) -> tuple[Tensor, Tensor]:
    spread, mean = torch.std_mean(clean.double(), 0)
    return mean, torch.where(spread > 0, spread, 1)
