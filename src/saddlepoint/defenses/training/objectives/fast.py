"""Fast adversarial training: FGSM from a random start (Wong et al.)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks._gradient import check_size
from saddlepoint.balls import Ball, Bounds
from saddlepoint.defenses.training.objectives import _recall
from saddlepoint.defenses.training.objectives._checks import check_choice, radius, scores
from saddlepoint.defenses.training.objectives._inner import Ascent, Bn, attacked, maximise
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class Fast:
    """Mean cross-entropy on x + d, d = one step of length alpha from a start in the ball, clipped to ball and box.

    Many epochs, a start at 0 or a larger alpha bring about catastrophic overfitting: accuracy under attacks of several
    steps falls to 0 within an epoch, while that under FGSM rises.

    Args:
        ball: Linf, L2 or L1.
        step_size: alpha, in input units; None means 1.25 eps.
        start: "random" draws from the whole ball, "zero" is x itself, "previous" the perturbation of the row of the
            last batch that has the same place (0 at first).
        bounds: the box of the inputs; the start is moved into it.
        bn: statistics of batch normalisation while the attack runs.

    Source:  Wong, Rice & Kolter 2020, arXiv:2001.03994, Algorithm 3 and section 4.1.
    Departs:  the attack runs in evaluation mode, the authors' in training mode (``bn="train"``, ``Fast.as_published``);
        its passes do not move the running statistics here. Their code for MNIST does not clip the start to the box.
    """

    ball: Ball
    step_size: float | None = None
    start: Literal["random", "zero", "previous"] = "random"
    bounds: Bounds = Bounds()
    bn: Bn = "eval"
    as_published: ClassVar[Bn] = "train"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        radius(self.ball)
        check_size(self.step_size)
        check_choice("start", self.start, "random", "zero", "previous")
        check_choice("bn", self.bn, "eval", "train")

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        size = 1.25 * radius(self.ball) if self.step_size is None else self.step_size
        attack = Ascent(ball=self.ball, start=self._start(x, noise, memory), steps=1, step_size=size)
        with attacked(module, self.bounds, self.bn) as model:
            points = maximise(attack, model, x, y, noise)
        if self.start == "previous":
            _recall.keep(memory, points - x)
        return points

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        return functional.cross_entropy(scores(module, points), y)

    def _start(self, x: Batch, noise: Noise, memory: Memory) -> Batch:
        if self.start == "random":
            return self.ball.random_start(x, self.bounds, noise.child("start"))
        return x if self.start == "zero" else self.ball.project(x + _recall.recall(memory, x), x, self.bounds)
