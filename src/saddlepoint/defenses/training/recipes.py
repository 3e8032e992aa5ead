"""Published and shipped settings of training, as data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

from saddlepoint.attacks import PGD
from saddlepoint.balls import Linf
from saddlepoint.defenses.training.objectives import Adversarial, Objective, Standard
from saddlepoint.defenses.training.schedule import Schedule


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An objective with its schedule.

    Args:
        description: one line;  schedule: its default.
        robust: whether it trains inside a ball, and so needs eps.
        make: from eps to the objective;  settings: what the objective fixes, for the record.
    """

    description: str
    schedule: Schedule
    make: Callable[[float], Objective]
    robust: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def describe(self, schedule: Schedule, eps: float) -> dict[str, Any]:
        """The recipe as run, as JSON."""
        threat = {"norm": "linf", "eps": eps} if self.robust else {}
        return {**threat, **self.settings, **schedule.describe()}


_RADII = {"mnist10k": 0.3, "fashion-mnist": 0.1}


def customary(data: str) -> float:
    """The Linf radius at which a data set is commonly attacked, in input units; 8/255 where none is."""
    return _RADII.get(data.partition(":")[0], 8 / 255)


def _pgd(eps: float) -> Objective:
    return Adversarial(attack=PGD(ball=Linf(eps), steps=10), warmup=0.2)


RECIPES: dict[str, Recipe] = {
    "standard": Recipe(
        description="cross-entropy on clean inputs", schedule=Schedule(epochs=10), make=lambda eps: Standard()
    ),
    "pgd": Recipe(
        description="adversarial training with PGD-10 in Linf (Madry et al. 2018), eps warmed up over the first fifth",
        schedule=Schedule(epochs=30, shift=1),
        make=_pgd,
        robust=True,
        settings={"attack": "pgd", "steps": 10, "step_size": "2.5 eps / steps", "warmup": 0.2},
    ),
}
