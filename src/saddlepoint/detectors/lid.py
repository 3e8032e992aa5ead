"""Local intrinsic dimensionality: how fast the number of clean neighbours grows with the distance."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, PerRow
from saddlepoint.classifier import Classifier
from saddlepoint.detectors._body import Body, checked_rows, collected
from saddlepoint.detectors._examples import examples
from saddlepoint.detectors._logistic import Weights, regressed, summed
from saddlepoint.detectors.density import squared_distances
from saddlepoint.detectors.scorer import Look, Scorer
from saddlepoint.errors import DataError, SettingError, shown
from saddlepoint.noise import Noise
from saddlepoint.solve import Attack


def local_dimension(points: Tensor, reference: Tensor, k: int, *, skip: int = 0) -> PerRow:
    """-1 / mean_{i <= k} log(r_i / r_k), with r_i the distances to the k nearest of the reference: (n,).

    Args:
        points (n, d), reference (m, d);  k: neighbours, in [2, m - skip].
        skip: of the nearest ones; 1 where the points themselves are in the reference.

    Source:  Amsaleg et al. 2015; Ma et al. 2018, arXiv:1801.02613, Eq. (4), the estimator of maximum likelihood.
    Departs:  distances of 0, of duplicates, count as 1e-12 of the farthest.

    >>> line = torch.arange(100.0)[:, None]
    >>> round(local_dimension(line[:1], line, 20, skip=1).item(), 1)
    1.1
    """
    near = squared_distances(points.double(), reference.double()).topk(k + skip, 1, largest=False, sorted=True).values
    near = near[:, skip:]
    last = near[:, -1:].clamp_min(torch.finfo(near.dtype).tiny)
    return -2 / (near / last).clamp_min(1e-24).log().mean(1).clamp_max(-1e-12)


@final
class LocalDimension(Scorer):
    """The weighted sum of the dimensions at several layers.

    Args:
        layers: names;  k: neighbours;  reference0, reference1, ...: (m, d) clean features at each layer.
        mean, scale, weight: (layers,).
    """

    name: ClassVar[str] = "lid"
    mean: Tensor
    scale: Tensor
    weight: Tensor

    def __init__(self, model: Classifier, layers: list[str | None], k: int, **tensors: Tensor) -> None:
        super().__init__(model)
        self.layers, self.k = layers, k
        self.keep(**tensors)

    def look(self, x: Batch) -> Look:
        logits, features = self.body.features(x, self.layers)
        score = Weights(self.mean, self.scale, self.weight).of(self.parts(features))
        return Look(logits, score.to(x.dtype))

    def parts(self, features: list[Tensor]) -> Tensor:
        """The dimension at each layer (n, layers)."""
        found = [
            local_dimension(each.flatten(1), self.get_buffer(f"reference{i}"), self.k)
            for i, each in enumerate(features)
        ]
        return torch.stack(found, 1)

    def settings(self) -> dict[str, Any]:
        return {"layers": list(self.layers), "k": self.k}


@final
@dataclass(frozen=True, kw_only=True)
class LID:
    """Suspicious is an input around which the clean features are of high dimension, at several layers.

    Args:
        attack: known beforehand; a logistic regression learns to tell what it makes of the rows from the rows
            themselves, and from rows with noise of the same L2. Without one, the standardised dimensions are summed.
        layers: names of submodules, whose outputs are flattened; None: the input of the last linear layer.
        k: neighbours;  reference: how many of the rows are the clean batch that the neighbours are sought in.
        seed: of the draw of the reference, and of the attack.

    Raises:  SettingError if k is less than 2 or not less than reference, or there is no layer.

    Source:  Ma et al. 2018, arXiv:1801.02613, algorithm 1, with k = 20 in batches of 100.
    Departs:  one fixed batch of clean rows in place of the batch that the input came in, so that no score depends on
        other inputs; the rows of the reference are not learned from, and no neighbour is left out.
    """

    attack: Attack | None = None
    layers: tuple[str | None, ...] = (None,)
    k: int = 20
    reference: int = 100
    seed: int = 0
    name: ClassVar[str] = "lid"

    def __post_init__(self) -> None:
        if not 2 <= self.k < self.reference:
            raise SettingError(f"k={shown(self.k)} must be at least 2 and less than reference={shown(self.reference)}")
        if not self.layers:
            raise SettingError("layers=() names no layer; leave it out for the input of the last linear one")

    def fit(self, model: Classifier, x: Batch, y: Labels) -> LocalDimension:
        """Fit to clean rows x (n, *f) with labels y (n,).

        Raises:  DataError if there are no more rows than the reference needs, or the attack fools none.
        """
        x, y = checked_rows(model, x, y)
        if len(x) < self.reference + 2:
            raise DataError(f"{len(x)} rows are too few: reference={self.reference} of them are not learned from")
        order = (
            Noise(self.seed).child("reference").uniform(torch.empty(len(x), 1, device=x.device)).squeeze(1).argsort()
        )
        held, rest = order[: self.reference], order[self.reference :].sort().values
        body = Body(model)
        _, features = collected(model, body, x[held], y[held], self.layers)
        tensors = {f"reference{i}": each.flatten(1) for i, each in enumerate(features)}
        layers = list(self.layers)
        empty = torch.zeros(len(layers), dtype=torch.float64)
        scorer = LocalDimension(model, layers, self.k, **tensors, mean=empty, scale=empty, weight=empty)

        def parts(rows: Batch) -> Tensor:
            labels = y.new_zeros(len(rows))
            return scorer.parts(collected(model, body, rows, labels, layers)[1])

        if self.attack is None:
            weights = summed(parts(x[rest]))
        else:
            found = examples(model, self.attack, x[rest], y[rest], self.seed)
            if not len(found.adversarial):
                raise DataError("the attack fooled no row: there is nothing to learn from; use a stronger one")
            weights = regressed(torch.cat([parts(x[rest]), parts(found.noisy)]), parts(found.adversarial))
        return LocalDimension(model, layers, self.k, **tensors, **weights._asdict())
