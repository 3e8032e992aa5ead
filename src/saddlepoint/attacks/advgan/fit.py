"""AdvGAN: a net that makes perturbations, fitted once; afterwards an example costs one pass through it."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from torch import nn

from saddlepoint._typing import Batch, Labels, is_number
from saddlepoint.attacks.advgan.attack import EVERY, NO_TARGET, AdvGANAttack, Epoch
from saddlepoint.attacks.advgan.training import train
from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError, shown


@final
@dataclass(frozen=True, kw_only=True)
class BlackBox:
    """The model can only be asked: a copy is distilled from its answers, and the generator is fitted to the copy.

    Args:
        rounds: 0 is static distillation: one copy, from the answers to the clean rows. Each further round is dynamic:
            the box is asked about the points of the generator, the copy learns both answers, and the generator is
            fitted to it once more; both go on from where they were.
        epochs: in which the copy learns, in each round.
        rate: of Adam, for the copy.
        labels_only: the box tells its class only, not its probabilities.

    Queries:  one for each row and round, and one for each clean row; no gradients.
    Source:  Xiao et al. 2018, arXiv:1801.02610, section 3.4.
    Departs:  in the paper, the copy learns once more after the last generator; here it does not.
    """

    rounds: int = 0
    epochs: int = 10
    rate: float = 1e-3
    labels_only: bool = False

    def __post_init__(self) -> None:
        _check_integers(self, rounds=0, epochs=1)
        _check_numbers(self, rate=True)


@final
@dataclass(frozen=True, kw_only=True)
class AdvGAN:
    """How a generator G is fitted: it is to fool a model by x' = clip(x + clip(G(x), -eps, eps)), unseen and small.

    G minimises  L_adv + gan_weight L_GAN + norm_weight L_norm  (means over a batch), one step of Adam after each one of
    a discriminator D, which is to tell x from x':

        L_adv = max(0, confidence - margin(x'))      the margin of Carlini & Wagner's f_6, away from y or to a target
        L_GAN = (D(x') - 1)^2                        D itself minimises (D(x) - 1)^2 + D(x')^2
        L_norm = max(0, |G(x)|_2 - norm_bound)

    Args:
        ball: of Linf.
        target: "none": any wrong class; a class: that one; "every": one generator that is told the class, fitted to
            classes drawn at random for each row and epoch, never the label.
        confidence: margin at which a row counts as done, in logit units.
        gan_weight, norm_weight, norm_bound: alpha, beta and c of the paper; the bound in input units.
        epochs: over the rows, in each round;  batch_size: rows of a step.
        rate: of Adam, for G and D; a tenth of it in the last sixth of the epochs.
        width, blocks: of the generator, see :class:`~saddlepoint.attacks.advgan.nets.Generator`.
        average: decay of the moving average of G's weights, which is what is returned; 0 returns the last ones.
        seed: of weights, order and targets.
        black_box: None where the model's gradients are used.

    Raises:  SettingError for a value outside its range.
    Source:  Xiao, Li, Zhu, He, Liu & Song 2018, arXiv:1801.02610. The paper gives no weights: their ratio, and all
        other numbers, are those of the public code (adversarial 10, GAN 1, norm 1).
    Departs:  logits in place of probabilities; per-batch means in all terms; averaged weights; a class may be given.
    """

    ball: Linf
    target: str | int = NO_TARGET
    confidence: float = 0.0
    gan_weight: float = 0.1
    norm_weight: float = 0.1
    norm_bound: float = 0.0
    epochs: int = 60
    batch_size: int = 128
    rate: float = 1e-3
    width: int = 16
    blocks: int = 2
    average: float = 0.999
    seed: int = 0
    black_box: BlackBox | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.ball, Linf) or not is_number(self.ball.eps) or math.isinf(self.ball.eps):
            raise SettingError(f"ball={shown(self.ball)} must be of Linf, with one finite eps, such as Linf(0.3)")
        numbered = isinstance(self.target, int) and not isinstance(self.target, bool) and self.target >= 0
        if not numbered and self.target not in (NO_TARGET, EVERY):
            raise SettingError(f"target={shown(self.target)} must be {NO_TARGET!r}, {EVERY!r} or a class, such as 3")
        _check_integers(self, epochs=1, batch_size=1, width=1, blocks=0, seed=0)
        _check_numbers(self, confidence=False, gan_weight=False, norm_weight=False, norm_bound=False, rate=True)
        if not is_number(self.average) or not 0 <= self.average < 1:
            raise SettingError(f"average={shown(self.average)} must lie in [0, 1)")

    def describe(self) -> dict[str, Any]:
        """The settings as JSON."""
        return {**asdict(self), "ball": self.ball.describe()}

    def fit(
        self,
        model: Classifier,
        x: Batch,
        y: Labels | None = None,
        *,
        copy: nn.Module | None = None,
        checkpoint: str | Path | None = None,
        watch: Callable[[int, int], None] | None = None,
        told: Callable[[Epoch], None] | None = None,
    ) -> AdvGANAttack:
        """Fit a generator to rows x (n, *f) in the box, with labels y (n,), or the model's own predictions.

        The model is frozen meanwhile, and every pass is counted. The same seed, machine and thread count give the same
        weights, bit for bit, killed and resumed or not.

        Args:
            copy: of a black box: a net of its inputs and classes, with the weights to begin with; it is not changed.
            checkpoint: a file that keeps the fit, and from which it goes on; delete it when it is no longer needed.
            watch: called after every step with (steps done, steps in all), for a progress bar.
            told: called after every epoch with what it saw.

        Raises:
            InputError: if x and y do not match, or lie outside box and classes, or the loss stops being finite.
            SettingError: if a copy is missing, or given without a black box.
            RecordError: if the checkpoint is of another fit, or cannot be read or written.
        """
        return train(self, model, x, y, copy, None if checkpoint is None else Path(checkpoint), watch, told)


def _check_integers(settings: object, **least: int) -> None:
    for name, bound in least.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < bound:
            raise SettingError(f"{name}={shown(value)} must be an integer >= {bound}")


def _check_numbers(settings: object, **positive: bool) -> None:
    for name, strict in positive.items():
        value = getattr(settings, name)
        if (
            isinstance(value, bool)
            or not is_number(value)
            or not (value > 0 if strict else value >= 0)
            or value == math.inf
        ):
            raise SettingError(f"{name}={shown(value)} must be a finite number {'> 0' if strict else '>= 0'}")
