"""How numbers and names are written, the same in the page, in the terminal and in the citation."""

import json
import math
import re
from typing import Any

from saddlepoint.records import AttackRecord, Distances, ModelRecord, Share

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "l0": "L0", "ciede2000": "CIEDE2000"}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def plain(text: str) -> str:
    r"""The text without characters that steer a terminal, reverse the reading direction or cannot be encoded.

    >>> plain("a\x1b[31mb")
    'a�[31mb'
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def number(share: Share) -> str:
    """The share in percent with one decimal; 0.0 and 100.0 only where no row, or every row, is in it.

    >>> number(Share(count=1999, rows=2000, low=0.997, high=1.0))
    '>99.9'
    """
    if not share.rows:
        return "–"
    text = f"{100 * share.value:.1f}"
    if text == "100.0" and share.count < share.rows:
        return ">99.9"
    if text == "0.0" and share.count > 0:
        return "<0.1"
    return text


def percent(share: Share) -> str:
    """``number`` with its unit, or a dash where there are no rows."""
    return f"{number(share)} %" if share.rows else "–"


def interval(share: Share) -> str:
    """The bounds of the 95 % interval in percent, as in ``89.9 to 92.4``."""
    return f"{100 * share.low:.1f} to {100 * share.high:.1f}" if share.rows else "no rows"


def norm(name: str) -> str:
    """The norm's name as papers write it."""
    return _NORMS.get(name.lower(), name)


def radius(eps: float) -> str:
    """A radius as short as it can be read back; multiples of 1/255 as such.

    >>> radius(0.3), radius(8 / 255), radius(1.5)
    ('0.3', '8/255', '1.5')
    """
    short, levels = f"{eps:.6g}", eps * 255
    if len(short) > 5 and math.isfinite(levels) and round(levels) >= 1 and abs(levels - round(levels)) < 1e-4:
        return f"{round(levels)}/255"
    return short


def ball(norm_name: str, eps: float | None) -> str:
    """A threat in two or three words.

    >>> ball("linf", 8 / 255), ball("l2", None)
    ('Linf eps 8/255', 'L2 distance')
    """
    return f"{norm(norm_name)} distance" if eps is None else f"{norm(norm_name)} eps {radius(eps)}"


def unit(norm_name: str) -> str:
    """What distances are counted in."""
    units = {"l0": "features", "ciede2000": "total colour difference"}
    return units.get(norm_name.lower(), "input units")


def measure(value: float | None) -> str:
    """A distance or a count of passes with about three digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def appearance(record: AttackRecord | None) -> tuple[str, str, str]:
    """Mean and 99th percentile of CIEDE2000, and SSIM, or dashes."""
    seen = None if record is None else record.appearance
    if seen is None:
        return "–", "–", "–"
    return measure(seen.colour), measure(seen.colour_high), "–" if seen.ssim is None else f"{seen.ssim:.4f}"


def quartiles(found: Distances, eps: float | None) -> tuple[str, str, str]:
    """The quartiles of distances; one that falls on an unsolved row is above eps, or above the largest that was found.

    >>> from saddlepoint.records import distances
    >>> quartiles(distances([1.2345, 2.0], unsolved=2), None), quartiles(distances([], unsolved=1), 0.3)
    (('1.23', '2', '> 2'), ('> 0.3', '> 0.3', '> 0.3'))
    """
    limit = found.largest if eps is None else eps
    above = "none found" if limit is None else f"> {measure(limit)}"
    lower, median, upper = (
        above if value is None else measure(value) for value in (found.lower, found.median, found.upper)
    )
    return lower, median, upper


def setting(value: Any) -> str:
    """One setting of an attack or of a run, on one line."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False, default=str)


def duration(seconds: float) -> str:
    """A time span in the unit that suits it.

    >>> duration(4.21), duration(222), duration(7500)
    ('4.2 s', '3 min 42 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, word: str) -> str:
    """A count and its noun: ``1 row``, ``3 rows``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def listing(items: list[str]) -> str:
    """Items in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def labels(models: list[ModelRecord]) -> list[str]:
    """One printable label per model; models that share a name are told apart by the head of their fingerprint."""
    names = [plain(model.name) for model in models]
    return [
        f"{name} ({model.fingerprint[:8]})" if names.count(name) > 1 else name
        for name, model in zip(names, models, strict=True)
    ]
