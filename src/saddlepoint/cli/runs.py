"""``saddlepoint report`` and ``saddlepoint compare``: what is done with finished runs."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import typer
from rich.table import Table
from rich.text import Text

from saddlepoint.cli import common
from saddlepoint.errors import RecordError
from saddlepoint.records import FOOLED, HELD, AttackRecord, RunRecord, Share, ThreatRecord
from saddlepoint.report import diagnoses, html, knowing, tables, text

_Part = AttackRecord | ThreatRecord


def report(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write a run's report again from its record, and print its tables.

    Example: saddlepoint report runs/a
    """
    record, folder = _read(run)
    html.write(record, folder, folder / "report.html")
    screen = common.console()
    for show in (tables.summary, knowing.summary, diagnoses.summary, tables.findings, tables.cite):
        screen.print(show(record))
    screen.print(f"report  {common.shown(folder / 'report.html')}", highlight=False, soft_wrap=True)


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another one.")],
) -> None:
    """Robust accuracies of two runs side by side, and how many rows changed where both attacked the same rows.

    Without a radius these are median distances, and the rows whose smallest perturbation shrank (lost) or grew (won).

    Example: saddlepoint compare runs/before runs/after
    """
    (a, _), (b, _) = _read(first), _read(second)
    same = a.data.fingerprint == b.data.fingerprint
    one, two = _numbers(a), _numbers(b)
    keys = [key for key in one if key in two]
    if not keys:
        raise RecordError("the runs have no model, radius and attack in common; nothing can be compared")
    table = Table(box=None, pad_edge=False)
    for column in ("model", "ball", "attack", "first", "second", "change", *(["lost", "won"] if same else [])):
        table.add_column(column, justify="left" if column in ("model", "ball", "attack") else "right")
    for key in keys:
        old, new = one[key], two[key]
        cells = [old.told, new.told, new.change(old)]
        if same:
            pairs = list(zip(old.rows, new.rows, strict=True))
            cells += [str(sum(x > y for x, y in pairs)), str(sum(y > x for x, y in pairs))]
        table.add_row(*map(Text, (*key, *cells)))
    screen = common.console()
    screen.print(table)
    if not same:
        screen.print("The runs attacked different rows: a difference may be one of rows.", highlight=False)
    alone = len(set(one) ^ set(two))
    if alone:
        screen.print(f"{alone} numbers are in one run only.", highlight=False)


@final
@dataclass(frozen=True)
class _Number:
    """A robust accuracy, or without a radius a median distance; ``rows`` has how far each row held."""

    told: str
    value: float | None
    rows: list[float]
    form: str

    def change(self, other: "_Number") -> str:
        if self.value is None or other.value is None:
            return "–"
        return format(self.value - other.value, self.form)


def _number(part: _Part, share: Share) -> _Number:
    """Of a part with a radius: 1 for a row that held, else 0."""
    return _Number(_percent(share), 100 * share.value, [float(x == HELD) for x in part.verdicts], "+.1f")


def _median(part: _Part) -> _Number | None:
    """Of a part without one: a row that is wrong when clean or undefined held up to 0."""
    if part.distances is None:
        return None
    nearest = iter(part.distances.found)
    rows = [next(nearest, 0.0) if x == FOOLED else math.inf if x == HELD else 0.0 for x in part.verdicts]
    median = part.distances.median
    return _Number(text.quartiles(part.distances, None)[1], median, rows, "+.3g")


def _numbers(run: RunRecord) -> dict[tuple[str, str, str], _Number]:
    """What is compared, by (model, ball, attack)."""
    found: dict[tuple[str, str, str], _Number | None] = {}
    for model in run.models:
        for threat in model.threats:
            ball = f"{threat.norm} {'distance' if threat.eps is None else f'{threat.eps:g}'}"
            parts: list[tuple[str, _Part, Share]] = [(each.name, each, each.robust) for each in threat.attacks]
            for name, part, share in [*parts, ("worst case", threat, threat.worst)]:
                found[model.name, ball, name] = _median(part) if threat.eps is None else _number(part, share)
    return {key: number for key, number in found.items() if number is not None}


def _percent(share: Share) -> str:
    return f"{100 * share.value:.1f} %"


def _read(path: Path) -> tuple[RunRecord, Path]:
    """The record in a folder, and the folder.

    Raises:  RecordError if there is none.
    """
    folder = path.parent if path.name == "run.json" else path
    try:
        content = (folder / "run.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"no run.json can be read in {folder.name!r}; give the folder of a finished run") from error
    return RunRecord.from_json(content), folder
