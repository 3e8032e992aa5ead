"""TRADES: accuracy traded for robustness (Zhang et al.)."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels, Logits, PerRow
from saddlepoint.balls import L2, Ball, Bounds
from saddlepoint.defenses.training.objectives._checks import check_ascent, radius, scores
from saddlepoint.defenses.training.objectives._inner import Ascent, Bn, attacked, maximise, near
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class Trades:
    """CE(f(x), y) + beta KL(p(x) || p(x')), x' = argmax over the ball of the same divergence.

    The gradient flows through both outputs; one pass of x serves both terms, and the inner loop knows its clean logits.

    Args:
        ball: Linf, L2 or L1.
        beta: weight of the divergence, the paper's 1 / lambda; at 0 there is no attack.
        steps: at least 1;  step_size: in input units; None means 2.5 eps / steps, in L2 the authors' 2 eps / steps.
        bounds: the box of the inputs.
        bn: statistics of batch normalisation while the attack runs; the authors' is "eval" (``Trades.as_published``).

    Source:  Zhang et al. 2019, arXiv:1901.08573, Algorithm 1. The clean output is the divergence's target,
        as in the authors' code, and the start is normal noise of a thousandth of the box, where x itself has no slope.
    Departs:  the divergence is taken from log-probabilities on both sides, so that it stays finite; the points of L2
        are the nearest ones of ball and box; rows without a gradient there move along noise of their own.
    """

    ball: Ball
    beta: float = 6.0
    steps: int = 10
    step_size: float | None = None
    bounds: Bounds = Bounds()
    bn: Bn = "eval"
    as_published: ClassVar[Bn] = "eval"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ascent(self.ball, self.beta, self.steps, self.step_size, self.bn)

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        if self.beta == 0:
            return x
        euclidean = isinstance(self.ball, L2)
        customary = (2.0 if euclidean else 2.5) * radius(self.ball) / self.steps
        with attacked(module, self.bounds, self.bn) as model:
            with torch.no_grad():
                clean = model.logits(x).log_softmax(1)

            def divergence(logits: Logits, y: Labels, aim: Labels | None) -> PerRow:
                return kl(clean, logits.log_softmax(1))

            attack = Ascent(
                ball=self.ball,
                loss=divergence,
                start=near(x, self.bounds, noise),
                steps=self.steps,
                step_size=customary if self.step_size is None else self.step_size,
                escape=noise.child("escape").normal(x) if euclidean else None,
            )
            return maximise(attack, model, x, y, noise)

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        logits = scores(module, x)
        clean = functional.cross_entropy(logits, y)
        if self.beta == 0:
            return clean
        return clean + self.beta * kl(logits.log_softmax(1), scores(module, points).log_softmax(1)).mean()


def kl(target: Logits, other: Logits) -> PerRow:
    """KL(target || other) of each row, in nats, >= 0 up to rounding; both are log-probabilities (n, k)."""
    return functional.kl_div(other, target, reduction="none", log_target=True).sum(1)
