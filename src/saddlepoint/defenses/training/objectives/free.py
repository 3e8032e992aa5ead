"""Free adversarial training (Shafahi et al.)."""

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Ball, Bounds
from saddlepoint.checks import check_inputs
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training.objectives import _recall
from saddlepoint.defenses.training.objectives._checks import radius, scores
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.errors import SettingError, shown
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class Free:
    """Mean cross-entropy on x + d; the backward pass that moves the weights moves d too: d <- P(d + eps sign(grad_d)).

    d starts at 0 and stays from batch to batch, by place in the batch. Each batch is trained on ``replays`` times, so
    that d can follow it; with fewer epochs by that factor the training costs what standard training does.

    Args:
        ball: Linf, L2 or L1; the step is eps times the norm's steepest.
        replays: m, at least 1. With 1 there is one step on x + d, for the d that is kept.
        bounds: the box of the inputs.

    Source:  Shafahi et al. 2019, arXiv:1904.12843, Algorithm 1.
    Departs:  the kept perturbation is cut by the box as well as by the ball; other norms.
    """

    ball: Ball
    replays: int = 4
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        radius(self.ball)
        if isinstance(self.replays, bool) or not isinstance(self.replays, int) or self.replays < 1:
            raise SettingError(f"replays={shown(self.replays)} must be an integer >= 1")

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        x = check_inputs(Classifier(module, bounds=self.bounds), x)
        self.ball.check(x, self.bounds)
        start = self.ball.project(x + _recall.recall(memory, x), x, self.bounds)
        points = (
            start.detach().requires_grad_()
        )  # the hook knows ``start``: were it ``points``, each would hold the other

        def follow(grad: Tensor) -> None:  # in the caller's loss.backward()
            step = radius(self.ball) * self.ball.steepest_step(grad.nan_to_num(0.0, 0.0, 0.0), start, self.bounds)
            _recall.keep(memory, self.ball.project(start + step, x, self.bounds) - x)

        points.register_hook(follow)
        return points

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        return functional.cross_entropy(scores(module, points), y)
