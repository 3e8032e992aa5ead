"""K-density: how likely the features of an input are among those of the class that it is given."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, PerRow, is_number
from saddlepoint.classifier import Classifier
from saddlepoint.detectors._body import Body, checked_rows, collected
from saddlepoint.detectors.scorer import Look, Scorer
from saddlepoint.errors import DataError, SettingError, shown
from saddlepoint.noise import Noise

_AT_ONCE = 1 << 14  # kernels whose distances are held at a time
_SPREAD = 8.0  # of log variance around the median rule's, in which the likeliest is sought
_GOLDEN = (math.sqrt(5) - 1) / 2


def squared_distances(points: Tensor, kernels: Tensor) -> Tensor:
    """|p - k|^2 of points (n, d) and kernels (m, d): (n, m), differentiable also where it is 0."""
    across = points @ kernels.mT
    return (points.square().sum(1, keepdim=True) + kernels.square().sum(1) - 2 * across).clamp_min(0)


def log_density(distances: Tensor, variance: float | Tensor) -> PerRow:
    """Log mean_i exp(-d_i^2 / variance), in the log domain: (n,).

    Args:  distances: squared ones (n, m);  variance: sigma^2, twice the square of a Gaussian's bandwidth.
    """
    return (-distances / variance).logsumexp(1) - math.log(distances.shape[1])


@final
class Density(Scorer):
    """Minus the log density of the features among the kernels of the predicted class.

    Args:
        layer: whose features.
        kernels: (m, d), in the order of their classes;  counts: (k,), how many each class has.
        variance: (), sigma^2.
    """

    name: ClassVar[str] = "k-density"
    kernels: Tensor
    counts: Tensor
    variance: Tensor

    def __init__(self, model: Classifier, layer: str | None, kernels: Tensor, counts: Tensor, variance: Tensor) -> None:
        super().__init__(model)
        self.layer = layer
        self.keep(kernels=kernels, counts=counts, variance=variance)
        self._sizes = [int(count) for count in counts]

    def look(self, x: Batch) -> Look:
        logits, (features,) = self.body.features(x, [self.layer])
        every = self.log_densities(features.flatten(1))
        predicted = logits.argmax(1, keepdim=True)
        return Look(logits, -every.gather(1, predicted).squeeze(1).to(x.dtype))

    def log_densities(self, features: Tensor) -> Tensor:
        """Log mean_i exp(-|z_i - z|^2 / sigma^2) of features (n, d) among the kernels of every class: (n, k)."""
        z, kernels = features.double(), self.kernels.double()
        found: list[Tensor] = []
        first = start = 0
        for last in range(1, len(self._sizes) + 1):  # classes in groups, as many as fit
            held = sum(self._sizes[first:last])
            if last < len(self._sizes) and held + self._sizes[last] <= _AT_ONCE:
                continue
            distances = squared_distances(z, kernels[start : start + held]).split(self._sizes[first:last], 1)
            found += [log_density(part, self.variance) for part in distances]
            first, start = last, start + held
        return torch.stack(found, 1)

    def settings(self) -> dict[str, Any]:
        return {"layer": self.layer}


@final
@dataclass(frozen=True, kw_only=True)
class KDensity:
    """Suspicious is an input whose features are unlike those of the class that it is given.

    log mean_i exp(-|z_i - z|^2 / sigma^2), over kernels z_i: features of clean rows of the predicted class.

    Args:
        layer: name of a submodule whose output, flattened, is the feature; None: the input of the last linear layer.
        kernels: of each class, at most, drawn by ``seed`` from the rows of that label.
        bandwidth: sigma, a number; or "median", sigma^2 = the median squared distance within a class / log of the
            kernels in a class; or "likelihood", what makes the kernels likeliest, each under all others of its class.
        seed: of the draw.

    Raises:  SettingError for another bandwidth, or no kernel.

    Source:  Pang, Du, Dong & Zhu 2018, arXiv:1706.00633, section 4.2; Feinman et al. 2017, arXiv:1703.00410.
    Departs:  the logarithm of the density, which ranks alike and does not underflow. The authors fix sigma^2 to
        1 / 0.26 for 64 features of their nets; here it follows the features.
    """

    layer: str | None = None
    kernels: int = 1000
    bandwidth: float | str = "median"
    seed: int = 0
    name: ClassVar[str] = "k-density"

    def __post_init__(self) -> None:
        if isinstance(self.kernels, bool) or not isinstance(self.kernels, int) or self.kernels < 1:
            raise SettingError(f"kernels={shown(self.kernels)} must be an integer >= 1")
        named = self.bandwidth in ("median", "likelihood")
        if not named and (not is_number(self.bandwidth) or not 0 < self.bandwidth < math.inf):
            raise SettingError(
                f"bandwidth={shown(self.bandwidth)} must be 'median', 'likelihood', or a finite number > 0"
            )

    def fit(self, model: Classifier, x: Batch, y: Labels) -> Density:
        """Fit to clean rows x (n, *f) with labels y (n,), such as those of the training.

        Raises:
            DataError: if a class of the model has no row, or none has two different ones, which a rule needs.
            ModelError: if there is no such layer.
        """
        x, y = checked_rows(model, x, y)
        logits, (features,) = collected(model, Body(model), x, y, [self.layer])
        features, k = features.flatten(1), logits.shape[1]
        groups = [features[self._drawn(y == c)] for c in range(k)]
        if empty := [c for c, group in enumerate(groups) if not len(group)]:
            raise DataError(f"no row has the class {shown(empty)}: every class needs kernels; give rows of all {k}")
        variance = self._variance(groups)
        return Density(model, self.layer, torch.cat(groups), torch.tensor([len(group) for group in groups]), variance)

    def _drawn(self, mask: Tensor) -> Tensor:
        """The places of at most ``kernels`` rows, in their own order."""
        rows = mask.nonzero().squeeze(1)
        order = Noise(self.seed, rows).uniform(torch.empty(len(rows), 1, device=rows.device)).squeeze(1).argsort()
        return rows[order[: self.kernels]].sort().values

    def _variance(self, groups: list[Tensor]) -> Tensor:
        """sigma^2, ()."""
        if not isinstance(self.bandwidth, str):
            return torch.tensor(float(self.bandwidth) ** 2, dtype=torch.float64)
        pairs = [squared_distances(group.double(), group.double()) for group in groups if len(group) > 1]
        apart = [part[~torch.eye(len(part), dtype=torch.bool, device=part.device)] for part in pairs]
        middle = torch.cat(apart).median() if apart else torch.zeros(())
        if not middle > 0:
            raise DataError(
                "most rows of a class have the same features, or are alone: no bandwidth follows from them; give more "
                "rows, another layer, or bandwidth= as a number"
            )
        size = sum(map(len, groups)) / len(groups)
        rule = middle / max(math.log(size), 1.0)
        return rule if self.bandwidth == "median" else _likeliest(pairs, rule, groups[0].shape[1])


def _likeliest(pairs: list[Tensor], around: Tensor, d: int) -> Tensor:
    """The sigma^2 with the highest sum of log densities, each kernel under the others of its class."""

    def likelihood(log: float) -> float:
        variance, total = math.exp(log), 0.0
        for part in pairs:
            others = (-part / variance).fill_diagonal_(-torch.inf).logsumexp(1) - math.log(len(part) - 1)
            total += float((others - d / 2 * math.log(math.pi * variance)).sum())
        return total

    middle = math.log(float(around))
    low, high = middle - _SPREAD, middle + _SPREAD
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_a, at_b = likelihood(a), likelihood(b)
    while high - low > 0.01:  # 1 % of sigma^2
        if at_a > at_b:
            high, b, at_b = b, a, at_a
            a = high - _GOLDEN * (high - low)
            at_a = likelihood(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + _GOLDEN * (high - low)
            at_b = likelihood(b)
    return torch.tensor(math.exp((low + high) / 2), dtype=torch.float64)
