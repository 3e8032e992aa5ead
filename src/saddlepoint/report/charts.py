"""Numbers of the charts, in percent of the plot's width and height; the page's template draws them as SVG."""

from dataclasses import dataclass
from typing import final

from saddlepoint.records import RunRecord, Share
from saddlepoint.report import text
from saddlepoint.report.groups import Group


@final
@dataclass(frozen=True, kw_only=True)
class Bar:
    """One robust accuracy with its interval; ``series`` is the model's index."""

    series: int
    value: float
    low: float
    high: float
    text: str


@final
@dataclass(frozen=True, kw_only=True)
class Point:
    """One radius of a curve: x in percent of the largest radius, y in percent."""

    x: float
    y: float
    low: float
    high: float
    share: Share


@final
@dataclass(frozen=True, kw_only=True)
class Curve:
    """Worst-case robust accuracy of one model against eps, from the clean accuracy at 0 on."""

    series: int
    points: list[Point]

    @property
    def line(self) -> str:
        """The points of an SVG polyline in a 100 by 100 box, y downwards."""
        return " ".join(f"{p.x:.2f},{100 - p.y:.2f}" for p in self.points)

    @property
    def band(self) -> str:
        """The outline of the interval, as the points of an SVG polygon in the same box."""
        over = [f"{p.x:.2f},{100 - p.high:.2f}" for p in self.points]
        under = [f"{p.x:.2f},{100 - p.low:.2f}" for p in reversed(self.points)]
        return " ".join(over + under)


@final
@dataclass(frozen=True, kw_only=True)
class Curves:
    """One norm: its curves, the radii with their places, and which of them have room for a label."""

    norm: str
    radii: dict[float, Group]  # in rising order
    curves: list[Curve]
    ticks: list[tuple[float, str]]
    table: list[tuple[str, list[Share | None]]]  # radius, one cell per model


def bars(run: RunRecord, group: Group) -> list[tuple[str, list[Bar]]]:
    """Clean accuracy, every attack and the worst case of one threat, each with a bar per model."""
    shares: list[tuple[str, list[Share | None]]] = [("clean", _clean(run, group))]
    shares += [(name, [cell.robust if cell else None for cell in cells]) for name, cells in group.attacks]
    shares.append(("worst case", [threat.worst if threat else None for threat in group.columns]))
    return [
        (name, [_bar(series, share) for series, share in enumerate(row) if share is not None]) for name, row in shares
    ]


def curves(run: RunRecord, threats: list[Group]) -> list[Curves]:
    """For every norm: worst-case robust accuracy against eps, each radius once."""
    found = []
    for norm in dict.fromkeys(group.norm.lower() for group in threats):
        same = [(group.eps, group) for group in threats if group.norm.lower() == norm and group.eps]
        radii = dict(sorted(same, key=lambda pair: pair[0]))
        if radii:
            found.append(_curves(run, radii))
    return found


def _curves(run: RunRecord, radii: dict[float, Group]) -> Curves:
    widest = max(radii)
    drawn = []
    for series, model in enumerate(run.models):
        worst = [
            (eps, threat.worst)
            for eps, group in radii.items()
            if (threat := group.columns[series]) and threat.worst.rows
        ]
        if worst:
            shares = [(0.0, model.clean), *worst]
            drawn.append(Curve(series=series, points=[_point(100 * eps / widest, share) for eps, share in shares]))
    rows: list[tuple[str, list[Share | None]]] = [("0 (clean)", [model.clean for model in run.models])]
    rows += [
        (text.radius(eps), [threat.worst if threat else None for threat in group.columns])
        for eps, group in radii.items()
    ]
    ticks = _thinned([(100 * eps / widest, text.radius(eps)) for eps in radii])
    return Curves(norm=text.norm(radii[widest].norm), radii=radii, curves=drawn, ticks=ticks, table=rows)


def _thinned(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The tick at 0, the last one, and those between that stand far enough apart to be read on a phone."""
    kept = [(0.0, "0")]
    for x, label in ticks[:-1]:
        if x - kept[-1][0] >= 12 and ticks[-1][0] - x >= 12:
            kept.append((x, label))
    return [*kept, ticks[-1]]


def _clean(run: RunRecord, group: Group) -> list[Share | None]:
    return [model.clean if threat else None for model, threat in zip(run.models, group.columns, strict=True)]


def _bar(series: int, share: Share) -> Bar:
    low, high = 100 * share.low, 100 * share.high
    return Bar(series=series, value=100 * share.value, low=low, high=high, text=text.percent(share))


def _point(x: float, share: Share) -> Point:
    return Point(x=x, y=100 * share.value, low=100 * share.low, high=100 * share.high, share=share)
