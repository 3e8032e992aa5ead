"""What a run says, as plain values: counts, intervals, verdicts, findings.

Imports no torch, so a report can be rebuilt anywhere.
"""

import dataclasses
import json
import math
import re
import types
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from saddlepoint.errors import RecordError

SCHEMA_VERSION = 5
NUMERICS_VERSION = 1  # raised whenever a number that a run reports can move

WRONG, HELD, FOOLED, UNDEFINED = "W", "H", "F", "U"
"""Verdict letters: wrong when clean (never attacked), held, fooled, output not finite."""

# What the published JSON schema says of a value beyond its type.
Count = Annotated[int, ("minimum", 0)]
Portion = Annotated[float, ("minimum", 0), ("maximum", 1)]
Distance = Annotated[float, ("minimum", 0)]
Letters = Annotated[str, ("pattern", "^[WHFU]*$")]

_Z95 = 1.959963984540054
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_NUMBERS = re.compile(rf"\[\n *({_NUMBER}(?:,\n *{_NUMBER})*)\n *\]")  # no string holds a line break in JSON


@dataclass(frozen=True, kw_only=True)
class Share:
    """A count out of a number of rows, with its 95 % Wilson interval."""

    count: Count
    rows: Count
    low: Portion
    high: Portion

    @property
    def value(self) -> float:
        return self.count / self.rows if self.rows else 0.0


def wilson(count: int, rows: int) -> Share:
    """The share count / rows with its 95 % Wilson score interval; (0, 1) where there are no rows.

    Source:  Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.

    >>> share = wilson(90, 100)
    >>> round(share.low, 4), round(share.high, 4)
    (0.8256, 0.9448)
    """
    if rows == 0:
        return Share(count=0, rows=0, low=0.0, high=1.0)
    p, z2 = count / rows, _Z95**2
    middle = (p + z2 / (2 * rows)) / (1 + z2 / rows)
    half = _Z95 / (1 + z2 / rows) * math.sqrt(p * (1 - p) / rows + z2 / (4 * rows**2))
    return Share(
        count=count,
        rows=rows,
        low=0.0 if count == 0 else max(0.0, middle - half),
        high=1.0 if count == rows else min(1.0, middle + half),
    )


@dataclass(frozen=True, kw_only=True)
class Distances:
    """Smallest perturbations that were found, in the ball's norm, over the rows that are right when clean and defined.

    An unsolved row counts as farther than any. A quartile is the least distance within which at least a quarter, a half
    or three quarters of these rows are fooled; None where that is above the largest distance found.
    """

    unsolved: Count
    lower: float | None
    median: float | None
    upper: float | None
    found: list[Distance]  # of each fooled row, to six significant digits

    @property
    def rows(self) -> int:
        return self.unsolved + len(self.found)

    @property
    def largest(self) -> float | None:
        return max(self.found, default=None)


def distances(found: list[float], unsolved: int) -> Distances:
    """The distances of the fooled rows with their quartiles; ``unsolved`` rows were not fooled.

    >>> some = distances([3.0, 1.0, 2.0], unsolved=1)
    >>> some.lower, some.median, some.upper
    (1.0, 2.0, 3.0)
    >>> distances([3.0], unsolved=2).median is None
    True
    """
    kept = [float(f"{value:.6g}") for value in found]
    nearest, rows = sorted(kept), len(kept) + unsolved
    ranks = [max(0, math.ceil(share * rows) - 1) for share in (0.25, 0.5, 0.75)]
    lower, median, upper = (nearest[rank] if rank < len(nearest) else None for rank in ranks)
    return Distances(unsolved=unsolved, lower=lower, median=median, upper=upper, found=kept)


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Forwards and backwards that it took to fool a row, over the attacks that leave it at its first success, in order.

    They are those of the attacks before the first that fooled the row, and of that one.
    """

    attacks: list[str]
    held: Count  # rows that are right when clean and defined, and that none of them fooled
    most: Count  # passes that were spent on a row
    found: list[Count]  # of each row that one of them fooled


@dataclass(frozen=True, kw_only=True)
class FooledPicture:
    """A row that was fooled: three files beside ``run.json``, and what the model says of them."""

    row: int  # its id
    attack: str  # the one that went furthest past the decision boundary; the picture is of its point
    fooled_by: Count  # attacks that fooled the row
    passes: Count  # that all attacks spent on it
    label: str
    clean_prediction: str
    adversarial_prediction: str
    distance: float
    clean: str
    adversarial: str
    difference: str
    magnified: float  # factor by which the difference is magnified


@dataclass(frozen=True, kw_only=True)
class HeldPicture:
    """A row that held under every attack: one file beside ``run.json``, and how near the attacks came."""

    row: int  # its id
    attack: str  # the one that came nearest
    label: str
    room: float  # at its point: by how much the label's logit is above the next (with a target: it is below another)
    clean: str


Role = Literal["", "oblivious", "adaptive", "gradient-free"]
"""What an attack knows of the transforms in front of a model: nothing, their gradients, or only what comes out."""


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    """What one attack did to one model at one radius, or at any distance."""

    name: str
    settings: dict[str, Any]
    robust: Share  # rows that are right when clean and were not fooled; in a suite, nor by a member before
    fooled: Count  # of those that it attacked
    added: Count  # of the fooled: those that no attack before it had fooled; in a suite, all of them
    undefined: Count
    attacked: Count
    forwards: Count  # row forwards over all attacked rows
    backwards: Count
    distance: float | None  # median over fooled rows, in the ball's norm
    verdicts: Letters  # one letter a row; in a suite, after this member and those before it
    seconds: float
    distances: Distances | None = None  # of an attack that looks for the nearest point
    role: Role = ""  # empty where no transform stands in front of the model

    @property
    def passes_per_row(self) -> float:
        return (self.forwards + self.backwards) / self.attacked if self.attacked else 0.0


Concern = Literal["none", "doubt", "do not cite"]
Verdict = Literal["trust", "doubt", "do not cite"]
Cause = Literal[
    "masked gradients", "quantised input", "saturated logits", "random output", "weak attack", "undefined rows"
]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One question about the attacks: what was measured, what came out, and what follows from it."""

    name: str
    measured: str
    evidence: str
    numbers: dict[str, float]  # the evidence, by name
    concern: Concern
    cause: Cause | None = None  # of the concern
    remedy: str = ""  # the attack to try next


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Gradient steps from the clean input at one radius, on some of the rows of a diagnosis."""

    eps: Distance
    held: Share  # out of rows that are right when clean
    loss: float | None  # median over the rows: the highest other logit above that of the label


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Whether the attacks were good enough for their number to be trusted, on some rows that are right when clean."""

    verdict: Verdict  # by the gravest concern
    causes: list[Cause]
    probes: list[Probe]
    rungs: list[Rung]  # in rising order, out to the whole box
    rows: Count
    compared: bool  # with the verdicts of a run on the same rows; else with PGD on the cross-entropy
    forwards: Count  # row forwards of the probes, which are no part of any attack's
    backwards: Count
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ThreatRecord:
    """One model inside one ball: every attack, and the worst case over them.

    Without a radius a row holds only if no attack found a point at any distance: read ``distances`` then.
    """

    norm: str
    eps: float | None
    attacks: list[AttackRecord]
    worst: Share
    verdicts: Letters
    fooled_as: list[Count] = field(
        default_factory=list
    )  # of each fooled row: its class under the first attack that did it
    distances: Distances | None = None  # the smallest over all attacks, if one looks for the nearest point
    passes: Passes | None = None  # if an attack leaves a row at its first success
    easiest: list[FooledPicture] = field(default_factory=list)  # fooled by most attacks, in fewest passes, furthest
    hardest: list[HeldPicture] = field(default_factory=list)  # held, with the most room
    diagnosis: Diagnosis | None = None  # where it was asked for


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A form of a model, in which a short attack was tried."""

    name: str
    seconds: float | None  # of the attack, median; None where it could not be run
    lost: Count | None  # verdicts: rows that float32 fools and this form does not, or that it makes undefined
    why: str = ""  # it could not be run


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The form in which attacks computed a model; verdicts are always of the model as it was given, in float32."""

    picked: str
    rows: Count  # on which the forms were tried, all right when clean
    trials: list[Trial]  # float32 first
    note: str  # why nothing was tried; empty where something was
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One model: its name, its identity, its clean accuracy and its threats."""

    name: str
    fingerprint: str
    parameters: Count
    classes: Count
    bounds: tuple[float, float]
    clean: Share
    threats: list[ThreatRecord]
    verdicts: Letters = ""  # of the clean rows, where H is right
    transforms: list[str] = field(default_factory=list)  # in front of it, in the order in which an input meets them
    precision: Precision | None = None  # where it was to be chosen; else the attacks computed the model as it was given


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """The rows that were attacked."""

    name: str
    fingerprint: str
    rows: Count
    shape: list[Count]
    classes: list[str]
    labels: list[Count] = field(default_factory=list)  # of each row, as a place in ``classes``
    ids: list[int] = field(default_factory=list)  # of each row


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a reader must know before citing the number."""

    level: Literal["error", "warning", "note"]
    title: str
    evidence: str
    remedy: str
    model: str | None = None
    consequence: str = ""  # of not mending it


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
        """Strict JSON (no NaN), keys in field order, a list of numbers on one line, ending in a newline."""
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False, ensure_ascii=False)
        return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"

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
    if origin in (typing.Union, types.UnionType) and value is not None:
        return _build(args[0], value, where)
    return value
