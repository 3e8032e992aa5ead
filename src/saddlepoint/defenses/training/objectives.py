"""What training minimises: functions of (module, x, y) that return one differentiable number."""

from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks import PGD
from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem
from saddlepoint.result import Keep
from saddlepoint.solve import search

Memory: TypeAlias = dict[str, Tensor]


class Objective(Protocol):
    """The outer minimum, in two halves: where the loss is taken, and the loss there."""

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        """The inputs (n, *f) that the loss is about, such as adversarial ones; no gradient of parameters is taken.

        Args:
            x: (n, *f), input units;  y: (n,);  noise: bound to the rows' ids and this epoch.
            progress: share of the training done, in [0, 1].
            memory: the objective's own tensors by name, changed in place; empty at first, kept from batch to batch.
        """

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        """The loss of a batch, a scalar; its gradient reaches the parameters of the module."""


@final
@dataclass(frozen=True, kw_only=True)
class Standard:
    """Mean cross-entropy on clean inputs."""

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        return x

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        return functional.cross_entropy(module(points), y)


@final
@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Mean cross-entropy on adversarial inputs only: min over weights of E[max over the ball of loss(f(x + delta), y)].

    The attack's last iterate is trained on, and no parameter gradient is computed while it is searched for.

    Args:
        attack: the inner maximisation; its eps must be one number.
        bounds: the box of the inputs.
        warmup: share of the training over which eps grows linearly from 0; without it small nets may not learn at all.

    Source:  Madry et al. 2018, arXiv:1706.06083, Eq. (2.1).
    Departs:  the warm-up; the attack runs in evaluation mode (the authors' CIFAR-10 code attacks in training mode).
    """

    attack: PGD
    bounds: Bounds = Bounds()
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise SettingError(f"warmup={self.warmup!r} must lie in [0, 1]: the share of training over which eps grows")
        if isinstance(self.attack.ball.eps, Tensor):
            raise SettingError("the attack has one eps per row; adversarial training needs one eps")

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        ball, share = self.attack.ball, min(1.0, progress / self.warmup) if self.warmup else 1.0
        attack = replace(self.attack, keep=Keep.LAST, ball=replace(ball, eps=ball.eps * share))
        problem = Problem.open(attack, Classifier(module, bounds=self.bounds), x, y, None, noise, Limits())
        search(attack, problem)
        return problem.record.points()

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        return functional.cross_entropy(module(points), y)
