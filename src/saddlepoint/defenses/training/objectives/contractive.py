"""The penalty of deep contractive networks around any objective (Gu & Rigazio)."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Bounds
from saddlepoint.defenses.training.objectives._checks import check_share, check_weight
from saddlepoint.defenses.training.objectives._layers import Watch, watched
from saddlepoint.defenses.training.objectives.awp import AWP
from saddlepoint.defenses.training.objectives.objective import Memory, Objective, bounds_of
from saddlepoint.errors import InputError, ModelError, SettingError
from saddlepoint.noise import Noise

# ``loss`` knows neither the noise nor how far the training is: the noisy inputs (None where they are the points
# themselves, which would else hold their own key) and the share of the weight go along with the points.
_NOTES = WeakTensorKeyDictionary()


@final
@dataclass(frozen=True, kw_only=True)
class ContractivePenalty:
    """The objective's loss + weight * sum over layers j of mean over rows of |dh_j / dh_{j-1}|^2 / m_j.

    A layer is a dense one or a convolution with the batch normalisation and the activation that follow it directly; m_j
    is the number of its outputs, and the norm is Frobenius'. Its Jacobian has a closed form: with s the scale of batch
    normalisation from its running statistics,  |dh / dx|^2 = sum over outputs i of (phi'(z_i) s_i)^2 |W_i|^2,  where
    W_i are the weights that reach output i from inside the input. The penalty is of the passes that the objective
    itself makes in training (their mean, where it makes several), so that there are none more.

    Args:
        objective: any other one; AWP goes around the penalty.
        weight: of the penalty; at 0 it is the objective itself.
        squared: whether the norm is squared.
        sigma: standard deviation of Gaussian noise on the inputs of every step, in input units, clipped to the box. The
            objective gets the noisy inputs in place of the clean ones, so that it attacks them, too.
        warmup: share of the training over which the weight grows linearly from 0, in [0, 1]; a penalty that is huge at
            first otherwise drives the weights to 0.
        bounds: the box of the inputs, the objective's where it has one.

    Raises:  SettingError for AWP inside, a number that means nothing, or another box than the objective's; in training,
        ModelError if there is no layer of these kinds, or one whose Jacobian has no closed form here, and
        InputError for points that are not those of :meth:`points`.

    Source:  Gu & Rigazio 2015, arXiv:1412.5068, section 4; the square is that of contractive autoencoders (Rifai et al.
        2011).
    Departs:  the square; one weight for all layers, by outputs; the warm-up. The paper adds noise to the inputs, here
        only ``sigma`` > 0 does. Pooling, dropout, attention and sums have no penalty of their own.
    """

    objective: Objective
    weight: float = 1e-2
    squared: bool = True
    sigma: float = 0.0
    warmup: float = 0.0
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        if isinstance(self.objective, AWP | ContractivePenalty):
            raise SettingError(
                f"the objective is {type(self.objective).__name__}; put AWP around the penalty, and the penalty once"
            )
        check_weight("weight", self.weight)
        check_weight("sigma", self.sigma)
        check_share("warmup", self.warmup, "the share of training over which the weight grows")
        inside = bounds_of(self.objective)
        if inside is not None and inside != Bounds.of(self.bounds):
            raise SettingError(f"bounds={self.bounds} differ from the objective's, {inside}; give the penalty the same")

    @property
    def replays(self) -> int:
        """That of the objective."""
        return int(getattr(self.objective, "replays", 1))

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        if self.sigma:
            noisy = x + self.sigma * noise.child("contractive").normal(x)
            x = noisy.clamp(self.bounds.lower, self.bounds.upper)
        points = self.objective.points(module, x, y, noise=noise, progress=progress, memory=memory)
        if self.sigma or self.warmup:
            share = min(1.0, progress / self.warmup) if self.warmup else 1.0
            _NOTES[points] = (None if points is x else x, share)
        return points

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        x, share = self._noted(x, points)
        weight = self.weight * share
        if weight == 0:
            return self.objective.loss(module, x, points, y)
        with watched(module) as watch:
            loss = self.objective.loss(module, x, points, y)
        return loss + weight * self._penalty(watch)

    def _noted(self, x: Batch, points: Batch) -> tuple[Batch, float]:
        """The inputs that the points were made from, and the share of the weight."""
        if not self.sigma and not self.warmup:
            return x, 1.0
        if points not in _NOTES:
            raise InputError(
                "the penalty with noise or a warm-up does not know these points; give loss the tensor that points "
                "returned"
            )
        noisy, share = _NOTES[points]
        return points if noisy is None else noisy, share

    def _penalty(self, watch: Watch) -> Tensor:
        if not watch.layers:
            raise ModelError("the model has no dense layer or convolution to penalise; use the objective alone")
        terms = []
        for layer in watch.layers:
            norms = layer.squares().flatten(1).sum(1)
            if not self.squared:
                norms = norms.clamp_min(torch.finfo(norms.dtype).tiny).sqrt()  # no slope at 0
            terms.append(norms.mean() / layer.output[0].numel())
        return torch.stack(terms).sum() / watch.passes
