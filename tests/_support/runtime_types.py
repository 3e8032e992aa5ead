"""The run-time type checker of the tests: beartype, without the annotations that it cannot check.

Those are ``Self`` (jaxtyping's import hook hands over a function without its class) and protocols that ``isinstance``
refuses. An int is a float, too. What typer hands over as a context is not of the class that it asks to be named.
"""

import typer
from beartype import BeartypeConf, FrozenDict, beartype
from beartype.roar import BeartypeDecorHintException

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({typer.Context: object})))


def check(function):
    """The function with every annotation checked at run time that can be."""
    try:
        return _checked(function)
    except BeartypeDecorHintException:
        hints = function.__annotations__
        try:
            function.__annotations__ = {name: hint for name, hint in hints.items() if _checkable(function, name, hint)}
            return _checked(function)
        finally:
            function.__annotations__ = hints


def _checkable(function, name, hint):
    function.__annotations__ = {name: hint}
    try:
        _checked(function)
    except BeartypeDecorHintException:
        return False
    return True
