"""Mahalanobis distance of features to the nearest class."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, PerRow, is_number
from saddlepoint.classifier import Classifier
from saddlepoint.detectors._body import Body, checked_rows, collected
from saddlepoint.detectors._examples import examples
from saddlepoint.detectors._logistic import Weights, regressed, summed
from saddlepoint.detectors.density import squared_distances
from saddlepoint.detectors.scorer import Look, Scorer
from saddlepoint.errors import DataError, SettingError, shown
from saddlepoint.solve import Attack

_RIDGE = 1e-6  # of the mean variance, added to every one


def pooled(features: Tensor) -> Tensor:
    """(n, c): the mean over all positions of features (n, c, ...)."""
    return features if features.dim() == 2 else features.flatten(2).mean(2)


def distance(features: Tensor, means: Tensor, root: Tensor) -> PerRow:
    """min_c (f - mu_c)^T S^-1 (f - mu_c): (n,).

    Args:  features (n, d), means (k, d);  root: (d, d), lower Cholesky factor of S.
    """
    middle = means.mean(0)  # of long vectors the small differences would be lost
    white: Tensor = torch.linalg.solve_triangular(root, (torch.cat([features, means]) - middle).mT, upper=False).mT
    return squared_distances(white[: len(features)], white[len(features) :]).amin(1)


@final
class Distances(Scorer):
    """The weighted sum of the distances at several layers.

    Args:
        layers: names;  eps: how far the input is moved first, towards a class.
        means0, root0, means1, ...: class means (k, d) and Cholesky factor (d, d) at each layer.
        mean, scale, weight: (layers,).
    """

    name: ClassVar[str] = "mahalanobis"
    mean: Tensor
    scale: Tensor
    weight: Tensor

    def __init__(self, model: Classifier, layers: list[str | None], eps: float, **tensors: Tensor) -> None:
        super().__init__(model)
        self.layers, self.eps = layers, eps
        self.keep(**tensors)

    def look(self, x: Batch) -> Look:
        logits, parts = self.parts(x)
        return Look(logits, Weights(self.mean, self.scale, self.weight).of(parts).to(x.dtype))

    def parts(self, x: Batch) -> tuple[Tensor, Tensor]:
        """Logits (n, k), and the distance at each layer (n, layers)."""
        logits, features = self.body.features(x, self.layers)
        if not self.eps:
            return logits, torch.stack([self._distance(i, each) for i, each in enumerate(features)], 1)
        found = []
        for i, layer in enumerate(self.layers):
            with torch.enable_grad():
                point = x.detach().requires_grad_()
                near = self._distance(i, self.body.features(point, [layer])[1][0])
                (grad,) = torch.autograd.grad(near.sum(), point)
            bounds = self.model.bounds
            moved = (x - self.eps * grad.sign()).clamp(bounds.lower, bounds.upper)
            found.append(self._distance(i, self.body.features(moved, [layer])[1][0]))
        return logits, torch.stack(found, 1)

    def _distance(self, i: int, features: Tensor) -> PerRow:
        return distance(pooled(features).double(), self.get_buffer(f"means{i}"), self.get_buffer(f"root{i}"))

    def settings(self) -> dict[str, Any]:
        return {"layers": list(self.layers), "eps": self.eps}


@final
@dataclass(frozen=True, kw_only=True)
class Mahalanobis:
    """Suspicious is an input whose features are far from those of every class, at several layers.

    The distance of features f, averaged over positions, is min_c (f - mu_c)^T S^-1 (f - mu_c), with the mean of each
    class and one covariance of all, about the means.

    Args:
        attack: known beforehand; a logistic regression learns to tell what it makes of the rows from the rows
            themselves, and from rows with noise of the same L2. Without one, the standardised distances are summed.
        layers: names of submodules; None: the input of the last linear layer.
        eps: how far an input is moved first, towards its nearest class, in input units, by the sign of the gradient;
            the paper tries 0.0005 to 0.01. Twice the passes and more; 0 leaves it out.
        seed: of the attack.

    Raises:  SettingError if eps is negative, or there is no layer.

    Source:  Lee, Lee, Lee & Shin 2018, arXiv:1807.03888, sections 2.1 and 2.2.
    Departs:  1e-6 of its mean variance is added to the covariance, which may be singular.
    """

    attack: Attack | None = None
    layers: tuple[str | None, ...] = (None,)
    eps: float = 0.0
    seed: int = 0
    name: ClassVar[str] = "mahalanobis"

    def __post_init__(self) -> None:
        if not is_number(self.eps) or not 0 <= self.eps < math.inf:
            raise SettingError(f"eps={shown(self.eps)} must be a finite number >= 0, in input units")
        if not self.layers:
            raise SettingError("layers=() names no layer; leave it out for the input of the last linear one")

    def fit(self, model: Classifier, x: Batch, y: Labels) -> Distances:
        """Fit to clean rows x (n, *f) with labels y (n,).

        Raises:  DataError if a class has no row, or all features of a layer are alike, or the attack fools none.
        """
        x, y = checked_rows(model, x, y)
        logits, features = collected(model, Body(model), x, y, self.layers)
        tensors: dict[str, Tensor] = {}
        for i, each in enumerate(features):
            tensors[f"means{i}"], tensors[f"root{i}"] = _gaussian(pooled(each).double(), y, logits.shape[1])
        layers = list(self.layers)
        empty = torch.zeros(len(layers), dtype=torch.float64)
        scorer = Distances(model, layers, self.eps, **tensors, mean=empty, scale=empty, weight=empty)

        def parts(rows: Batch) -> Tensor:
            with torch.no_grad(), model.frozen():
                return torch.cat([scorer.parts(part)[1] for part in rows.split(512)])

        if self.attack is None:
            weights = summed(parts(x))
        else:
            found = examples(model, self.attack, x, y, self.seed)
            if not len(found.adversarial):
                raise DataError("the attack fooled no row: there is nothing to learn from; use a stronger one")
            weights = regressed(torch.cat([parts(x), parts(found.noisy)]), parts(found.adversarial))
        return Distances(model, layers, self.eps, **tensors, **weights._asdict())


def _gaussian(features: Tensor, y: Labels, k: int) -> tuple[Tensor, Tensor]:
    """Class means (k, d) and the Cholesky factor of the shared covariance (d, d)."""
    counts = torch.bincount(y, minlength=k)
    if empty := (counts == 0).nonzero().squeeze(1).tolist():
        raise DataError(f"no row has the class {shown(empty)}: every class needs a mean; give rows of all {k}")
    means = features.new_zeros(k, features.shape[1]).index_add_(0, y, features) / counts[:, None]
    apart = features - means[y]
    covariance = apart.mT @ apart / len(features)
    ridge = covariance.diagonal().mean()
    if not ridge > 0:
        raise DataError("all rows of a class have the same features: no covariance follows from them; give more rows")
    return means, torch.linalg.cholesky(covariance + _RIDGE * ridge * torch.eye(len(covariance)).to(covariance))
