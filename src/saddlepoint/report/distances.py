"""Robust accuracy against distance: from one run of attacks that look for the nearest point, at every eps at once."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, final

from saddlepoint.records import AttackRecord, Distances, RunRecord, Share, ThreatRecord, wilson
from saddlepoint.report import text
from saddlepoint.report.groups import Group, fates, passes_per_row
from saddlepoint.report.plot import label, marker

MOST = 200
"""Points of a line in the page; ``run.json`` has the distance of every row."""

_SHOWN = 8  # lines that can be told apart; of more, only the worst cases are shown at first
_RANKS = 0.99, 0.75  # of the distances of a worst case, and of an attack, that fit on the axis: far rows squeeze it
_DASHES = ("solid", "dash", "dot", "longdash", "dashdot", "longdashdot")  # of the worst case and, in turn, the attacks


@final
@dataclass(frozen=True, kw_only=True)
class Steps:
    """Rows that stand against distance: no point at ``x[i]`` or nearer was found for ``held[i]`` of all ``rows``."""

    x: list[float]
    held: list[int]
    rows: int


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """One attack, or the worst case, on one model."""

    median: str
    quartiles: str
    unsolved: Share
    passes: float | None
    undefined: int


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """The worst case of one model, in percent of the plane's width and height, y downwards."""

    series: int
    points: str
    median: tuple[float, float] | None
    title: str


@dataclass(frozen=True, kw_only=True)
class Plotted:
    """One threat: its axis, the lines of the interactive plot, and those of the plain one."""

    group: Group
    axis: str
    widest: float
    ticks: list[tuple[float, str]]
    traces: list[dict[str, Any]]
    lines: list[Line]


@final
@dataclass(frozen=True, kw_only=True)
class Plot(Plotted):
    """One threat, with the table beside it."""

    table: list[tuple[str, list[Cell | None]]]


def plots(run: RunRecord, names: list[str], threats: list[Group]) -> list[Plot]:
    """A plot for every threat in which an attack looked for the nearest point; ``names`` are the models'."""
    return [_plot(run, names, group) for group in threats if any(t and t.distances for t in group.columns)]


def table(group: Group) -> list[tuple[str, list[Cell | None]]]:
    """A row per attack that looked for the nearest point, and the worst case, with a cell per model."""
    rows: list[tuple[str, list[Cell | None]]] = [
        (name, [_attack(record, group.eps) for record in cells])
        for name, cells in group.attacks
        if any(record and record.distances for record in cells)
    ]
    return [*rows, ("worst case", [_worst(threat) for threat in group.columns])]


def steps(found: Distances, rows: int, eps: float | None) -> Steps:
    """The rows that stand beyond every distance, from 0 to eps, or to the largest that was found.

    >>> from saddlepoint.records import distances
    >>> steps(distances([2.0, 1.0, 1.0], unsolved=1), rows=5, eps=None)
    Steps(x=[0.0, 1.0, 2.0], held=[4, 2, 1], rows=5)
    """
    nearest = sorted(value if eps is None else min(value, eps) for value in found.found)  # eps, and the judge's slack
    x = [0.0, *dict.fromkeys(nearest)]
    held = [found.rows, *(found.rows - bisect_right(nearest, value) for value in x[1:])]
    if eps is not None and x[-1] < eps:
        x, held = [*x, eps], [*held, held[-1]]
    return Steps(x=x, held=held, rows=rows)


def thinned(line: Steps, most: int = MOST) -> Steps:
    """The line through at most that many of its points, among them the first and the last."""
    count = len(line.x)
    if count <= most:
        return line
    kept = [round(i * (count - 1) / (most - 1)) for i in range(most)]
    return Steps(x=[line.x[i] for i in kept], held=[line.held[i] for i in kept], rows=line.rows)


def staircase(across: list[float], line: Steps) -> str:
    """The points of an SVG polyline in a 100 by 100 box, y downwards; ``across`` are the places of ``line.x``."""
    heights = [100 - 100 * held / (line.rows or 1) for held in line.held]
    spots, before = [], heights[0]
    for x, height in zip(across, heights, strict=True):
        spots += [f"{min(x, 100):.2f},{before:.2f}", f"{min(x, 100):.2f},{height if x <= 100 else before:.2f}"]
        before = height
        if x >= 100:
            break
    return " ".join(spots)


def _plot(run: RunRecord, names: list[str], group: Group) -> Plot:
    found = [
        (series, place, attack, part, len(threat.verdicts))
        for series, threat in enumerate(group.columns)
        if threat is not None and threat.distances is not None
        for place, attack, part in _parts(group, series, threat, threat.distances)
    ]
    widest = group.eps or _widest([(part, _RANKS[place > 0]) for _, place, _, part, _ in found])
    traces, lines = [], []
    for series, place, attack, part, rows in found:
        line = thinned(steps(part, rows, group.eps))
        if group.eps is None:  # flat from the largest distance to the edge of the axis
            line = Steps(x=[*line.x, max(widest, line.x[-1])], held=[*line.held, line.held[-1]], rows=rows)
        shown = place == 0 or len(found) <= _SHOWN
        traces.append(_trace(series, place, names[series], attack, line, part, shown=shown))
        if place == 0:
            lines.append(_line(series, names[series], line, part, widest))
    return Plot(
        group=group,
        axis=f"{text.norm(group.norm)} distance, {text.unit(group.norm)}",
        widest=widest,
        ticks=_ticks(widest),
        traces=traces,
        lines=lines,
        table=table(group),
    )


def _parts(group: Group, series: int, threat: ThreatRecord, worst: Distances) -> list[tuple[int, str, Distances]]:
    """Place, label and distances of the worst case and of each attack; one attack alone is its own worst case."""
    cells = [(name, cells[series]) for name, cells in group.attacks]
    attacks = [(name, record.distances) for name, record in cells if record is not None and record.distances]
    if len(threat.attacks) == 1:
        return [(0, attacks[0][0], worst)]
    places = {name: place for place, (name, _) in enumerate(group.attacks, 1)}
    return [(0, "worst case", worst), *((places[name], name, part) for name, part in attacks)]


def _trace(
    series: int, place: int, name: str, attack: str, line: Steps, found: Distances, *, shown: bool
) -> dict[str, Any]:
    """One line as the page's script draws it; the median is marked where it was found."""
    median = found.median
    return {
        "kind": "steps",
        "series": series,
        "attack": attack,
        "worst": place == 0,
        "shown": shown,
        **marker(place),
        "dash": _DASHES[0] if place == 0 else _DASHES[1 + (place - 1) % (len(_DASHES) - 1)],
        "x": [_short(x) for x in line.x],
        "held": line.held,
        "rows": line.rows,
        "head": f"{label(name)}<br>{label(attack)}",
        "word": "beyond",
        "median": None
        if median is None
        else [_short(median), _standing(line, median), text.measure(median), found.rows],
    }


def _short(distance: float) -> float:
    return float(f"{distance:.5g}")


def _line(series: int, name: str, line: Steps, found: Distances, widest: float) -> Line:
    """The same as a path of the plain chart."""
    at = None
    if found.median is not None and found.median <= widest:
        at = (100 * found.median / widest, 100 - 100 * _standing(line, found.median) / line.rows)
    title = f"{name}: median {text.measure(found.median)}"
    points = staircase([100 * x / widest for x in line.x], line)
    return Line(series=series, points=points, median=at, title=title)


def _standing(line: Steps, distance: float) -> int:
    """How many rows the line shows beyond a distance."""
    return line.held[max(0, bisect_right(line.x, distance) - 1)]


def _attack(record: AttackRecord | None, eps: float | None) -> Cell | None:
    if record is None or record.distances is None:
        return None
    return _cell(record.distances, eps, record.passes_per_row, record.undefined)


def _worst(threat: ThreatRecord | None) -> Cell | None:
    if threat is None or threat.distances is None:
        return None
    return _cell(threat.distances, threat.eps, passes_per_row(threat), dict(fates(threat))["undefined"])


def _cell(found: Distances, eps: float | None, passes: float | None, undefined: int) -> Cell:
    lower, median, upper = text.quartiles(found, eps)
    return Cell(
        median=median,
        quartiles="" if found.lower is None else f"{lower} to {upper}",
        unsolved=wilson(found.unsolved, found.rows),
        passes=passes,
        undefined=undefined,
    )


def _widest(found: list[tuple[Distances, float]]) -> float:
    """Where the axis ends if there is no radius: a little beyond that share of each line's distances."""
    ranked = [sorted(part.found)[math.ceil(share * len(part.found)) - 1] for part, share in found if part.found]
    return 1.05 * max(ranked, default=1.0) or 1.0


def _ticks(widest: float) -> list[tuple[float, str]]:
    """Places in percent, and labels, of three to five round numbers from 0 on.

    >>> _ticks(1.3)
    [(0.0, '0'), (38.46153846153846, '0.5'), (76.92307692307692, '1')]
    """
    power = 10.0 ** math.floor(math.log10(widest / 4))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if widest / (power * times) <= 5)
    return [(100 * i * step / widest, f"{i * step:.6g}") for i in range(int(widest / step * (1 + 1e-9)) + 1)]
