"""A recipe: an objective with all that it is trained by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from torch import nn

from saddlepoint.balls import L1, L2, Ball, Bounds, Linf
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.optimizers import OPTIMIZERS, Optimizer
from saddlepoint.defenses.training.recipes import kinds, typed
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.validation import Validation
from saddlepoint.errors import SettingError, SpecError, shown, unknown

_BALLS: dict[str, type[Ball]] = {cls.norm: cls for cls in (Linf, L2, L1)}
_RADII = {"mnist10k": 0.3, "fashion-mnist": 0.1}
_NOT_RUN = "not run here"
_MERGED = ("objective", "validation", "awp")


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Published or shipped settings of a training.

    Args:
        name: on the command line;  description: one line;  source: where its settings come from.
        ran: whether it was run whole with this package, which a recipe of a large net may not have been.
        preset: whether it is for one data set and net, with published settings.
        data, net: what it is for;  norm, eps: of the ball, None for the data set's customary radius in Linf.
        objective: its name and settings;  schedule: of the training;  validation: settings of it, None for none.
        awp: settings of the perturbation of weights around the objective, None for none.
    """

    name: str
    description: str
    source: str = ""
    ran: bool = True
    preset: bool = False
    data: str = "mnist10k"
    net: str = "SmallCNN"
    norm: str = "linf"
    eps: float | None = None
    objective: Mapping[str, Any]
    schedule: Schedule = Schedule()  # noqa: RUF009 (frozen)
    validation: Mapping[str, Any] | None = None
    awp: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.norm not in _BALLS:
            raise unknown("norm", self.norm, _BALLS)
        if self.eps is not None and not 0 <= self.eps < math.inf:
            raise SettingError(f"eps={self.eps} must be a finite number >= 0")
        kinds.kind_of(self.objective)

    @property
    def robust(self) -> bool:
        """Whether it trains inside a ball, and so needs eps."""
        return kinds.takes(self.objective, "ball", "attack")

    @property
    def teacher(self) -> bool:
        """Whether it needs a model to learn from."""
        return kinds.takes(self.objective, "teacher")

    @property
    def title(self) -> str:
        """The description; of a recipe that was not run, with the words that say so."""
        return self.description if self.ran else f"{self.description} [{_NOT_RUN}]"

    def ball(self, data: str, eps: float | None = None) -> Ball:
        """The ball of a data set: of radius ``eps``, or else the recipe's, or else the customary one."""
        own = customary(data) if self.eps is None else self.eps
        return _BALLS[self.norm](own if eps is None else eps)

    def make(self, ball: Ball, bounds: Bounds = Bounds(), teacher: nn.Module | None = None) -> Objective:
        """The objective in a ball; a step size that the recipe holds is scaled with the radius."""
        return kinds.build(self.objective, self.awp, ball, self._scale(ball), bounds, teacher)

    def validate(self, ball: Ball, bounds: Bounds = Bounds()) -> Validation | None:
        """The validation in a ball, if the recipe has one."""
        if self.validation is None:
            return None
        found = typed.read(Validation, self.validation, leave=("ball", "bounds"))
        if found.get("step_size") is not None:
            found["step_size"] *= self._scale(ball)
        return Validation(ball=ball, bounds=bounds, **found)

    def _scale(self, ball: Ball) -> float:
        """The radius of a ball in radii of the recipe."""
        return float(ball.eps) / self.eps if self.eps else 1.0

    def changed(self, **changes: Mapping[str, object]) -> "Recipe":
        """With other settings of its objective, schedule, validation or awp; what is not named stays.

        Raises:  SpecError or SettingError for what is no setting, or no value of it.
        """
        schedule = replace(self.schedule, **read_schedule(changes.get("schedule", {})))
        merged: dict[str, Any] = {
            name: {**(getattr(self, name) or {}), **changes[name]} for name in _MERGED if name in changes
        }
        return replace(self, schedule=schedule, **merged)

    def describe(self, ball: Ball) -> dict[str, Any]:
        """The recipe as run, as JSON."""
        threat = {"norm": ball.norm, "eps": ball.eps} if self.robust else {}
        validation = self.validate(ball)
        return {
            **threat,
            "objective": dict(self.objective),
            "awp": None if self.awp is None else dict(self.awp),
            **self.schedule.describe(),
            "validation": None if validation is None else validation.describe(),
        }


def customary(data: str) -> float:
    """The Linf radius at which a data set is commonly attacked, in input units; 8/255 where none is."""
    return _RADII.get(data.partition(":")[0], 8 / 255)


def read_schedule(settings: Mapping[str, object]) -> dict[str, Any]:
    """Fields of a schedule from what a file says; the optimizer is a name, or a mapping with ``name``."""
    optimizer = settings.get("optimizer")
    plain = {name: value for name, value in settings.items() if name != "optimizer"}
    found = typed.read(Schedule, plain, leave=("optimizer",))
    return found if optimizer is None else {**found, "optimizer": _optimizer(optimizer)}


def _optimizer(told: object) -> Optimizer:
    settings = {"name": told} if isinstance(told, str) else told
    if not isinstance(settings, Mapping) or "name" not in settings:
        raise SpecError(f"optimizer={shown(told)} must be a name, or a mapping with name: {' or '.join(OPTIMIZERS)}")
    name = str(settings["name"])
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](**typed.read(OPTIMIZERS[name], {k: v for k, v in settings.items() if k != "name"}))
