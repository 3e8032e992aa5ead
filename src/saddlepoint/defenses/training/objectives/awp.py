"""Adversarial weight perturbation around any objective (Wu et al.)."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.weak import WeakTensorKeyDictionary

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.objectives._checks import check_share, check_weight
from saddlepoint.defenses.training.objectives.objective import Memory, Objective
from saddlepoint.errors import InputError, SettingError
from saddlepoint.noise import Noise

# ``loss`` is not told how far the training is, ``points`` is: whether the warm-up is over goes along with the points.
_EARLY = WeakTensorKeyDictionary()


@final
@dataclass(frozen=True, kw_only=True)
class AWP:
    """The objective's loss at w + v, v = gamma |w| g / |g| for each weight tensor, g its gradient at the same points.

    The points are those of the objective at w. v is a constant of the batch: the gradient that the optimizer gets is
    taken at w + v, and w itself never moves. At gamma = 0, and in the warm-up, it is the objective itself.

    Args:
        objective: any other one.
        gamma: size of the perturbation, relative to each weight tensor; biases and scales (one axis) stay.
        warmup: share of the training before the first perturbation, in [0, 1].

    Source:  Wu, Xia & Wang 2020, arXiv:2004.05884, section 4, with one step for v.
    Departs:  no proxy of the model: the two passes are ``torch.func.functional_call`` of the module itself; the first
        one normalises by its batch and leaves the running statistics alone, as the authors' proxy does.
    """

    objective: Objective
    gamma: float = 5e-3
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.objective, AWP):
            raise SettingError("the objective is AWP itself; give the one inside, with the sum of both gammas")
        check_weight("gamma", self.gamma)
        check_share("warmup", self.warmup, "the share of training before weights are perturbed")

    @property
    def replays(self) -> int:
        """That of the objective."""
        return int(getattr(self.objective, "replays", 1))

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        points = self.objective.points(module, x, y, noise=noise, progress=progress, memory=memory)
        if self.warmup:
            _EARLY[points] = progress < self.warmup
        return points

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        if self.gamma == 0 or self._early(points):
            return self.objective.loss(module, x, points, y)
        weights = {name: p for name, p in module.named_parameters() if p.requires_grad and p.dim() > 1}
        apart = {name: buffer.clone() for name, buffer in module.named_buffers()}
        loss = self.objective.loss(_At(module, apart), x, points, y)
        grads = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, materialize_grads=True)
        moved = {
            name: weight + _perturbation(weight.detach(), grad, self.gamma)
            for (name, weight), grad in zip(weights.items(), grads, strict=True)
        }
        return self.objective.loss(_At(module, moved), x, points, y)

    def _early(self, points: Batch) -> bool:
        if not self.warmup:
            return False
        if points not in _EARLY:
            raise InputError("AWP with a warm-up does not know these points; give loss the tensor that points returned")
        return bool(_EARLY[points])


@final
class _At(nn.Module):
    """A module with some of its tensors replaced, those of its own untouched."""

    def __init__(self, module: nn.Module, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.module, self.tensors = module, tensors

    def forward(self, x: Batch) -> Tensor:
        output: Tensor = functional_call(self.module, self.tensors, (x,))
        return output


def _perturbation(weight: Tensor, grad: Tensor, gamma: float) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(grad)
    length: Tensor = torch.linalg.vector_norm(weight)
    return gamma * length * grad / torch.where(size > 0, size, 1)
