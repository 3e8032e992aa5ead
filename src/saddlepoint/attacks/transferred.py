"""The black-box setting by transfer: points made on one model, and judged on another."""

from dataclasses import dataclass, field, replace
from typing import final

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks._turns import Timer, ball_of
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, SettingError, is_text, shown
from saddlepoint.losses import Loss, cross_entropy
from saddlepoint.models.ensemble import ensemble
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem
from saddlepoint.result import AttackResult, Keep
from saddlepoint.solve import Attack


@final
@dataclass(frozen=True, kw_only=True)
class Transferred:
    """An attack on a model of which the attacker sees nothing: its points are made on a surrogate, and handed over.

    The model is asked once about each point, to verify it, and about nothing else. So it is also the attack of one who
    does not know of a defense: ``surrogate`` is then the model without it.

    Args:
        attack: made on the surrogate; give one that goes on after its first success (``keep=Keep.MAX_LOSS``): a point
            that only just fools the surrogate seldom fools another model.
        surrogate: a classifier of the same inputs and classes; it may have other bounds, see
            :func:`saddlepoint.models.ensemble`, which also makes one out of several.
        source: what reports call the surrogate.

    ``forwards`` and ``backwards`` of the result are passes of the surrogate, and the budget is of those; ``success``
    and ``loss`` are the model's. Labels are the model's own predictions where y is None (a pass of the model, counted).

    Raises:  ArgumentTypeError if the surrogate is no classifier;  SettingError if it is on another device.
    Source:  Papernot, McDaniel & Goodfellow 2016, arXiv:1605.07277.
    """

    attack: Attack
    surrogate: Classifier
    source: str = "another model"
    loss: Loss = field(default_factory=lambda: cross_entropy, init=False, repr=False)  # a plain default would bind self
    keep: Keep = field(default=Keep.LAST, init=False, repr=False)
    confidence: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate, Classifier):
            raise ArgumentTypeError(
                f"surrogate is {type(self.surrogate).__name__}; wrap it, so that its input range is clear: "
                "saddlepoint.Classifier(model, bounds=(0, 1))"
            )
        if not is_text(self.source) or not self.source:
            raise ArgumentTypeError(f"source={shown(self.source)} must be text: what reports call the surrogate")

    @property
    def name(self) -> str:
        """The attack's name, and where its points are from."""
        return f"{self.attack.name} from {self.source}"

    @property
    def ball(self) -> Ball:
        """That of the attack."""
        return ball_of(self.attack)

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack."""
        if self.surrogate.device != model.device:
            raise SettingError(
                f"the surrogate is on {self.surrogate.device}, the model on {model.device}; load both on one device"
            )
        timer, problem = Timer(limits), Problem.open(self, model, x, y, target, noise, limits)
        asked = model.draws * (y is None)
        same = self.surrogate.bounds == model.bounds
        surrogate = self.surrogate if same else ensemble([self.surrogate], bounds=model.bounds)
        made = self.attack(surrogate, problem.x0, problem.y, target=target, noise=noise, limits=timer.left(asked))
        problem.record.put(made.x)
        return replace(problem.result(), forwards=made.forwards + asked, backwards=made.backwards)
