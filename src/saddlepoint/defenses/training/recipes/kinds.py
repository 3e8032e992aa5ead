"""From the name of an objective and its settings to the objective."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from saddlepoint.attacks import PGD
from saddlepoint.balls import Ball, Bounds
from saddlepoint.defenses.training.objectives import (
    AWP,
    Adversarial,
    ContractivePenalty,
    DefensiveDistillation,
    Distillation,
    Fast,
    FGSMMixed,
    Free,
    Mart,
    Objective,
    ReversedLabelCrossEntropy,
    Standard,
    StrongAdversary,
    Trades,
)
from saddlepoint.defenses.training.recipes import typed
from saddlepoint.errors import SpecError, unknown

KINDS: dict[str, type] = {
    "standard": Standard,
    "adversarial": Adversarial,
    "fgsm-mixed": FGSMMixed,
    "strong-adversary": StrongAdversary,
    "fast": Fast,
    "trades": Trades,
    "mart": Mart,
    "free": Free,
    "distillation": Distillation,
    "defensive-distillation": DefensiveDistillation,
    "rce": ReversedLabelCrossEntropy,
}
"""Every objective that a recipe may name."""

_OURS = ("ball", "bounds", "teacher", "objective", "attack")  # set by the recipe, not by a file
_OF_PGD = ("steps", "step_size", "random_start")


def kind_of(settings: Mapping[str, Any]) -> type:
    """The class of an objective.

    Raises:  SpecError if it has no name, or there is none of that name.
    """
    name = settings.get("name")
    if not isinstance(name, str):
        raise SpecError(f"an objective needs a name, one of {', '.join(KINDS)}")
    if name not in KINDS:
        raise unknown("objective", name, KINDS)
    return KINDS[name]


def takes(settings: Mapping[str, Any], *fields: str) -> bool:
    """Whether an objective has one of these fields."""
    return any(field.name in fields for field in dataclasses.fields(kind_of(settings)))


def build(
    settings: Mapping[str, Any],
    awp: Mapping[str, Any] | None,
    ball: Ball,
    scale: float,
    bounds: Bounds,
    teacher: nn.Module | None,
) -> Objective:
    """The objective.

    Args:
        settings: its name and fields; as ``contractive``, the weight or settings of a contractive penalty around it.
        awp: settings of the perturbation of weights around all that, None for none.
        ball: with the radius that is trained at, for those that need one.
        scale: of a step size that the settings hold, which is for the recipe's own radius.
        teacher: of a distillation.

    Raises:  SpecError or SettingError for what is no field, or cannot be its value.
    """
    kind = kind_of(settings)
    given = {name: value for name, value in settings.items() if name not in ("name", "contractive")}
    names = {field.name for field in dataclasses.fields(kind)}
    ours: dict[str, Any] = {"bounds": bounds, "ball": ball, "teacher": teacher}
    if "attack" in names:
        found = _scaled(typed.read(PGD, {name: given.pop(name) for name in _OF_PGD if name in given}), scale)
        ours["attack"] = PGD(ball=ball, **found)
    values = _scaled(typed.read(kind, given, leave=_OURS), scale)
    made: Objective = kind(**values, **{name: value for name, value in ours.items() if name in names})
    if "contractive" in settings:
        told = settings["contractive"]
        told = told if isinstance(told, Mapping) else {"weight": told}
        made = ContractivePenalty(objective=made, bounds=bounds, **typed.read(ContractivePenalty, told, leave=_OURS))
    return made if awp is None else AWP(objective=made, **typed.read(AWP, awp, leave=_OURS))


def _scaled(values: dict[str, Any], scale: float) -> dict[str, Any]:
    size = values.get("step_size")
    return values if size is None else {**values, "step_size": size * scale}
