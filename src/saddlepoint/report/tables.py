"""The run in the terminal: one table per threat, the findings, and what to cite."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from saddlepoint.errors import missing
from saddlepoint.records import FOOLED, AttackRecord, Finding, RunRecord, Share, ThreatRecord
from saddlepoint.report import distances, text
from saddlepoint.report.citation import caveat, citation
from saddlepoint.report.groups import Group, groups, passes_per_row
from saddlepoint.report.privacy import public, public_findings

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.console import Group as Renderables
    from rich.table import Table
    from rich.text import Text

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_WHOLE = 16  # letters of an attack's name that a narrow terminal does not fold
_ENDLESS = 100_000  # columns: wider than any table


def summary(run: RunRecord) -> "Renderables":
    """One table per threat: attacks down, models across, each with robust accuracy, its interval and passes per row.

    In a suite also the rows that each member added to those fooled before it.
    Of RGB images a table has how those that fooled look.
    Where attacks looked for the nearest point, a table has their medians, and what they left unsolved; without a radius
    it is the only one. Models that do not fit beside each other come in a table below; no number is ever broken.

    Every name is shown as text; markup and control characters in it have no effect.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Group as Renderables
    except ImportError as error:
        raise missing("rich", "cli") from error
    shown = public(run)
    names = text.labels(shown.models)
    tables = []
    for group in groups(shown):
        if group.eps is not None:
            tables.append(_Blocks(_table, shown, names, group))
        if any(threat and threat.distances for threat in group.columns):
            tables.append(_Blocks(_reach, shown, names, group))
        if any(record and record.appearance for _, records in group.attacks for record in records):
            tables.append(_Blocks(_looks, shown, names, group))
    return Renderables(*tables)


def findings(run: RunRecord) -> "Renderables":
    """The findings of a run, as :func:`told` shows them; raises as it does."""
    return told(run.findings)


def told(found: Sequence[Finding]) -> "Renderables":
    """The findings, errors first, each with its evidence, its consequence and its remedy.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Group as Renderables
        from rich.text import Text
    except ImportError as error:
        raise missing("rich", "cli") from error
    lines = []
    for finding in sorted(public_findings(found), key=lambda finding: list(_STYLES).index(finding.level)):
        about = f" ({finding.model})" if finding.model else ""
        lines.append(
            Text.assemble(
                (finding.level, _STYLES[finding.level]),
                f": {finding.title}{about}\n  {finding.evidence}",
                (f"\n  {finding.consequence}" if finding.consequence else "", "dim"),
                f"\n  → {finding.remedy}",
            )
        )
    return Renderables(*lines)


def cite(run: RunRecord) -> "Renderables":
    """The sentences to cite, and under them what they do not say.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Group as Renderables
        from rich.text import Text
    except ImportError as error:
        raise missing("rich", "cli") from error
    return Renderables(*map(Text, citation(run)), Text(caveat(run), style="dim"))


@final
@dataclass(frozen=True)
class _Blocks:
    """A table of all models, or several below each other, each with as many models as fit into the width."""

    build: Callable[[RunRecord, list[str], Group], "Table"]
    run: RunRecord
    names: list[str]
    group: Group

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.measure import Measurement

        first = 0
        while first < len(self.names):
            last = len(self.names)
            while last > first + 1 and (
                Measurement.get(console, options.update_width(_ENDLESS), self._block(first, last)).maximum
                > options.max_width
            ):
                last -= 1
            yield self._block(first, last)
            first = last

    def _block(self, first: int, last: int) -> "Table":
        """The table of these models, whose names may be folded where one alone is too wide, but no number."""
        from rich.text import Text

        part = slice(first, last)
        group = replace(
            self.group,
            columns=self.group.columns[part],
            attacks=[(label, records[part]) for label, records in self.group.attacks],
        )
        table = self.build(replace(self.run, models=self.run.models[part]), self.names[part], group)
        for column in table.columns[1:]:
            column.min_width = max((cell.cell_len for cell in column.cells if isinstance(cell, Text)), default=0)
        return table


def _table(run: RunRecord, names: list[str], group: Group) -> "Table":
    """The table of one threat."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = ("passes", "added") if run.spec.get("suite") else ("passes",)
    width = 1 + len(columns)  # cells of a model
    title = Text(f"{group.title} · {text.plural(run.data.rows, 'row')} of {run.data.name}", style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    longest = max((len(label) for label, _ in group.attacks), default=0)
    table.add_column("attack", overflow="fold", min_width=min(longest, _WHOLE))
    for name in names:
        table.add_column(Text.assemble(name, ("\nrobust accuracy", "dim")), justify="right", overflow="fold")
        for column in columns:
            table.add_column(Text(f"\n{column}", style="dim"), justify="right", vertical="middle")
    clean = [
        _cells(model.clean, None) if threat else _absent()
        for model, threat in zip(run.models, group.columns, strict=True)
    ]
    table.add_row(Text("clean"), *(cell for each in clean for cell in each[:width]), end_section=True)
    for i, (label, records) in enumerate(group.attacks):
        cells = [cell for record in records for cell in _attack(record)[:width]]
        table.add_row(Text(label), *cells, end_section=i + 1 == len(group.attacks))
    worst = [_worst(threat) for threat in group.columns]
    table.add_row(Text("worst case"), *(cell for each in worst for cell in each[:width]), style="bold")
    return table


def _reach(run: RunRecord, names: list[str], group: Group) -> "Table":
    """The distances of one threat."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    what = group.title if group.eps is None else f"{group.title}, distance"
    title = Text(f"{what} · {text.plural(run.data.rows, 'row')} of {run.data.name}", style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("attack", overflow="fold")
    for name in names:
        table.add_column(Text.assemble(name, ("\nmedian, quartiles", "dim")), justify="right", overflow="fold")
        for column in ("unsolved", "passes"):
            table.add_column(Text(f"\n{column}", style="dim"), justify="right", vertical="middle")
    parts = distances.table(group)
    for i, (label, cells) in enumerate(parts, 1):
        shown = [part for cell in cells for part in _distances(cell)]
        style = "bold" if i == len(parts) else None
        table.add_row(Text(label), *shown, style=style, end_section=i + 1 == len(parts))
    return table


def _looks(run: RunRecord, names: list[str], group: Group) -> "Table":
    """How the images that fooled look, under one threat."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{group.title}, appearance · medians over fooled rows of {run.data.name}", style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("attack", overflow="fold")
    for name in names:
        table.add_column(Text.assemble(name, ("\nCIEDE2000: mean", "dim")), justify="right", overflow="fold")
        for column in ("99 %", "SSIM"):
            table.add_column(Text(f"\n{column}", style="dim"), justify="right", vertical="middle")
    for label, records in group.attacks:
        table.add_row(Text(label), *(Text(cell) for record in records for cell in text.appearance(record)))
    return table


def _distances(cell: distances.Cell | None) -> list["Text"]:
    from rich.text import Text

    if cell is None:
        return _absent()
    median = Text.assemble(cell.median, (f"  {cell.quartiles}" if cell.quartiles else "", "dim"))
    passes = "" if cell.passes is None else text.measure(cell.passes)
    return [median, Text(text.percent(cell.unsolved)), Text(passes)]


def _attack(record: AttackRecord | None) -> list["Text"]:
    return _cells(record.robust, record.passes_per_row, record.added) if record else _absent()


def _worst(threat: ThreatRecord | None) -> list["Text"]:
    return _cells(threat.worst, passes_per_row(threat), threat.verdicts.count(FOOLED)) if threat else _absent()


def _cells(share: Share, passes: float | None, added: int | None = None) -> list["Text"]:
    """Robust accuracy with its interval, passes per row, and the rows that the attack added to those fooled before."""
    from rich.text import Text

    accuracy = Text.assemble(text.percent(share), (f"  {text.interval(share).replace(' to ', '–')}", "dim"))
    return [accuracy, Text("" if passes is None else text.measure(passes)), Text("" if added is None else f"{added}")]


def _absent() -> list["Text"]:
    from rich.text import Text

    return [Text("–"), Text("–"), Text("–")]
