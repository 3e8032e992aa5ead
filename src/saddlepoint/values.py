"""Settings that may come as text, from a file or a command line: numbers, fractions, yes and no."""

from collections.abc import Callable
from typing import Any

_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


def number(value: object) -> float:
    """A number; as text also a fraction.

    Raises:  ValueError, OverflowError or ZeroDivisionError for anything else.

    >>> number("8/255") == 8 / 255, number("1e-3"), number(2)
    (True, 0.001, 2.0)
    """
    if isinstance(value, str):
        over, slash, under = value.strip().partition("/")
        return float(over) / float(under) if slash else float(over)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return float(value)


def integer(value: object) -> int:
    """A whole number, or its digits.

    Raises:  ValueError for anything else, such as 10.0.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(value)
    return int(value)


def truth(value: object) -> bool:
    """True or false, or one of the words that YAML has for them.

    Raises:  ValueError for anything else.
    """
    word = str(value).lower()
    if not isinstance(value, bool | str) or word not in _TRUE + _FALSE:
        raise ValueError(value)
    return word in _TRUE


READERS: dict[Any, tuple[Callable[[object], Any], str]] = {
    bool: (truth, "true or false"),
    int: (integer, "an integer"),
    float: (number, "a number or a fraction, such as 0.3 or 8/255"),
}
"""For each type, the function that reads it and the rule that it holds."""

UNREADABLE = (ValueError, OverflowError, ZeroDivisionError)
"""What a reader raises."""
