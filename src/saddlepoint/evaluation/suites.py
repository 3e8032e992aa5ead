"""From names to attacks."""

import dataclasses
from collections.abc import Sequence
from enum import Enum
from typing import Any

from torch import Tensor

from saddlepoint import attacks as library
from saddlepoint.balls import Ball
from saddlepoint.errors import unknown
from saddlepoint.result import Keep
from saddlepoint.solve import Attack, IterativeAttack

DEFAULT = ("fgsm", "bim", "mi-fgsm", "pgd", "illc")


def attack_classes() -> dict[str, type[IterativeAttack[Any]]]:
    """Every attack that the command line knows, by name; derived from ``saddlepoint.attacks.__all__``."""
    found = (getattr(library, name) for name in library.__all__)
    return {cls.name: cls for cls in found if isinstance(cls, type) and issubclass(cls, IterativeAttack)}


def build(name: str, ball: Ball) -> Attack:
    """The attack of that name with its defaults inside a ball; it stops at a row's first success.

    Raises:  SpecError for an unknown name, with the nearest ones.
    """
    known = attack_classes()
    if name not in known:
        raise unknown("attack", name, known)
    return known[name](ball=ball, keep=Keep.FIRST_SUCCESS)


def settings(attack: Attack) -> dict[str, Any]:
    """Every field of an attack as JSON."""
    value: object = attack
    if not dataclasses.is_dataclass(value):
        return {"attack": type(attack).__qualname__}
    return {field.name: _plain(getattr(attack, field.name)) for field in dataclasses.fields(value)}


def _plain(value: object) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, Ball):
        return value.describe()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Tensor):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)
