"""Whether the numbers can be trusted: what the page and the terminal show of the diagnoses of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from saddlepoint.errors import missing
from saddlepoint.records import Diagnosis, Probe, RunRecord, wilson
from saddlepoint.report import text
from saddlepoint.report.distances import Line, Plotted
from saddlepoint.report.groups import Group
from saddlepoint.report.plot import label, marker
from saddlepoint.report.privacy import public

if TYPE_CHECKING:
    from rich.console import Group as Renderables
    from rich.table import Table
    from rich.text import Text

_STYLES = {"trust": "bold green", "none": "dim", "doubt": "yellow", "do not cite": "bold red"}


@final
@dataclass(frozen=True, kw_only=True)
class Panel:
    """One model in one ball: its diagnosis, and the probes that raise a concern, and those that do not."""

    series: int
    name: str
    diagnosis: Diagnosis
    against: str
    concerns: list[Probe]
    sound: list[Probe]


@final
@dataclass(frozen=True, kw_only=True)
class Plot(Plotted):
    """One ball: the panels of its models, and robust accuracy at the radii of the ladder, which stand evenly spaced."""

    panels: list[Panel]


def plots(names: list[str], threats: Sequence[Group]) -> list[Plot]:
    """A plot for every ball in which a model was diagnosed; ``names`` are the models'."""
    return [_plot(names, group) for group in threats if any(threat and threat.diagnosis for threat in group.columns)]


def verdict(diagnosis: Diagnosis) -> str:
    """The verdict with its causes.

    >>> verdict(Diagnosis(verdict="doubt", causes=["weak attack"], probes=[], rungs=[], rows=60, compared=True,
    ...                   forwards=0, backwards=0, seconds=0.0))
    'doubt (weak attack)'
    """
    return f"{diagnosis.verdict} ({', '.join(diagnosis.causes)})" if diagnosis.causes else diagnosis.verdict


def summary(run: RunRecord) -> "Renderables":
    """A line for each model and ball that was diagnosed: the verdict, its causes, the gravest evidence.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Group as Renderables
        from rich.text import Text
    except ImportError as error:
        raise missing("rich", "cli") from error
    shown, lines = public(run), []
    for name, model in zip(text.labels(shown.models), shown.models, strict=True):
        for threat in model.threats:
            if threat.diagnosis is not None:
                said = verdict_line(threat.diagnosis)
                lines.append(Text.assemble(f"diagnosis of {name}, {text.ball(threat.norm, threat.eps)}: ", said))
    return Renderables(*lines)


def verdict_line(diagnosis: Diagnosis) -> "Text":
    """The verdict, what it rests on, and what it cost."""
    from rich.text import Text

    worst = next((probe for probe in diagnosis.probes if probe.concern == diagnosis.verdict), None)
    return Text.assemble(
        (verdict(diagnosis), _STYLES[diagnosis.verdict]),
        f"; {worst.name}" if worst else "",
        (f" ({_cost(diagnosis)})", "dim"),
    )


def table(diagnosis: Diagnosis) -> "Table":
    """Every probe with its evidence, the gravest first, and under each concern the attack to try next.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich import box
        from rich.table import Table
        from rich.text import Text
    except ImportError as error:
        raise missing("rich", "cli") from error
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("probe", overflow="fold", ratio=2)
    found.add_column("evidence", overflow="fold", ratio=5)
    found.add_column("concern", overflow="fold")
    for probe in diagnosis.probes:
        remedy = f"\n→ {probe.remedy}" if probe.remedy else ""
        concern = probe.concern + (f"\n{probe.cause}" if probe.cause and probe.concern != "none" else "")
        found.add_row(
            Text.assemble(probe.name, (f"\n{probe.measured}", "dim")),
            Text(probe.evidence + remedy),
            Text(concern, style=_STYLES[probe.concern]),
        )
    return found


def _cost(diagnosis: Diagnosis) -> str:
    rows, passes = text.plural(diagnosis.rows, "row"), diagnosis.forwards + diagnosis.backwards
    return f"{rows}, {passes:,} passes beside those of the attacks, {text.duration(diagnosis.seconds)}"


def _plot(names: list[str], group: Group) -> Plot:
    found = [
        (series, threat.diagnosis)
        for series, threat in enumerate(group.columns)
        if threat is not None and threat.diagnosis is not None
    ]
    radii = max(([rung.eps for rung in diagnosis.rungs] for _, diagnosis in found), key=len)
    last = max(1, len(radii))
    return Plot(
        group=group,
        axis=f"{text.norm(group.norm)} eps, not to scale, out to the whole box",
        widest=float(last),
        ticks=[(100 * place / last, _radius(eps)) for place, eps in enumerate([0.0, *radii])],
        traces=[_trace(series, names[series], diagnosis) for series, diagnosis in found if diagnosis.rungs],
        lines=[_line(series, names[series], diagnosis, last) for series, diagnosis in found if diagnosis.rungs],
        panels=[_panel(series, names[series], diagnosis) for series, diagnosis in found],
    )


def _radius(eps: float) -> str:
    """A radius that is short enough to stand beside others.

    >>> _radius(8 / 255), _radius(0.5477225)
    ('8/255', '0.548')
    """
    said = text.radius(eps)
    return said if len(said) <= 6 else f"{eps:.3g}"


def _panel(series: int, name: str, diagnosis: Diagnosis) -> Panel:
    return Panel(
        series=series,
        name=name,
        diagnosis=diagnosis,
        against="the attacks of this run" if diagnosis.compared else "PGD on the cross-entropy",
        concerns=[probe for probe in diagnosis.probes if probe.concern != "none"],
        sound=[probe for probe in diagnosis.probes if probe.concern == "none"],
    )


def _trace(series: int, name: str, diagnosis: Diagnosis) -> dict[str, Any]:
    """One line as the page's script draws it: all rows at 0, as they are right when clean."""
    whole = diagnosis.rungs[0].held.rows
    shares = [wilson(whole, whole), *(rung.held for rung in diagnosis.rungs)]
    heads = ["clean", *(f"eps {_radius(rung.eps)}" for rung in diagnosis.rungs)]
    return {
        "series": series,
        "attack": "PGD on the margin",
        "worst": True,
        "shown": True,
        **marker(0),
        "x": list(range(len(shares))),
        "y": [100 * share.value for share in shares],
        "up": [0.0, *(100 * (share.high - share.value) for share in shares[1:])],
        "down": [0.0, *(100 * (share.value - share.low) for share in shares[1:])],
        "text": [
            f"{label(name)}<br>{head}<br>{share.count} of {text.plural(share.rows, 'row')} hold"
            for head, share in zip(heads, shares, strict=True)
        ],
    }


def _line(series: int, name: str, diagnosis: Diagnosis, last: int) -> Line:
    """The same as a path of the plain chart."""
    heights = [0.0, *(100 - 100 * rung.held.value for rung in diagnosis.rungs)]
    points = " ".join(f"{100 * place / last:.2f},{height:.2f}" for place, height in enumerate(heights))
    return Line(series=series, points=points, median=None, title=name)
