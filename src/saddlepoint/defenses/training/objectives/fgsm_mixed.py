"""Training on clean and FGSM inputs together (Goodfellow et al.)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Ball, Bounds
from saddlepoint.defenses.training.objectives._checks import check_choice, check_share, radius, scores
from saddlepoint.defenses.training.objectives._inner import Ascent, Bn, attacked, maximise
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class FGSMMixed:
    """alpha CE(f(x), y) + (1 - alpha) CE(f(x'), y), x' = x + eps sign(grad_x CE(f(x), .)), both of the same rows.

    x' starts at x, without noise: after long training such nets fall to any attack of several steps. Where nothing is
    moved (alpha = 1, eps = 0) the loss is the clean cross-entropy, bit for bit.

    Args:
        ball: Linf, L2 or L1; outside Linf the step is the norm's steepest.
        alpha: weight of the clean loss, in [0, 1].
        labels: of the attack. "predicted" keeps the true label from leaking into x' (Kurakin et al. 2017,
            arXiv:1611.01236), at one forward pass more; the loss is about the true ones in both cases.
        bounds: the box of the inputs;  bn: statistics of batch normalisation while the attack runs.

    Source:  Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572, section 6.
    Departs:  x' is clipped to the box; other norms. The source has no batch normalisation; here x and x' go through the
        module in two passes, so that each has the statistics of its own.
    """

    ball: Ball
    alpha: float = 0.5
    labels: Literal["true", "predicted"] = "true"
    bounds: Bounds = Bounds()
    bn: Bn = "eval"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        radius(self.ball)
        check_share("alpha", self.alpha, "the weight of the clean loss")
        check_choice("labels", self.labels, "true", "predicted")
        check_choice("bn", self.bn, "eval", "train")

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        eps = radius(self.ball)
        if self.alpha == 1 or eps == 0:
            return x
        attack = Ascent(ball=self.ball, start=x, steps=1, step_size=eps)
        with attacked(module, self.bounds, self.bn) as model:
            return maximise(attack, model, x, y if self.labels == "true" else None, noise)

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        clean = functional.cross_entropy(scores(module, x), y)
        if points is x:
            return clean
        return self.alpha * clean + (1 - self.alpha) * functional.cross_entropy(scores(module, points), y)
