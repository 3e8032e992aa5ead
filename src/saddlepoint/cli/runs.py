"""``saddlepoint report`` and ``saddlepoint compare``: what is done with finished runs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from saddlepoint.cli import common
from saddlepoint.errors import RecordError
from saddlepoint.records import HELD, RunRecord, Share
from saddlepoint.report import html, tables


def report(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write a run's report again from its record, and print its tables.

    Example: saddlepoint report runs/a
    """
    record, folder = _read(run)
    html.write(record, folder, folder / "report.html")
    screen = common.console()
    for show in (tables.summary, tables.findings, tables.cite):
        screen.print(show(record))
    screen.print(f"report  {common.shown(folder / 'report.html')}", highlight=False, soft_wrap=True)


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another one.")],
) -> None:
    """Robust accuracies of two runs side by side, and how many rows changed where both attacked the same rows.

    Example: saddlepoint compare runs/before runs/after
    """
    (a, _), (b, _) = _read(first), _read(second)
    same = a.data.fingerprint == b.data.fingerprint
    one, two = _numbers(a), _numbers(b)
    keys = [key for key in one if key in two]
    if not keys:
        raise RecordError("the runs have no model, radius and attack in common; nothing can be compared")
    table = Table(box=None, pad_edge=False)
    for column in ("model", "ball", "attack", "first", "second", "points", *(["lost", "won"] if same else [])):
        table.add_column(column, justify="left" if column in ("model", "ball", "attack") else "right")
    for key in keys:
        (old, before), (new, after) = one[key], two[key]
        cells = [_percent(old), _percent(new), f"{100 * (new.value - old.value):+.1f}"]
        if same:
            pairs = list(zip(before, after, strict=True))
            lost, won = sum(x == HELD != y for x, y in pairs), sum(y == HELD != x for x, y in pairs)
            cells += [str(lost), str(won)]
        table.add_row(*map(Text, (*key, *cells)))
    screen = common.console()
    screen.print(table)
    if not same:
        screen.print("The runs attacked different rows: a difference may be one of rows.", highlight=False)
    alone = len(set(one) ^ set(two))
    if alone:
        screen.print(f"{alone} numbers are in one run only.", highlight=False)


def _numbers(run: RunRecord) -> dict[tuple[str, str, str], tuple[Share, str]]:
    """Share and verdicts by (model, ball, attack)."""
    found: dict[tuple[str, str, str], tuple[Share, str]] = {}
    for model in run.models:
        for threat in model.threats:
            ball = threat.norm if threat.eps is None else f"{threat.norm} {threat.eps:g}"
            for attack in threat.attacks:
                found[model.name, ball, attack.name] = (attack.robust, attack.verdicts)
            found[model.name, ball, "worst case"] = (threat.worst, threat.verdicts)
    return found


def _percent(share: Share) -> str:
    return f"{100 * share.value:.1f} %"


def _read(path: Path) -> tuple[RunRecord, Path]:
    """The record in a folder, and the folder.

    Raises:  RecordError if there is none.
    """
    folder = path.parent if path.name == "run.json" else path
    try:
        text = (folder / "run.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"no run.json can be read in {folder.name!r}; give the folder of a finished run") from error
    return RunRecord.from_json(text), folder
