"""The attack under test, and the inputs and models that it is tested on."""

import copy
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from saddlepoint.balls import Ball, Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.losses import margin
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult, Keep
from saddlepoint.solve import Attack
from saddlepoint.testing.linear import LinearModel

ROWS = 24
CLASSES = 4
MEAN, STD = 0.45, 0.5
LARGEST = 0.4
"""The radius, as a share of the width, up to which a check may rely on a feature staying on its side of the box."""


class Case(NamedTuple):
    """A classifier, inputs x (n, *f) and labels y (n,)."""

    model: Classifier
    x: Tensor
    y: Tensor

    @property
    def module(self) -> nn.Module:
        """The model without its wrapping."""
        return cast(nn.Module, self.model.module)


@final
@dataclass(frozen=True, kw_only=True)
class Subject:
    """An attack and what was declared about it; see :func:`saddlepoint.testing.contract`."""

    attack: Attack
    ball: Ball
    within: float | None
    targeted: bool
    rebuild: Callable[[Ball], Attack] | None
    shape: tuple[int, ...]
    ranks: tuple[int, ...]
    device: str

    @property
    def features(self) -> int:
        """Number of features of one row."""
        return math.prod(self.shape)

    @property
    def keep(self) -> Keep | None:
        """Which point the attack returns, where it says."""
        return getattr(self.attack, "keep", None)

    @property
    def eps(self) -> float:
        """The radius of the attack, a moderate one for a minimum-norm attack without any."""
        eps = float(self.ball.eps)
        return self.largest if math.isinf(eps) else eps

    @property
    def largest(self) -> float:
        """LARGEST in the units of the ball, which need not be those of the inputs."""
        return LARGEST * self.ball.widest(Bounds(), 1)

    def sized(self, eps: float | Tensor) -> Attack:
        """The same attack with another radius."""
        ball = type(self.ball)(eps)
        if self.rebuild is not None:
            return self.rebuild(ball)
        return cast(Attack, dataclasses.replace(cast(Any, self.attack), ball=ball))

    def reduced(self) -> Attack:
        """The attack, with no more than the largest radius that NaN and flat models leave room for."""
        return self.attack if float(self.ball.eps) <= self.largest else self.sized(self.largest)

    def variants(self) -> Iterator[Attack]:
        """The attack, and also the form of it that stops at the first success."""
        yield self.attack
        if self.keep is Keep.MAX_LOSS:
            yield cast(Attack, dataclasses.replace(cast(Any, self.attack), keep=Keep.FIRST_SUCCESS))

    def run(
        self,
        case: Case,
        attack: Attack | None = None,
        *,
        rows: Tensor | None = None,
        target: Tensor | None = None,
        limits: Limits = Limits(),
    ) -> AttackResult:
        """Attack the case, or only these rows of it (m,), with the noise of their own ids."""
        attack, (model, x, y) = self.attack if attack is None else attack, case
        if rows is None:
            return attack(model, x, y, target=target, noise=Noise(3), limits=limits)
        target = None if target is None else target[rows]
        return attack(model, x[rows], y[rows], target=target, noise=Noise(3).at(rows), limits=limits)

    def case(self, dtype: torch.dtype = torch.float64, bounds: tuple[float, float] = (0.0, 1.0)) -> Case:
        """A small smooth net; rows near its decision boundary and far, the last three misclassified."""
        net, x, y = _net_and_rows(self.shape, dtype, bounds, self.device)
        return Case(Classifier(copy.deepcopy(net), bounds=bounds, mean=MEAN, std=STD), x.clone(), y.clone())

    def linear(self, dtype: torch.dtype = torch.float64) -> Case:
        """A linear model of two classes, with one weight of zero, and rows that touch the box here and there."""
        weight = 2 * Noise(5).normal(torch.empty(2, self.features, dtype=dtype))
        weight[:, -1] = weight[0, -1]
        module = LinearModel(weight, -weight.sum(1) / 2).to(self.device)
        x = _inputs(self.shape, dtype, (-0.25, 1.25), self.device).clamp(0, 1)
        return Case(Classifier(module), x, module(x).argmax(1))


@functools.lru_cache
def _net_and_rows(
    shape: tuple[int, ...], dtype: torch.dtype, bounds: tuple[float, float], device: str
) -> tuple[nn.Module, Tensor, Tensor]:
    net = network(math.prod(shape), dtype).to(device)
    x = _inputs(shape, dtype, bounds, device)
    y = bare(net, x).argmax(1)
    for _ in range(12):  # away from the boundary, the opposite of an attack
        x = x.requires_grad_()
        (grad,) = torch.autograd.grad(margin(net((x - MEAN) / STD), y).sum(), x)
        x = (x.detach() - 0.05 * (bounds[1] - bounds[0]) * grad.sign()).clamp(*bounds)
    # Towards the next row of another class until the prediction changes, then back by a share that differs by row.
    y = bare(net, x).argmax(1)
    other = _next_of_another_class(y)
    near, far = x.new_zeros(ROWS), x.new_ones(ROWS)
    for _ in range(30):
        middle = (near + far) / 2
        same = bare(net, _between(x, x[other], middle)).argmax(1) == y
        near, far = torch.where(same, middle, near), torch.where(same, far, middle)
    share = near * (1 - torch.linspace(0.02, 1, ROWS, dtype=dtype, device=device))
    x = _between(x, x[other], share).clamp(*bounds)
    y = bare(net, x).argmax(1)
    y[-3:] = (y[-3:] + 1) % CLASSES
    return net, x, y


def _inputs(shape: tuple[int, ...], dtype: torch.dtype, bounds: tuple[float, float], device: str) -> Tensor:
    like = torch.empty(ROWS, *shape, dtype=dtype, device=device)
    return bounds[0] + (bounds[1] - bounds[0]) * Noise(11).uniform(like)


def network(features: int, dtype: torch.dtype, *, classes: int = CLASSES) -> nn.Sequential:
    """A net of two layers with the weights of a fixed seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Flatten(), nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, classes)).to(dtype)
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            fan = parameter.shape[-1] if parameter.dim() > 1 else 100
            parameter.copy_(Noise(7).normal(parameter, i) / fan**0.5)
    return net


def bare(module: nn.Module, x: Tensor) -> Tensor:
    """Logits of the module itself, normalised here: no part of the package has a hand in it."""
    with torch.no_grad():
        logits: Tensor = module((x - MEAN) / STD)
    return logits


def fooled_rows(case: Case, x: Tensor, target: Tensor | None = None) -> Tensor:
    """Rows (n,) that fool the bare module; logits that are not finite fool nobody."""
    logits = bare(case.module, x)
    hit = logits.argmax(1) != case.y if target is None else logits.argmax(1) == target
    return hit & logits.isfinite().all(1)


def _between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    return start + share.view(-1, *[1] * (start.dim() - 1)) * (end - start)


def _next_of_another_class(y: Tensor) -> Tensor:
    """For each row the index of the next one, cyclically, with another label."""
    n = len(y)
    later = (torch.arange(n, device=y.device)[:, None] + torch.arange(n, device=y.device)) % n
    return later.gather(1, (y[later] != y[:, None]).int().argmax(1, keepdim=True))[:, 0]
