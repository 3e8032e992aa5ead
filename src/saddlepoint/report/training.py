"""The report of a training: one HTML file that opens offline, with its curves and what the guard saw."""

import hashlib
import json
from pathlib import Path
from typing import Any

from saddlepoint.report import text
from saddlepoint.report.html import page, save
from saddlepoint.report.privacy import base_name, public_value
from saddlepoint.report.training_charts import Chart, charts
from saddlepoint.training_record import TrainingRecord

_ENDS = {
    "finished": "It ran to its last epoch.",
    "guard": "The guard stopped it, and the weights went back to those of the last epoch that was not suspect.",
    "patience": "It stopped because PGD accuracy on held-out rows no longer rose.",
}


def render(record: TrainingRecord, card: dict[str, Any]) -> str:
    """The page as text.

    Args:  card: of the weights: description, recipe, accuracies, hashes;  absolute paths shrink to base names.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    shown, public = public_value(record), public_value(card)
    drawn: list[Chart] = charts(shown)
    accuracy = public.get("accuracy", {})
    return page(
        "training.html",
        {
            "record": shown,
            "title": str(public.get("description", "a training")),
            "end": _ENDS.get(shown.ended, shown.ended),
            "kept": next((epoch for epoch in shown.epochs if epoch.number == shown.kept), None),
            "charts": drawn,
            "measured": _measured(accuracy) if isinstance(accuracy, dict) else [],
            "settings": _settings(public.get("recipe", {})),
            "weights": [("sha256", public.get("sha256", "")), ("parameters", public.get("parameters", ""))],
            "environment": list(dict(public.get("environment", {})).items()),
            "seconds": sum(epoch.seconds for epoch in shown.epochs),
            "record_hash": hashlib.sha256(record.to_json().encode()).hexdigest(),
            "specification": json.dumps(shown.settings, indent=2, ensure_ascii=False, default=str),
        },
        [],
    )


def write(record: TrainingRecord, card: dict[str, Any], path: Path) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RecordError: the file cannot be written.
    """
    save(render(record, card), path)


def _measured(accuracy: dict[str, Any]) -> list[tuple[str, str]]:
    """What the card says of the test rows, line by line."""
    found = [("clean", f"{100 * accuracy['clean']:.1f} %")] if "clean" in accuracy else []
    for norm, told in accuracy.items():
        if isinstance(told, dict):
            ball = f"{text.norm(norm)}, eps {text.radius(told['eps'])}"
            found += [(f"{name} ({ball})", f"{100 * share:.1f} %") for name, share in told.items() if name != "eps"]
    return found


def _settings(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """The recipe as run, one line for each setting that says something."""
    return [(base_name(str(name)), _told(value)) for name, value in recipe.items() if value not in (None, [], "")]


def _told(value: Any) -> str:
    """A setting on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_told(each)}" for name, each in value.items() if each is not None)
    return str(value)
