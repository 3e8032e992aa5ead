"""How far attacks transfer: tables for the terminal, and one HTML file with a heat map for each attack."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saddlepoint.errors import missing
from saddlepoint.records import TransferRecord
from saddlepoint.report import text
from saddlepoint.report.html import page, save
from saddlepoint.report.privacy import command, public_value

if TYPE_CHECKING:
    from rich.console import Group as Renderables

MARKS = {"white-box": "=", "in the ensemble": "~", "black-box": ""}
"""How a cell is marked whose target the attacker knows, or averaged with others."""

NOTE = (
    "Share of rows fooled, of those that source and target both get right when clean. = the source is the target "
    "(white box), ~ the target is one of the source's ensemble."
)
_SHADES = 11  # classes h0 to h10 of the style sheet


def summary(record: TransferRecord) -> "Renderables":
    """A table for each attack: sources down, targets across.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Group as Renderables
        from rich.table import Table
        from rich.text import Text
    except ImportError as error:
        raise missing("rich", "cli") from error
    shown, parts = _public(record), list[Any]()
    for heat in maps(shown):
        title = f"{heat['attack']}  {text.ball(shown.norm, shown.eps)}"
        table = Table(box=None, title=Text(title), title_justify="left", title_style="bold")
        for name in ("from \\ on", *shown.targets):
            table.add_column(Text(name), justify="left" if name == "from \\ on" else "right", overflow="fold")
        for source, cells in heat["rows"]:
            table.add_row(
                Text(source), *(Text(f"{cell['percent']}{cell['mark']}\n{cell['interval']}") for cell in cells)
            )
        parts.append(table)
    return Renderables(*parts, Text(NOTE, style="dim"))


def maps(record: TransferRecord) -> list[dict[str, Any]]:
    """For each attack its cells, row by row, as they are shown."""
    found = []
    for attack in record.attacks:
        rows = [
            (source, [_cell(record, source, target, attack) for target in record.targets]) for source in record.sources
        ]
        found.append({"attack": attack, "rows": rows})
    return found


def render(record: TransferRecord) -> str:
    """The page as text; absolute paths shrink to base names.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    shown = _public(record)
    return page(
        "transfer.html",
        {
            "record": shown,
            "ball": text.ball(shown.norm, shown.eps),
            "maps": maps(shown),
            "note": NOTE,
            "clean": [(name, _percent(**told["clean"])) for name, told in shown.models.items()],
            "record_hash": hashlib.sha256(record.to_json().encode()).hexdigest(),
        },
        [],
    )


def write(record: TransferRecord, path: Path) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RecordError: the file cannot be written.
    """
    save(render(record), path)


def _public(record: TransferRecord) -> TransferRecord:
    shown: TransferRecord = public_value(record)
    return TransferRecord(**{**vars(shown), "command": command(record.command)})


def _percent(count: int, rows: int, **_: float) -> float:
    return 100 * count / max(1, rows)


def _cell(record: TransferRecord, source: str, target: str, attack: str) -> dict[str, Any]:
    handed = record.cell(source, target, attack)
    share = handed.fooled
    return {
        "percent": text.percent(share) if share.rows else "–",
        "interval": text.interval(share) if share.rows else "",
        "mark": MARKS[handed.knowledge],
        "shade": round((_SHADES - 1) * share.value),
        "told": f"{handed.knowledge}: {share.count} of {text.plural(share.rows, 'row')}",
    }
