"""Robust accuracy against passes per row: how many rows still stand after that much work of the attacks."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, final

from saddlepoint.records import Passes, RunRecord
from saddlepoint.report.distances import Line, Plotted, Steps, staircase, thinned
from saddlepoint.report.groups import Group
from saddlepoint.report.plot import label, marker

_WIDE = 500  # an axis to more has a tick at powers of ten only


@final
@dataclass(frozen=True, kw_only=True)
class Plot(Plotted):
    """One threat: a line per model, on a logarithmic axis from 1 to ``widest``."""


def plots(run: RunRecord, names: list[str], threats: list[Group]) -> list[Plot]:
    """A plot for every threat with attacks that leave a row at its first success; ``names`` are the models'."""
    return [_plot(names, group) for group in threats if any(t and t.passes and t.passes.most for t in group.columns)]


def steps(found: Passes, rows: int) -> Steps:
    """The rows that stand after every number of passes, from 1 to the most that were spent on one.

    >>> steps(Passes(attacks=["pgd"], held=1, most=80, found=[2, 5, 2]), rows=6)
    Steps(x=[1.0, 2.0, 5.0, 80.0], held=[4, 2, 1, 1], rows=6)
    """
    spent, whole = sorted(found.found), found.held + len(found.found)
    x = sorted({1, *spent, found.most})
    return Steps(x=[float(value) for value in x], held=[whole - bisect_right(spent, value) for value in x], rows=rows)


def _plot(names: list[str], group: Group) -> Plot:
    found = [
        (series, threat.passes, len(threat.verdicts))
        for series, threat in enumerate(group.columns)
        if threat is not None and threat.passes is not None and threat.passes.most
    ]
    widest = max(10.0, *(float(part.most) for _, part, _ in found))
    traces, lines = [], []
    for series, part, rows in found:
        line = thinned(steps(part, rows))
        traces.append(_trace(series, names[series], line, part))
        across = [_across(x, widest) for x in line.x]
        lines.append(Line(series=series, points=staircase(across, line), median=None, title=names[series]))
    between = (1, 2, 5) if widest < _WIDE else (1,)
    round_ = [times * 10**power for power in range(int(math.log10(widest)) + 1) for times in between]
    ticks = [(_across(value, widest), f"{value}") for value in round_ if value <= widest]
    return Plot(group=group, axis="passes per row", widest=widest, ticks=ticks, traces=traces, lines=lines)


def _trace(series: int, name: str, line: Steps, found: Passes) -> dict[str, Any]:
    """One line as the page's script draws it."""
    return {
        "kind": "steps",
        "series": series,
        "attack": ", ".join(found.attacks),
        "worst": True,
        "shown": True,
        **marker(0),
        "dash": "solid",
        "x": line.x,
        "held": line.held,
        "rows": line.rows,
        "head": label(name),
        "word": "after",
        "median": None,
    }


def _across(passes: float, widest: float) -> float:
    """The place of a number of passes on the axis, in percent."""
    return 100 * math.log(passes) / math.log(widest)
