"""Numbers of a training's charts, in percent of the plot's width and height; the page's template draws them as SVG."""

from dataclasses import dataclass
from typing import final

from saddlepoint.training_record import Epoch, TrainingRecord

_MOST_TICKS = 8
Places = list[tuple[float, float, str]]  # x and y in percent, y downwards, and what a marker tells


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """One quantity over the epochs; ``series`` is its color."""

    name: str
    series: int
    points: Places

    @property
    def path(self) -> str:
        """The points of an SVG polyline in a 100 by 100 box."""
        return " ".join(f"{x:.2f},{y:.2f}" for x, y, _ in self.points)


@final
@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over the epochs.

    Args:  gap: outline of what lies between FGSM and PGD accuracy, "" elsewhere;  suspects: epochs that the guard saw,
        as (left, width, number);  kept: place of the epoch whose weights are the result, or None.
    """

    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    gap: str
    suspects: list[tuple[float, float, int]]
    kept: float | None


def charts(record: TrainingRecord) -> list[Chart]:
    """Accuracies on held-out rows where there are some, then the loss, then the learning rate."""
    if not record.epochs:
        return []
    found = []
    if any(epoch.pgd is not None for epoch in record.epochs):
        lines = [
            _line(record, name, series, field, 1.0, share=True)
            for series, (name, field) in enumerate((("clean", "clean"), ("FGSM", "fgsm"), ("PGD", "pgd")))
        ]
        ends = [(float(y), f"{100 - y}{' %' if y == 0 else ''}") for y in (0, 25, 50, 75, 100)]
        found.append(_chart(record, "Accuracy on held-out rows", lines, ends, _between(lines[1], lines[2])))
    for title, field, series in (("Loss", "loss", 3), ("Learning rate", "rate", 5)):
        top = max(getattr(epoch, field) for epoch in record.epochs) or 1.0
        ticks = [(0.0, f"{top:.3g}"), (50.0, f"{top / 2:.3g}"), (100.0, "0")]
        found.append(_chart(record, title, [_line(record, title.lower(), series, field, top)], ticks, ""))
    return found


def _chart(record: TrainingRecord, title: str, lines: list[Line], y_ticks: list[tuple[float, str]], gap: str) -> Chart:
    last, half = len(record.epochs), 50 / max(1, len(record.epochs) - 1)
    step = -(-last // _MOST_TICKS)
    numbers = [*range(1, last + 1, step)]
    suspects = [(_x(event.epoch, last) - half, 2 * half, event.epoch) for event in record.events]
    return Chart(
        title=title,
        lines=lines,
        x_ticks=[(_x(number, last), str(number)) for number in numbers],
        y_ticks=y_ticks,
        gap=gap,
        suspects=[(max(0.0, left), min(100.0, left + width) - max(0.0, left), n) for left, width, n in suspects],
        kept=_x(record.kept, last) if record.kept else None,
    )


def _line(record: TrainingRecord, name: str, series: int, field: str, top: float, *, share: bool = False) -> Line:
    def point(epoch: Epoch, value: float) -> tuple[float, float, str]:
        told = f"{100 * value:.1f} %" if share else f"{value:.4g}"
        return _x(epoch.number, len(record.epochs)), 100 - 100 * value / top, f"epoch {epoch.number}: {name} {told}"

    values = [(epoch, getattr(epoch, field)) for epoch in record.epochs]
    return Line(name=name, series=series, points=[point(epoch, v) for epoch, v in values if v is not None])


def _between(upper: Line, lower: Line) -> str:
    """The outline of the area between two lines, as the points of an SVG polygon."""
    return f"{upper.path} {' '.join(f'{x:.2f},{y:.2f}' for x, y, _ in reversed(lower.points))}"


def _x(epoch: int, last: int) -> float:
    return 50.0 if last == 1 else 100 * (epoch - 1) / (last - 1)
