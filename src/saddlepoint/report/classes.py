"""Robust accuracy class by class."""

from collections import Counter
from dataclasses import dataclass, field
from typing import final

from saddlepoint.records import FOOLED, HELD, ModelRecord, RunRecord, Share, ThreatRecord, wilson
from saddlepoint.report.groups import Group

MOST = 50
"""Classes in one table; of more, those with the lowest robust accuracy are shown."""


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """One class under one model: ``times`` of its ``fooled`` rows were taken for the class ``taken_for``."""

    clean: Share
    robust: Share
    fooled: int
    taken_for: str
    times: int


@final
@dataclass(frozen=True, kw_only=True)
class Classes:
    """One threat: a row per class that has rows, a cell per model; ``left_out`` classes are not shown."""

    group: Group
    rows: list[tuple[str, int, list[Cell | None]]]
    left_out: int


def classes(run: RunRecord, threats: list[Group]) -> list[Classes]:
    """A table for every threat; none where the record has no label for each row."""
    return [_classes(run, group) for group in threats] if run.data.labels else []


def _classes(run: RunRecord, group: Group) -> Classes:
    sizes = Counter(run.data.labels)
    columns = [
        _cells(run, model, threat) if threat is not None and len(threat.verdicts) == len(run.data.labels) else {}
        for model, threat in zip(run.models, group.columns, strict=True)
    ]
    shown = sorted(sizes)
    if len(shown) > MOST:
        lowest = {
            label: min((column[label].robust.value for column in columns if column), default=0.0) for label in shown
        }
        shown = sorted(shown, key=lambda label: lowest[label])[:MOST]
    rows = [(_name(run, label), sizes[label], [column.get(label) for column in columns]) for label in shown]
    return Classes(group=group, rows=rows, left_out=len(sizes) - len(shown))


@final
@dataclass
class _Count:
    rows: int = 0
    right: int = 0
    held: int = 0
    taken: Counter[int] = field(default_factory=Counter)


def _cells(run: RunRecord, model: ModelRecord, threat: ThreatRecord) -> dict[int, Cell]:
    """The cell of every class that has rows."""
    counts: dict[int, _Count] = {}
    taken = iter(threat.fooled_as)
    for label, clean, letter in zip(run.data.labels, model.verdicts, threat.verdicts, strict=False):
        count = counts.setdefault(label, _Count())
        count.rows += 1
        count.right += clean == HELD
        count.held += letter == HELD
        if letter == FOOLED and (other := next(taken, None)) is not None:
            count.taken[other] += 1
    found = {}
    for label, count in counts.items():
        other, times = min(count.taken.items(), key=lambda item: (-item[1], item[0]), default=(-1, 0))
        found[label] = Cell(
            clean=wilson(count.right, count.rows),
            robust=wilson(count.held, count.rows),
            fooled=count.taken.total(),
            taken_for=_name(run, other) if times else "",
            times=times,
        )
    return found


def _name(run: RunRecord, label: int) -> str:
    return run.data.classes[label] if 0 <= label < len(run.data.classes) else str(label)
