"""Settings of a dataclass from what a file says, where numbers may be text."""

import dataclasses
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from saddlepoint.errors import SettingError, shown, unknown

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read(cls: type, settings: Mapping[str, object], leave: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings of a dataclass, each as its field has it.

    Args:  leave: fields that are not for a file to set.
    Raises:  SpecError for a name that is no field;  SettingError for a value that is of another kind.

    >>> from saddlepoint.attacks import PGD
    >>> read(PGD, {"steps": "7", "step_size": "2/256", "random_start": "no"}, leave=("ball",))
    {'steps': 7, 'step_size': 0.0078125, 'random_start': False}
    """
    hints = get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls) if field.init and field.name not in leave]
    found = {}
    for name, value in settings.items():
        if name not in known:
            raise unknown(f"setting of {cls.__name__}", name, known)
        try:
            found[name] = _read(hints[name], value)
        except (ValueError, KeyError, TypeError, OverflowError, ZeroDivisionError) as error:
            raise SettingError(f"{name}={shown(value)} must be {_rule(hints[name])}") from error
    return found


def number(value: object) -> float:
    """A number; as text also a fraction, such as 8/255."""
    if isinstance(value, str):
        over, slash, under = value.partition("/")
        return float(over) / float(under) if slash else float(over)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return float(value)


def _read(hint: object, value: object) -> object:
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return _scalar((str,), value)  # which words there are is checked by the class
    if get_origin(hint) is not tuple:
        return None if NoneType in inner and value in (None, "none", "null") else _scalar(inner or (hint,), value)
    if not isinstance(value, list | tuple):
        raise ValueError(value)
    kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
    return tuple(_read(kind, each) for kind, each in zip(kinds, value, strict=True))


def _scalar(kinds: tuple[object, ...], value: object) -> object:
    if bool in kinds:
        return value if isinstance(value, bool) else _WORDS[str(value).lower()]
    if float in kinds:
        return number(value)
    if int in kinds and not isinstance(value, bool) and isinstance(value, int | str):
        return int(value)
    if str in kinds and isinstance(value, str):
        return value
    raise ValueError(value)


def _rule(hint: object) -> str:
    text = f"{getattr(hint, '__name__', '')} {hint}"
    for name, rule in (("tuple", "a list of numbers"), ("bool", "true or false"), ("float", "a number or a fraction")):
        if name in text:
            return rule
    return "an integer" if "int" in text else "text"
