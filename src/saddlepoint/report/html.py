"""The report of a run: one HTML file that opens offline and fetches nothing."""

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from saddlepoint._files import write_atomic
from saddlepoint.errors import RecordError, missing
from saddlepoint.records import ModelRecord, Picture, RunRecord, ThreatRecord
from saddlepoint.report import charts, text
from saddlepoint.report.citation import CAVEAT, errors, sentence
from saddlepoint.report.groups import Group, fates, groups, passes_per_row
from saddlepoint.report.pictures import embed
from saddlepoint.report.privacy import public
from saddlepoint.report.settings import settings

_LEVELS = ("error", "warning", "note")
_FILTERS = {
    "percent": text.percent,
    "interval": text.interval,
    "radius": text.radius,
    "norm": text.norm,
    "measure": text.measure,
    "setting": text.setting,
    "duration": text.duration,
    "plural": text.plural,
    "listing": text.listing,
}


def render(run: RunRecord, folder: Path | None) -> str:
    """The page as text.

    Args:
        run: what to show; absolute paths in it are shortened to base names.
        folder: where the run's picture files are; with None, or where a file is missing, a placeholder stands in.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise missing("jinja2", "cli") from error
    style = (resources.files("saddlepoint.report") / "templates" / "report.css").read_text(encoding="utf-8")
    style = f"\n{style}"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("saddlepoint.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("report.html")
    return page.render(_context(public(run), folder), style=Markup(style), style_hash=digest)


def write(run: RunRecord, folder: Path | None, path: Path) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RecordError: the file cannot be written.
    """
    page = render(run, folder)
    try:
        write_atomic(path, page.encode())
    except OSError as error:
        raise RecordError(f"cannot write the report {str(path)!r} ({error.strerror}); choose another place") from error


def _context(run: RunRecord, folder: Path | None) -> dict[str, Any]:
    """All that the template names."""
    names, threats = text.labels(run.models), groups(run)
    return {
        "run": run,
        "names": names,
        "title": _title(names),
        "balls": _balls(threats),
        "threats": [{"group": group, "bars": charts.bars(run, group), "total": _totals(group)} for group in threats],
        "cards": [
            _card(run, series, name, model, threat)
            for series, (name, model) in enumerate(zip(names, run.models, strict=True))
            for threat in model.threats
        ],
        "attacks": len({name for group in threats for name, _ in group.attacks}),
        "caveat": CAVEAT,
        "findings": sorted(run.findings, key=lambda finding: _LEVELS.index(finding.level)),
        "curves": charts.curves(run, threats),
        "galleries": _galleries(run, names, folder),
        "settings": settings(run, names),
        "specification": json.dumps(run.spec, indent=2, ensure_ascii=False, default=str),
    }


def _title(names: list[str]) -> str:
    """The models by name; beyond three, their number."""
    return text.listing(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more models"


def _balls(threats: list[Group]) -> str:
    """The radii by norm: ``Linf eps 0.1 and 0.3; L2 eps 1``."""
    radii: dict[str, list[str]] = {}
    for group in threats:
        radii.setdefault(text.norm(group.norm), []).append(text.radius(group.eps))
    return "; ".join(f"{norm} eps {text.listing(list(dict.fromkeys(found)))}" for norm, found in radii.items())


def _totals(group: Group) -> list[dict[str, Any] | None]:
    """The worst-case row of a threat's table: per model its share, passes and counts."""
    return [
        {"worst": threat.worst, "passes": passes_per_row(threat), "counts": dict(fates(threat))} if threat else None
        for threat in group.columns
    ]


def _card(run: RunRecord, series: int, name: str, model: ModelRecord, threat: ThreatRecord) -> dict[str, Any]:
    """What to cite of one model in one ball, and where its rows went."""
    start, parts = 0.0, []
    for fate, count in fates(threat):
        width = 100 * count / len(threat.verdicts) if threat.verdicts else 0.0
        parts.append({"name": fate, "count": count, "start": start, "width": width})
        start += width
    return {
        "series": series,
        "name": name,
        "clean": model.clean,
        "threat": threat,
        "measured": bool(threat.attacks and threat.worst.rows),
        "number": text.number(threat.worst),
        "errors": errors(run, model),
        "sentence": sentence(run, model, name, threat).replace(" %", "\u00a0%"),
        "parts": parts,
    }


def _galleries(run: RunRecord, names: list[str], folder: Path | None) -> list[dict[str, Any]]:
    """The pictures of every model and threat that has some."""
    return [
        {
            "series": series,
            "name": name,
            "threat": threat,
            "pictures": [_picture(picture, folder) for picture in threat.pictures],
        }
        for series, (name, model) in enumerate(zip(names, run.models, strict=True))
        for threat in model.threats
        if threat.pictures
    ]


def _picture(picture: Picture, folder: Path | None) -> dict[str, Any]:
    """One picture's three panels: clean, adversarial, and their difference."""
    panels = [
        ("clean", picture.clean, picture.clean_prediction, False),
        (
            "adversarial",
            picture.adversarial,
            picture.adversarial_prediction,
            picture.adversarial_prediction != picture.label,
        ),
        ("difference", picture.difference, None, False),
    ]
    return {
        "of": picture,
        "panels": [
            {
                "title": title,
                "file": text.plain(file).replace("\\", "/").rsplit("/")[-1] if file else "",
                "image": embed(folder, file),
                "prediction": prediction,
                "fooled": fooled,
            }
            for title, file, prediction, fooled in panels
        ],
    }
