"""Expectation over transformation: an attack on a random model that looks several times at every point."""

from dataclasses import dataclass
from typing import final

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks._turns import ball_of
from saddlepoint.balls import Ball
from saddlepoint.checks import check_batch
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError, shown
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult
from saddlepoint.solve import Attack


@final
@dataclass(frozen=True, kw_only=True)
class EOT:
    """An attack on what a random model does on average: every look is the mean over fresh draws of its randomness.

    The loss that is climbed, and its gradient, is  mean over draws of  J(z_draw(x), y);  the verdict is on the mean
    logits. Success is judged once more, on fresh draws that the attack has not seen. A draw is a forward pass of the
    whole batch, so a module that draws once a batch is averaged, too; all draws are counted. They are held in memory
    together, ``draws`` times as much as without.

    Args:
        attack: any; attacks around attacks go inside.
        draws: forward passes of a look, and backward passes of a gradient; 1 is the attack itself, which is right for
            a model that is not random.

    What the attack asks besides (questions of a search, several gradients of one pass) is told of mean logits.

    Raises:  SettingError if draws is no integer >= 1.
    Source:  Athalye, Engstrom, Ilyas & Kwok 2018, arXiv:1707.07397; Athalye, Carlini & Wagner 2018, arXiv:1802.00420.
    """

    attack: Attack
    draws: int = 20

    def __post_init__(self) -> None:
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 1:
            raise SettingError(f"draws={shown(self.draws)} must be an integer >= 1")

    @property
    def name(self) -> str:
        """The attack's name and the number of draws."""
        return f"{self.attack.name}-eot{self.draws}"

    @property
    def ball(self) -> Ball:
        """That of the attack."""
        return ball_of(self.attack)

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack, the budget is of single passes."""
        check_batch(model, x, y, target, noise)
        averaged = model.sampled(self.draws)
        result = self.attack(averaged, x, y, target=target, noise=noise, limits=limits)
        model.num_classes = averaged.num_classes
        return result
