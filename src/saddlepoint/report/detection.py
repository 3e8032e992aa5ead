"""The report of a detector: one HTML file with its ROC curves, and how its scores are spread, for each attack."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from saddlepoint.records import Share
from saddlepoint.report import text
from saddlepoint.report.distances import Line, Steps, staircase, thinned
from saddlepoint.report.html import page, save
from saddlepoint.report.plot import label
from saddlepoint.report.privacy import command, public_value

BINS = 30
"""Of a histogram of scores."""

_DASHES = {"": "solid", "adaptive": "dash", "pursuing": "dot"}
_GLYPHS = {"": "—", "adaptive": "- -", "pursuing": "···"}
_WIDE = 1000.0  # ratio of the largest to the smallest positive score beyond which the axis is logarithmic
_LEAST = 1e-12  # of the largest score, where a logarithmic axis begins at the latest


def name(attack: str, adaptive: bool, below: float | None) -> str:
    """An attack, and what it knew.

    >>> name("pgd", True, 0.012345)
    'pgd adaptive, below 0.0123'
    """
    return f"{attack}{' adaptive' if adaptive else ''}{'' if below is None else f', below {below:.3g}'}"


def render(found: dict[str, Any]) -> str:
    """The page as text; absolute paths shrink to base names.

    Args:  found: what ``saddlepoint detect`` writes as detection.json.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    shown: dict[str, Any] = public_value(found)
    shown["command"] = command(found["command"])
    attacks, clean = shown["attacks"], shown["scores"]
    series = {attack: place for place, attack in enumerate(dict.fromkeys(each["attack"] for each in attacks))}
    curves = [_curve(each, clean, series) for each in attacks]
    drawn = [curve for curve in curves if curve is not None]
    plot = {
        "axis": "false positives, clean rows",
        "widest": 100.0,
        "ticks": [(float(x), f"{x}{' %' if x == 100 else ''}") for x in (0, 25, 50, 75, 100)],
    }
    scale = Scale.of([*clean, *(score for each in attacks for score in each["scores"])])
    return page(
        "detection.html",
        {
            "found": shown,
            "clean": {key: Share(**shown[key]) for key in ("accuracy", "rejected", "accepted", "robust")},
            "plot": {**plot, "lines": [line for _, line in drawn]},
            "keys": _keys(attacks, [curve is not None for curve in curves], series),
            "names": list(series),
            "rows": [_row(each, series) for each in attacks],
            "histograms": [_histogram(each, clean, shown["threshold"], scale, series) for each in attacks],
            "ticks": scale.ticks,
            "settings": [(key, json.dumps(value, ensure_ascii=False)) for key, value in shown["settings"].items()],
            "ball": text.ball(shown["norm"], shown["eps"]) if isinstance(shown.get("eps"), float | int) else "",
            "record_hash": hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest(),
        },
        [{**plot, "log": False, "traces": [trace for trace, _ in drawn]}] if drawn else [],
    )


def write(found: dict[str, Any], path: Path) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RecordError: the file cannot be written.
    """
    save(render(found), path)


def roc(clean: list[float], adversarial: list[float]) -> Steps:
    """Adversarial rows flagged at each share of clean rows that may be flagged, in percent: a step for each threshold.

    >>> roc([0.0, 1.0], [0.5, 2.0])
    Steps(x=[0.0, 50.0, 100.0], held=[1, 2, 2], rows=2)
    """
    marked = sorted([(score, False) for score in clean] + [(score, True) for score in adversarial], reverse=True)
    best: dict[float, int] = {0.0: 0}
    false = true = 0
    for place, (score, is_adversarial) in enumerate(marked):
        false, true = false + (not is_adversarial), true + is_adversarial
        if place + 1 == len(marked) or marked[place + 1][0] < score:  # tied rows are flagged together
            best[100 * false / len(clean)] = true
    return Steps(x=list(best), held=list(best.values()), rows=len(adversarial))


def _way(each: dict[str, Any]) -> str:
    return "pursuing" if each["below"] is not None else "adaptive" if each["adaptive"] else ""


def _title(each: dict[str, Any]) -> str:
    return name(each["attack"], each["adaptive"], each["below"])


def _fooling(each: dict[str, Any]) -> list[float]:
    return [score for score, fooled in zip(each["scores"], each["success"], strict=True) if fooled]


def _curve(each: dict[str, Any], clean: list[float], series: dict[str, int]) -> tuple[dict[str, Any], Line] | None:
    """The line of the interactive plot, and of the plain one; None where no row was fooled."""
    scores = _fooling(each)
    if not scores:
        return None
    steps = thinned(roc(clean, scores))
    own = series[each["attack"]]
    trace = {
        "kind": "steps", "series": own, "worst": each["below"] is not None, "dash": _DASHES[_way(each)],
        "head": label(_title(each)), "word": "flagged; false positives in %:",
        "x": [round(x, 3) for x in steps.x], "held": steps.held, "rows": steps.rows, "median": None,
    }  # fmt: skip
    return trace, Line(series=own, points=staircase(steps.x, steps), median=None, title="")


def _keys(
    attacks: list[dict[str, Any]], drawn: list[bool], series: dict[str, int]
) -> list[tuple[int, list[tuple[int, dict[str, Any]]]]]:
    """For each attack the buttons of its lines, by the places of the lines in the plot."""
    places = iter(range(sum(drawn)))
    keys: dict[int, list[tuple[int, dict[str, Any]]]] = {place: [] for place in series.values()}
    words = {"": "knows nothing", "adaptive": "knows the detector", "pursuing": "goes for clean scores"}
    for each, seen in zip(attacks, drawn, strict=True):
        if seen:
            line = {"shown": True, "glyph": _GLYPHS[_way(each)], "attack": words[_way(each)]}
            keys[series[each["attack"]]].append((next(places), line))
    return [(place, lines) for place, lines in keys.items() if lines]


def _row(each: dict[str, Any], series: dict[str, int]) -> dict[str, Any]:
    """A line of the table."""
    parts = {part: each[part]["area"] for part in ("successful", "failed", "confident")}
    told = parts["successful"]
    return {
        "title": _title(each),
        "series": series[each["attack"]],
        "fooled": each["successful"]["rows"],
        "rows": len(each["scores"]),
        "area": {part: "–" if area is None else f"{area['value']:.3f}" for part, area in parts.items()},
        "between": "" if told is None else f"{told['low']:.3f} to {told['high']:.3f}",
        "tpr": [Share(**share) for share in each["successful"]["tpr"]],
        "flagged": Share(**each["successful"]["flagged"]),
        "undetected": Share(**each["undetected"]),
    }


@final
@dataclass(frozen=True, kw_only=True)
class Scale:
    """The axis that all histograms share; scores that span orders of magnitude stand on it by their logarithm."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, scores: list[float]) -> "Scale":
        """An axis on which all these scores find a place; in a logarithmic one, 0 is at its left end."""
        low, high = min(scores), max(scores)
        positive = [score for score in scores if score > 0]
        if low >= 0 and positive and high > _WIDE * min(positive):
            return cls(low=max(min(positive), high * _LEAST), high=high, log=True)
        return cls(low=low, high=high if high > low else low + 1, log=False)

    def place(self, score: float) -> float:
        """In percent of the width."""
        if self.log:
            return 100 * min(1.0, math.log(max(score, self.low) / self.low) / math.log(self.high / self.low))
        return 100 * min(1.0, max(0.0, (score - self.low) / (self.high - self.low)))

    def score(self, place: float) -> float:
        """At this percentage of the width."""
        part = place / 100
        return self.low * (self.high / self.low) ** part if self.log else self.low + part * (self.high - self.low)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places with their scores."""
        return [(x, f"{self.score(x):.2g}") for x in (0.0, 25.0, 50.0, 75.0, 100.0)]


def _histogram(
    each: dict[str, Any], clean: list[float], limit: float, scale: Scale, series: dict[str, int]
) -> dict[str, Any]:
    """Shares of the clean rows and of those that fool by score, each out of its own number."""
    parts = [("clean", clean), ("fooled", _fooling(each))]
    counts = {part: _counts(scores, scale) for part, scores in parts}
    top = max(max(found) / max(1, sum(found)) for found in counts.values())
    bars = []
    for part, found in counts.items():
        for i, count in enumerate(found):
            if count:
                between = f"{scale.score(100 * i / BINS):.3g} to {scale.score(100 * (i + 1) / BINS):.3g}"
                told = f"{part}: {count} of {sum(found)} rows score {between}"
                bars.append((part, 100 * i / BINS, 100 * count / sum(found) / top, told))
    return {
        "title": _title(each),
        "series": series[each["attack"]],
        "bars": bars,
        "rows": len(parts[1][1]),
        "top": f"{100 * top:.0f} %",
        "limit": scale.place(limit),
    }


def _counts(scores: list[float], scale: Scale) -> list[int]:
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int(scale.place(score) * BINS / 100))] += 1
    return counts
