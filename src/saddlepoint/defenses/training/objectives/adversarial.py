"""Adversarial training with PGD (Madry et al.)."""

from dataclasses import dataclass, replace
from typing import ClassVar, final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks import PGD
from saddlepoint.balls import Bounds, Linf
from saddlepoint.defenses.training.objectives._checks import check_choice, check_share, radius, scores
from saddlepoint.defenses.training.objectives._inner import Bn, attacked, maximise
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.defenses.transforms.discretised import DGA, LSPGA
from saddlepoint.errors import SettingError, shown
from saddlepoint.noise import Noise
from saddlepoint.result import Keep


@final
@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Mean cross-entropy on adversarial inputs only: min over weights of E[max over the ball of loss(f(x + delta), y)].

    The attack's last iterate is trained on, and no parameter gradient is computed while it is searched for.

    Args:
        attack: the inner maximisation, PGD in Linf, L2 or L1 with one finite eps. LSPGA and DGA are for a thermometer
            in front of the net; they verify their points, which costs a forward pass more.
        bounds: the box of the inputs.
        warmup: share of the training over which eps grows linearly from 0; without it small nets may not learn at all.
        bn: the statistics that batch normalisation uses while the attack runs.

    Raises:  SettingError for another attack, or a number that means nothing;  RadiusError or ArgumentTypeError for a
        ball that gradients cannot fill.

    Source:  Madry et al. 2018, arXiv:1706.06083, Eq. (2.1).
    Departs:  the warm-up; the attack runs in evaluation mode. The authors' CIFAR-10 code attacks in training mode
        (``bn="train"``, ``Adversarial.as_published``); its passes do not move the running statistics here.
    """

    attack: PGD | LSPGA | DGA
    bounds: Bounds = Bounds()
    warmup: float = 0.0
    bn: Bn = "eval"
    as_published: ClassVar[Bn] = "train"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_share("warmup", self.warmup, "the share of training over which eps grows")
        check_choice("bn", self.bn, "eval", "train")
        if not isinstance(self.attack, PGD | LSPGA | DGA):
            raise SettingError(
                f"attack={shown(self.attack)} must be PGD with its ball, or LSPGA or DGA for a thermometer, "
                "such as PGD(ball=Linf(8 / 255), steps=7)"
            )
        radius(self.attack.ball)

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        share = min(1.0, progress / self.warmup) if self.warmup else 1.0
        eps = radius(self.attack.ball) * share
        with attacked(module, self.bounds, self.bn) as model:
            if isinstance(self.attack, PGD):
                attack = replace(self.attack, keep=Keep.LAST, ball=replace(self.attack.ball, eps=eps))
                return maximise(attack, model, x, y, noise)
            return replace(self.attack, ball=Linf(eps))(model, x, y, noise=noise).x

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        return functional.cross_entropy(scores(module, points), y)
