"""A run without the places of its files: absolute paths shrink to base names before anything is shown to others."""

import dataclasses
import re
import shlex
from collections.abc import Sequence
from typing import Any, TypeVar

from saddlepoint.records import Finding, FooledPicture, HeldPicture, Probe, RunRecord, Trial
from saddlepoint.report.text import plain

T = TypeVar("T")

_WHOLE_START, _PROSE_START = r"(?:^|(?<=[:=,@]))", r"(?:^|(?<=[\s:=,;@'\"`(\[]))"
_ROOT = r"(?:file:/{2,}|~[^\\/\s]*[\\/]|[A-Za-z]:[\\/]|\\\\|/(?=[^\\/\s'\"]+[\\/]))"
_HOMES = r"(?:/home|/Users|[A-Za-z]:[\\/]Users)[\\/]"
_WHOLE = re.compile(rf"{_WHOLE_START}{_ROOT}(?:.*[\\/])?", re.DOTALL)
_WHOLE_HOME = re.compile(rf"{_WHOLE_START}(?:{_HOMES}[^\\/]+|/root)[\\/]?$")
_PROSE = re.compile(rf"{_PROSE_START}{_ROOT}(?:[^\s'\"]*[\\/])?")
_PROSE_HOME = re.compile(rf"{_PROSE_START}(?:{_HOMES}[^\\/\s'\",;:)\]]+|/root)[\\/]?(?=$|[\s'\",;:)\]])")


def base_name(text: str) -> str:
    """A name or a spec string in which an absolute path is only its last part.

    >>> base_name("folder:/home/ada/sets/birds"), base_name("hf:owner/name")
    ('folder:birds', 'hf:owner/name')
    """
    return base_names(_WHOLE.sub("", _WHOLE_HOME.sub("~", plain(text))))


def base_names(text: str) -> str:
    """Running text in which every absolute path is only its last part."""
    return _PROSE.sub("", _PROSE_HOME.sub("~", plain(text)))


def command(text: str) -> str:
    """A command line, quoted anew where an argument was an absolute path."""
    try:
        words = shlex.split(plain(text))
    except ValueError:
        return base_names(text)
    short = [base_name(word) for word in words]
    return plain(text) if short == words else shlex.join(short)


def public(run: RunRecord) -> RunRecord:
    """The run as it may be shown: printable text and base names; the pictures' file names stay as they are."""
    return dataclasses.replace(_shown(run), command=command(run.command))


def public_findings(found: Sequence[Finding]) -> list[Finding]:
    """Findings as they may be shown."""
    return [_shown(finding) for finding in found]


def public_value(value: T) -> T:
    """Any record or JSON as it may be shown."""
    return _shown(value)


def _shown(value: T) -> T:
    """The value with every string in it made fit to be shown."""
    return _convert(value)  # type: ignore[no-any-return]


def _convert(value: Any) -> Any:
    if isinstance(value, str):
        return base_name(value)
    if isinstance(value, list | tuple):
        return type(value)(_convert(item) for item in value)
    if isinstance(value, dict):
        return {_convert(key): _convert(item) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    kept = {"clean", "adversarial", "difference"} if isinstance(value, FooledPicture | HeldPicture) else set()
    told = isinstance(value, Finding | Probe | Trial)
    prose = {"title", "measured", "evidence", "consequence", "remedy", "why"} if told else set()
    return type(value)(
        **{
            name: item if name in kept else base_names(item) if name in prose else _convert(item)
            for name, item in fields.items()
        }
    )
