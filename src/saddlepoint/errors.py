"""Errors and warnings, one tree each; every message names the value, the rule and the remedy.

SaddlepointError
├── InputError      (ValueError)   inputs, labels, targets
├── RadiusError     (ValueError)   eps of a ball
├── SettingError    (ValueError)   any other parameter of an attack, a defense or a run
├── ModelError      (ValueError)   what the model is or returns
├── DataError       (ValueError)   data sets
├── RecordError     (ValueError)   files of a run
├── WeightsError    (ValueError)   files of weights
├── SpecError       (ValueError)   names and spec strings
├── ArgumentTypeError (TypeError)  a thing of the wrong kind
└── MissingExtraError (ImportError) an optional package is not installed
"""

import difflib
import re
from collections.abc import Iterable
from typing import TypeGuard


class SaddlepointError(Exception):
    """Base of all errors that saddlepoint raises on purpose."""


class InputError(SaddlepointError, ValueError):
    """Inputs, labels or targets that cannot be attacked as they are."""


class RadiusError(SaddlepointError, ValueError):
    """A radius that is negative, not finite, or larger than any distance in the box."""


class SettingError(SaddlepointError, ValueError):
    """A parameter outside its range."""


class ModelError(SaddlepointError, ValueError):
    """A model that fails, or does not return one finite-width row of logits per input."""


class DataError(SaddlepointError, ValueError):
    """A data set that cannot be read, or rows that it does not have."""


class RecordError(SaddlepointError, ValueError):
    """A file of a run that cannot be read or written."""


class WeightsError(SaddlepointError, ValueError):
    """A file of weights that cannot be trusted or does not fit."""


class SpecError(SaddlepointError, ValueError):
    """A name or spec string that means nothing here."""


class ArgumentTypeError(SaddlepointError, TypeError):
    """A thing of the wrong kind."""


class MissingExtraError(SaddlepointError, ImportError):
    """An optional package is not installed."""


class SaddlepointWarning(UserWarning):
    """Base of all warnings: the result stands, but may mislead."""


class ProbabilityWarning(SaddlepointWarning):
    """The model seems to return probabilities where logits are expected."""


class DetectorWarning(SaddlepointWarning):
    """A detector that cannot tell much apart: its scores are tied, or its filters spoil clean inputs."""


class UniformLabelsWarning(SaddlepointWarning):
    """A teacher's soft labels are the same for all classes, and teach nothing."""


def unknown(kind: str, name: str, known: Iterable[str]) -> SpecError:
    """The error for a name that is not in a list, with the nearest ones."""
    names = sorted(known)
    folded = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near = [folded[name.lower()]] if name.lower() in folded else close
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(names)}"
    return SpecError(f"unknown {kind} {name!r}; {hint}")


def shown(value: object, most: int = 80) -> str:
    """A value for a message: one short line, whatever it is.

    >>> shown([1, 2]), shown("a" * 100, most=10)
    ('[1, 2]', "'aaaaaa...")
    """
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python does not write integers of more than 4,300 digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def is_text(value: object) -> TypeGuard[str]:
    """Text that can be written as UTF-8: no lone surrogate, such as a file name that is no text may hold."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def missing(package: str, extra: str) -> MissingExtraError:
    """The error for an optional package that is not installed."""
    return MissingExtraError(f"this needs the package {package!r}; install it with: pip install 'saddlepoint[{extra}]'")
