"""From names and settings to attacks."""

import dataclasses
from collections.abc import Mapping, Sequence
from enum import Enum
from types import NoneType
from typing import Any, TypeAlias, get_args, get_type_hints

from torch import Tensor

from saddlepoint import attacks as library
from saddlepoint.balls import Ball
from saddlepoint.errors import SettingError, SpecError, shown, unknown
from saddlepoint.evaluation.values import READERS, UNREADABLE
from saddlepoint.losses import Loss, cross_entropy, difference_of_logits_ratio, margin
from saddlepoint.result import Keep
from saddlepoint.solve import Attack, IterativeAttack

Named: TypeAlias = str | Mapping[str, Any]
"""An attack by name, ``"pgd"``, or with settings, ``{"name": "pgd", "steps": 100}``."""

DEFAULT = ("fgsm", "bim", "mi-fgsm", "pgd", "illc")
LOSSES: dict[str, Loss] = {loss.__name__: loss for loss in (cross_entropy, difference_of_logits_ratio, margin)}
_OURS = ("ball", "keep")  # set by the evaluation


def attack_classes() -> dict[str, type[IterativeAttack[Any]]]:
    """Every attack that the command line knows, by name; derived from ``saddlepoint.attacks.__all__``."""
    found = (getattr(library, name) for name in library.__all__)
    return {cls.name: cls for cls in found if isinstance(cls, type) and issubclass(cls, IterativeAttack)}


def build(named: Named, ball: Ball, keep: Keep = Keep.FIRST_SUCCESS) -> Attack:
    """The attack of that name inside a ball, with its defaults where no setting is given.

    Args:
        named: a name, or a mapping of ``name`` and fields of the attack. Numbers may be text, such as "8/255", and a
            loss is given by its name.
        keep: which point of a row is returned; a row leaves at its first success. An attack made for the least distance
            always returns its nearest point within eps.

    Raises:
        SpecError: for an unknown name, setting or loss, with the nearest ones.
        SettingError: for a value of the wrong type, or outside its range.
    """
    given = {"name": named} if isinstance(named, str) else dict(named)
    name, known = given.pop("name", None), attack_classes()
    if not isinstance(name, str):
        raise SpecError(f"the attack {shown(named)} has no name; give one, for example name: pgd")
    if name not in known:
        raise unknown("attack", name, known)
    fields = _settable(known[name])
    odd = next((key for key in given if key not in fields), None)
    if odd is not None:
        raise unknown(f"setting of {name}", str(odd), fields)
    own = known[name].__dataclass_fields__["keep"].default
    return known[name](
        ball=ball,
        keep=own if own is Keep.MIN_DISTANCE else keep,
        **{key: _setting(fields[key], value) for key, value in given.items()},
    )


def settings(attack: Attack) -> dict[str, Any]:
    """Every field of an attack as JSON."""
    value: object = attack
    if not dataclasses.is_dataclass(value):
        return {"attack": type(attack).__qualname__}
    return {field.name: _plain(getattr(attack, field.name)) for field in dataclasses.fields(value)}


def _settable(cls: type[IterativeAttack[Any]]) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """The fields that can be set by name, with their types: all but the ball, and the rule of what is kept."""
    types = get_type_hints(cls)
    return {field.name: (field, types[field.name]) for field in dataclasses.fields(cls) if field.name not in _OURS}


def _setting(field: tuple[dataclasses.Field[Any], Any], value: object) -> Any:  # noqa: ANN401 (whatever the field holds)
    about, kind = field
    if about.name == "loss":
        own: Any = about.default
        known = {**LOSSES, own.__name__: own}
        if str(value) not in known:
            raise unknown("loss", str(value), known)
        return known[str(value)]
    kinds = get_args(kind) or (kind,)
    if NoneType in kinds and value in (None, "null", "~"):
        return None
    read, rule = next(READERS[each] for each in kinds if each in READERS)
    try:
        return read(value)
    except UNREADABLE as error:
        raise SettingError(
            f"{about.name}={shown(value)} must be {rule}; leave it out for the default, {about.default}"
        ) from error


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
