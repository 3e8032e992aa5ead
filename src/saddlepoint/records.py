"""What a run says, as plain values: counts, intervals, verdicts, findings.

Imports no torch, so a report can be rebuilt anywhere.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from saddlepoint.errors import RecordError

SCHEMA_VERSION = 1
NUMERICS_VERSION = 1  # raised whenever a number that a run reports can move

WRONG, HELD, FOOLED, UNDEFINED = "W", "H", "F", "U"
"""Verdict letters: wrong when clean (never attacked), held, fooled, output not finite."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A count out of a number of rows, with its 95 % Wilson interval."""

    count: int
    rows: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.rows if self.rows else 0.0


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One adversarial image: three files beside ``run.json``, and what the model says of them."""

    row: int
    attack: str
    label: str
    clean_prediction: str
    adversarial_prediction: str
    distance: float
    clean: str
    adversarial: str
    difference: str
    magnified: float  # factor by which the difference is magnified


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    """What one attack did to one model at one radius."""

    name: str
    settings: dict[str, Any]
    robust: Share  # rows that are right when clean and were not fooled
    fooled: int
    undefined: int
    attacked: int
    forwards: int  # row forwards over all attacked rows
    backwards: int
    distance: float | None  # median over fooled rows, in the ball's norm
    verdicts: str  # one letter a row
    seconds: float

    @property
    def passes_per_row(self) -> float:
        return (self.forwards + self.backwards) / self.attacked if self.attacked else 0.0


@dataclass(frozen=True, kw_only=True)
class ThreatRecord:
    """One model inside one ball: every attack, and the worst case over them."""

    norm: str
    eps: float
    attacks: list[AttackRecord]
    worst: Share
    verdicts: str
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One model: its name, its identity, its clean accuracy and its threats."""

    name: str
    fingerprint: str
    parameters: int
    classes: int
    bounds: tuple[float, float]
    clean: Share
    threats: list[ThreatRecord]


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """The rows that were attacked."""

    name: str
    fingerprint: str
    rows: int
    shape: list[int]
    classes: list[str]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a reader must know before citing the number."""

    level: Literal["error", "warning", "note"]
    title: str
    evidence: str
    remedy: str
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything that ``run.json`` holds."""

    spec: dict[str, Any]
    command: str
    data: DataRecord
    models: list[ModelRecord]
    findings: list[Finding]
    environment: dict[str, str]
    started: str
    seconds: float
    schema: int = SCHEMA_VERSION
    numerics: int = NUMERICS_VERSION

    def to_json(self) -> str:
        """Strict JSON (no NaN), keys in field order, ending in a newline."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what :meth:`to_json` wrote.

        Raises:  RecordError if the text is not JSON, has another schema version, or lacks a field.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecordError(f"run.json is not JSON ({error}); run the evaluation again") from error
        found = data.get("schema") if isinstance(data, dict) else None
        if found != SCHEMA_VERSION:
            raise RecordError(
                f"run.json has schema {found!r}; this version reads schema {SCHEMA_VERSION}. "
                "Use the saddlepoint version that wrote it, or run the evaluation again"
            )
        return typing.cast(Self, _build(cls, data, "run"))


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn decoded JSON into the dataclass (or container of dataclasses) that the annotation names."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict) or set(value) != set(hints):
            odd = sorted(set(value) ^ set(hints)) if isinstance(value, dict) else value
            raise RecordError(f"run.json: {where} lacks a field or has one too many: {odd!r}; run the evaluation again")
        return kind(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})  # type: ignore[operator]
    if origin is list:
        return [_build(args[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is tuple:
        return tuple(value)
    if origin in (typing.Union, types.UnionType):
        return value
    return value
