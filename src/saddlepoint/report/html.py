"""The report of a run: one HTML file that opens offline and fetches nothing."""

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saddlepoint._files import write_atomic
from saddlepoint.errors import RecordError, missing
from saddlepoint.records import RunRecord
from saddlepoint.report import text
from saddlepoint.report.context import context
from saddlepoint.report.plot import embedded
from saddlepoint.report.privacy import public

if TYPE_CHECKING:
    from jinja2 import Environment

_FILTERS = {
    "percent": text.percent,
    "interval": text.interval,
    "radius": text.radius,
    "norm": text.norm,
    "measure": text.measure,
    "appearance": text.appearance,
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
    shown = context(public(run), folder)
    plots = shown["plots"]
    return page("report.html", {**shown, "record_hash": hashlib.sha256(run.to_json().encode()).hexdigest()}, plots)


def page(template: str, shown: dict[str, Any], plots: list[Any]) -> str:
    """A template as a page that loads nothing: style and scripts inline, admitted by their hashes.

    Args:  shown: all that the template names;  plots: what its script draws.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
        from markupsafe import Markup
    except ImportError as error:
        raise missing("jinja2", "cli") from error
    style = "\n" + _read("templates/report.css")
    scripts = ["\n" + _read(name) for name in _scripts(plotted=bool(plots))]
    return (
        _environment()
        .get_template(template)
        .render(
            shown,
            style=Markup(style),
            style_hash=_digest(style),
            scripts=[Markup(script) for script in scripts],
            script_hashes=[_digest(script) for script in scripts],
            plots=Markup(embedded(plots)),
        )
    )


def write(run: RunRecord, folder: Path | None, path: Path) -> None:
    """Write the page to ``path``, whole or not at all.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RecordError: the file cannot be written.
    """
    save(render(run, folder), path)


def save(content: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        RecordError: the file cannot be written.
    """
    try:
        write_atomic(path, content.encode())
    except OSError as error:
        raise RecordError(f"cannot write the report {str(path)!r} ({error.strerror}); choose another place") from error


@cache
def _environment() -> "Environment":
    """Made once: the templates are compiled on first use."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("saddlepoint.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    return environment


def _scripts(*, plotted: bool) -> list[str]:
    """The scripts of the page; the plotting library only where there is something to plot."""
    return [*(["vendor/plotly-basic.min.js"] if plotted else []), "templates/report.js"]


def _read(name: str) -> str:
    return resources.files("saddlepoint.report").joinpath(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    """The hash by which the page's policy admits a script or a style sheet."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
