"""What the interactive plot shows, as plain values: the page's script draws it with plotly."""

import html
import json
import re
from typing import Any

from saddlepoint.records import RunRecord, Share
from saddlepoint.report import text
from saddlepoint.report.charts import Curves
from saddlepoint.report.groups import Group

GLYPHS = ("●", "◇", "□", "△", "▽", "☆")
"""Markers of the worst case and, in turn, of the attacks: in the legend as here, in the plot as ``SYMBOLS``."""

SYMBOLS = ("circle", "diamond-open", "square-open", "triangle-up-open", "triangle-down-open", "star-open")

_LONGEST = 30  # letters of a name in a label: a longer one would not fit beside the mouse on a phone


def traces(run: RunRecord, names: list[str], curves: Curves) -> list[dict[str, Any]]:
    """One line per model and attack, the worst case of each model first; ``names`` are the models'."""
    found = []
    for series, name in enumerate(names):
        clean, threats = run.models[series].clean, curves.radii
        lines: list[tuple[str, list[tuple[float, Share]]]] = [
            ("worst case", [(eps, threat.worst) for eps, group in threats.items() if (threat := group.columns[series])])
        ]
        attacks = dict.fromkeys(attack for group in threats.values() for attack, _ in group.attacks)
        lines += [(attack, _measured(threats, attack, series)) for attack in attacks]
        for place, (attack, points) in enumerate(lines):
            if kept := [(eps, share) for eps, share in points if share.rows]:
                found.append(_trace(series, place, name, attack, clean, kept))
    return found


def embedded(values: Any) -> str:
    r"""JSON that can stand in a ``script`` element: nothing in it can end the element, or a line of script.

    >>> embedded({"name": "</script>"})
    '{"name": "\\u003c/script\\u003e"}'
    """
    content = json.dumps(values, allow_nan=False, ensure_ascii=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", content)


def label(name: str) -> str:
    """A name as plotly shows it as it is: short, on one line, with no tag or entity left to be obeyed.

    >>> label('<b>net</b>')
    '&lt;b&gt;net&lt;/b&gt;'
    """
    line = " ".join(name.split())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST * 2 // 3]}…{line[len(line) - _LONGEST // 3 :]}"
    return html.escape(line, quote=False)


def marker(place: int) -> dict[str, str]:
    """How a line is marked: the worst case at place 0, then the attacks."""
    at = 0 if place == 0 else 1 + (place - 1) % (len(GLYPHS) - 1)
    return {"glyph": GLYPHS[at], "symbol": SYMBOLS[at]}


def _measured(threats: dict[float, Group], attack: str, series: int) -> list[tuple[float, Share]]:
    """The radii at which a model met an attack."""
    cells = [(eps, dict(group.attacks).get(attack)) for eps, group in threats.items()]
    return [(eps, record.robust) for eps, row in cells if row is not None and (record := row[series]) is not None]


def _trace(
    series: int, place: int, name: str, attack: str, clean: Share, points: list[tuple[float, Share]]
) -> dict[str, Any]:
    """One line, from the clean accuracy at 0 on, in percent."""
    shares = [clean, *(share for _, share in points)]
    heads = ["clean accuracy", *(f"{label(attack)}, eps {text.radius(eps)}" for eps, _ in points)]
    return {
        "series": series,
        "attack": attack,
        "worst": place == 0,
        "shown": place == 0,
        **marker(place),
        "x": [0.0, *(eps for eps, _ in points)],
        "y": [100 * share.value for share in shares],
        "up": [100 * max(0.0, share.high - share.value) for share in shares],
        "down": [100 * max(0.0, share.value - share.low) for share in shares],
        "text": [
            f"{label(name)}<br>{head}<br>{text.percent(share)} ({text.interval(share)})<br>"  # <b> would need a style
            f"{share.count} of {text.plural(share.rows, 'row')}"
            for head, share in zip(heads, shares, strict=True)
        ],
    }
