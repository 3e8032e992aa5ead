"""MART: misclassified rows get a larger share of the divergence (Wang et al.)."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels, Logits, PerRow
from saddlepoint.balls import Ball, Bounds
from saddlepoint.defenses.training.objectives._checks import check_ascent, radius, scores
from saddlepoint.defenses.training.objectives._inner import Ascent, Bn, attacked, maximise, near
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.defenses.training.objectives.trades import kl
from saddlepoint.noise import Noise

_OFFSET = 1e-4  # keeps -log(1 - p) finite where another class is certain


@final
@dataclass(frozen=True, kw_only=True)
class Mart:
    """mean of -log p_y(x') - log(1.0001 - max_{j != y} p_j(x')) + beta KL(p(x) || p(x')) (1 - p_y(x)).

    x' is found by cross-entropy; all terms carry gradient, the weight 1 - p_y(x) too.

    Args:
        ball: Linf, L2 or L1.
        beta: weight of the divergence, the paper's lambda.
        steps: at least 1;  step_size: in input units; None means 2.5 eps / steps.
        bounds: the box of the inputs.
        bn: statistics of batch normalisation while the attack runs; the authors' is "eval" (``Mart.as_published``).

    Source:  Wang et al. 2020, https://openreview.net/forum?id=rklOg6EFwS; the offset 1.0001 and the start, normal noise
        of a thousandth of the box, are those of the authors' code.
    Departs:  from log-probabilities on both sides, without the further offsets that their code adds to logarithms.
    """

    ball: Ball
    beta: float = 5.0
    steps: int = 10
    step_size: float | None = None
    bounds: Bounds = Bounds()
    bn: Bn = "eval"
    as_published: ClassVar[Bn] = "eval"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ascent(self.ball, self.beta, self.steps, self.step_size, self.bn)

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        size = 2.5 * radius(self.ball) / self.steps if self.step_size is None else self.step_size
        attack = Ascent(ball=self.ball, start=near(x, self.bounds, noise), steps=self.steps, step_size=size)
        with attacked(module, self.bounds, self.bn) as model:
            return maximise(attack, model, x, y, noise)

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        clean, moved = scores(module, x).log_softmax(1), scores(module, points).log_softmax(1)
        doubt = -torch.expm1(clean.gather(1, y[:, None]).squeeze(1))
        return (boosted(moved, y) + self.beta * kl(clean, moved) * doubt).mean()


def boosted(log_p: Logits, y: Labels) -> PerRow:
    """Cross-entropy and a margin term: -log p_y - log(1.0001 - max_{j != y} p_j), of log-probabilities (n, k)."""
    other = log_p.scatter(1, y[:, None], -torch.inf).amax(1).exp()
    return -log_p.gather(1, y[:, None]).squeeze(1) - torch.log1p(_OFFSET - other)
