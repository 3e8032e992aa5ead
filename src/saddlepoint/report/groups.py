"""The same threat side by side over all models: what a table or a chart of it needs."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar, final

from saddlepoint.records import FOOLED, UNDEFINED, WRONG, AttackRecord, RunRecord, ThreatRecord
from saddlepoint.report import text

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@final
@dataclass(frozen=True, kw_only=True)
class Group:
    """One ball, with one column per model of the run; None where a model was not measured in it."""

    norm: str
    eps: float | None
    columns: list[ThreatRecord | None]
    attacks: list[tuple[str, list[AttackRecord | None]]]  # label of the row, one cell per model

    @property
    def title(self) -> str:
        return text.ball(self.norm, self.eps)


def groups(run: RunRecord) -> list[Group]:
    """The threats of all models, joined by norm and radius, in the order in which they first appear."""
    columns = [_numbered(model.threats, lambda threat: (threat.norm.lower(), threat.eps)) for model in run.models]
    found = []
    for key in _union(columns):
        threats = [column.get(key) for column in columns]
        first = next(threat for threat in threats if threat is not None)
        found.append(Group(norm=first.norm, eps=first.eps, columns=threats, attacks=_rows(threats)))
    return found


def passes_per_row(threat: ThreatRecord) -> float | None:
    """Passes of all attacks together, per row that was right when clean."""
    rows = len(threat.verdicts) - threat.verdicts.count(WRONG)
    return sum(attack.forwards + attack.backwards for attack in threat.attacks) / rows if rows else None


def fates(threat: ThreatRecord) -> list[tuple[str, int]]:
    """How many rows ended in each verdict of the worst case: held, fooled, undefined, wrong when clean."""
    counts = {name: threat.verdicts.count(letter) for name, letter in _FATES}
    held = len(threat.verdicts) - sum(counts.values())
    return [("held", held), *counts.items()]


_FATES = (("fooled", FOOLED), ("undefined", UNDEFINED), ("wrong when clean", WRONG))


def _rows(threats: list[ThreatRecord | None]) -> list[tuple[str, list[AttackRecord | None]]]:
    """One row per attack; an attack that a model met twice under one name has two rows."""
    columns = [_numbered(threat.attacks if threat else [], lambda attack: attack.name) for threat in threats]
    return [
        (f"{text.plain(name)} ({n + 1})" if n else text.plain(name), [column.get((name, n)) for column in columns])
        for name, n in _union(columns)
    ]


def _numbered(items: Iterable[T], key: Callable[[T], K]) -> dict[tuple[K, int], T]:
    """Items by key and by how many of that key came before, so that none replaces another."""
    found: dict[tuple[K, int], T] = {}
    for item in items:
        name, n = key(item), 0
        while (name, n) in found:
            n += 1
        found[name, n] = item
    return found


def _union(columns: Iterable[dict[tuple[K, int], T]]) -> list[tuple[K, int]]:
    """All keys, each once, in the order of first appearance."""
    return list(dict.fromkeys(key for column in columns for key in column))
