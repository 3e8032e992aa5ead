"""All that the report's template names, as plain values."""

import json
from pathlib import Path
from typing import Any

from saddlepoint.records import FooledPicture, ModelRecord, RunRecord, ThreatRecord
from saddlepoint.report import charts, diagnoses, distances, passes, text
from saddlepoint.report.citation import barred, caveat, errors, sentence
from saddlepoint.report.classes import classes
from saddlepoint.report.groups import Group, fates, groups, passes_per_row
from saddlepoint.report.knowing import defended
from saddlepoint.report.pictures import embed
from saddlepoint.report.plot import traces
from saddlepoint.report.precisions import choices
from saddlepoint.report.settings import settings

_LEVELS = ("error", "warning", "note")


def context(run: RunRecord, folder: Path | None) -> dict[str, Any]:
    """All that the page's template names; ``run`` is fit to be shown, ``folder`` holds its pictures."""
    names, threats = text.labels(run.models), groups(run)
    curves, reach = charts.curves(run, threats), distances.plots(run, names, threats)
    effort, trust = passes.plots(run, names, threats), diagnoses.plots(names, threats)
    lines = [traces(run, names, plot) for plot in curves]
    bounded = [group for group in threats if group.eps is not None]
    return {
        "run": run,
        "names": names,
        "title": _title(names),
        "balls": _balls(threats),
        "threats": [{"group": group, "bars": charts.bars(run, group), "total": _totals(group)} for group in bounded],
        "cards": [
            _card(run, series, name, model, threat)
            for series, (name, model) in enumerate(zip(names, run.models, strict=True))
            for threat in model.threats
        ],
        "attacks": len({name for group in threats for name, _ in group.attacks}),
        "caveat": caveat(run),
        "defended": defended(run, names),
        "findings": sorted(run.findings, key=lambda finding: _LEVELS.index(finding.level)),
        "trust": [{"plot": plot, "legend": _legend(plot.traces)} for plot in trust],
        "curves": [{"plot": plot, "legend": _legend(found)} for plot, found in zip(curves, lines, strict=True)],
        "reach": [{"plot": plot, "legend": _legend(plot.traces)} for plot in reach],
        "looks": [group for group in threats if _seen(group)],
        "effort": [{"plot": plot, "legend": _legend(plot.traces)} for plot in effort],
        "plots": [_embedded(plot, log=False) for plot in trust]  # in the order of the page
        + [
            {"axis": "eps", "widest": max(plot.radii), "ticks": plot.ticks, "traces": found}
            for plot, found in zip(curves, lines, strict=True)
        ]
        + [_embedded(plot, log=False) for plot in reach]
        + [_embedded(plot, log=True) for plot in effort],
        "classes": classes(run, bounded),
        "targeted": run.spec.get("target", "none") != "none",
        "chained": _chained(run),
        "galleries": _galleries(run, names, folder),
        "settings": settings(run, names),
        "precision": choices(run, names),
        "specification": json.dumps(run.spec, indent=2, ensure_ascii=False, default=str),
    }


def _seen(group: Group) -> bool:
    """Whether it is known how images that fooled look."""
    return any(record and record.appearance for _, records in group.attacks for record in records)


def _title(names: list[str]) -> str:
    """The models by name; beyond three, their number."""
    return text.listing(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more models"


def _balls(threats: list[Group]) -> str:
    """The radii by norm: ``Linf eps 0.1 and 0.3; L2 eps 1; L2 distance``."""
    radii: dict[str, list[str]] = {}
    for group in threats:
        if group.eps is not None:
            radii.setdefault(text.norm(group.norm), []).append(text.radius(group.eps))
    bounded = [f"{norm} eps {text.listing(list(dict.fromkeys(found)))}" for norm, found in radii.items()]
    return "; ".join([*bounded, *dict.fromkeys(group.title for group in threats if group.eps is None)])


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
        shown = "unsolved" if fate == "held" and threat.eps is None else fate
        parts.append({"name": fate, "label": shown, "count": count, "start": start, "width": width})
        start += width
    return {
        "series": series,
        "name": name,
        "clean": model.clean,
        "threat": threat,
        "ball": text.ball(threat.norm, threat.eps),
        "measured": bool(threat.attacks and threat.worst.rows),
        "number": text.number(threat.worst),
        "reach": _reach(threat) if threat.eps is None else None,
        "errors": errors(run, model),
        "verdict": diagnoses.verdict(threat.diagnosis) if threat.diagnosis else None,
        "barred": barred(threat),
        "sentence": sentence(run, model, name, threat).replace(" %", "\u00a0%"),
        "parts": parts,
    }


def _reach(threat: ThreatRecord) -> dict[str, str] | None:
    """The median of a card without a radius, and what stands beside it."""
    found = threat.distances
    if found is None:
        return None
    lower, median, upper = text.quartiles(found, None)
    return {"median": median, "quartiles": f"quartiles {lower} to {upper}", "unit": text.unit(threat.norm)}


def _embedded(plot: distances.Plot | passes.Plot | diagnoses.Plot, *, log: bool) -> dict[str, Any]:
    """What the page's script needs of a plot of steps; a logarithmic axis starts at 1."""
    return {"axis": plot.axis, "log": log, "widest": plot.widest, "ticks": plot.ticks, "traces": plot.traces}


def _legend(found: list[dict[str, Any]]) -> list[tuple[int, list[tuple[int, dict[str, Any]]]]]:
    """The legend of a plot: the lines of each model, with their places."""
    return [
        (series, [(place, trace) for place, trace in enumerate(found) if trace["series"] == series])
        for series in dict.fromkeys(trace["series"] for trace in found)
    ]


def _galleries(run: RunRecord, names: list[str], folder: Path | None) -> list[dict[str, Any]]:
    """The pictures of every model and threat that has some."""
    return [
        {
            "series": series,
            "name": name,
            "threat": threat,
            "ball": text.ball(threat.norm, threat.eps),
            "easiest": [_fooled(picture, folder) | {"by": _by(run, threat, picture)} for picture in threat.easiest],
            "hardest": [{"of": picture, "panel": _panel("clean", picture.clean, folder)} for picture in threat.hardest],
        }
        for series, (name, model) in enumerate(zip(names, run.models, strict=True))
        for threat in model.threats
        if threat.easiest or threat.hardest
    ]


def _chained(run: RunRecord) -> bool:
    """Whether every attack was given only what those before it left, so that no row was fooled twice."""
    attacks = [attack for model in run.models for threat in model.threats for attack in threat.attacks]
    return bool(run.spec.get("suite")) and not any(attack.role for attack in attacks)


def _by(run: RunRecord, threat: ThreatRecord, picture: FooledPicture) -> str:
    """What fooled a row: the member of a suite, whose later ones never saw it, else how many of the attacks."""
    names = [attack.name for attack in threat.attacks]
    if run.spec.get("suite") and picture.attack in names:
        if _chained(run):
            return f"{picture.attack}, member {names.index(picture.attack) + 1} of {len(names)},"
        more = picture.fooled_by - 1  # beside the suite, attacks that see every row
        return picture.attack + (f" and {more} more" if more else "")
    return f"{picture.fooled_by} of {text.plural(len(names), 'attack')}"


def _fooled(picture: FooledPicture, folder: Path | None) -> dict[str, Any]:
    """One picture's three panels: clean, adversarial, and their difference."""
    taken = picture.adversarial_prediction
    clean = _panel("clean", picture.clean, folder) | {"prediction": picture.clean_prediction}
    moved = _panel("adversarial", picture.adversarial, folder) | {"prediction": taken, "fooled": taken != picture.label}
    return {"of": picture, "panels": [clean, moved, _panel("difference", picture.difference, folder)]}


def _panel(title: str, file: str, folder: Path | None) -> dict[str, Any]:
    return {
        "title": title,
        "file": text.plain(file).replace("\\", "/").rsplit("/")[-1] if file else "",
        "image": embed(folder, file),
        "prediction": None,
        "fooled": False,
    }
