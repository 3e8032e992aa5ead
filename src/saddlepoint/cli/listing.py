"""``saddlepoint list``."""

import inspect

from rich.table import Table
from rich.text import Text

from saddlepoint.attacks import MIFGSM, Universal
from saddlepoint.cli import common
from saddlepoint.data import data_specs
from saddlepoint.defenses.training.recipes import recipes
from saddlepoint.evaluation import attack_classes
from saddlepoint.evaluation.ensembles import SUITES
from saddlepoint.evaluation.suites import PRESETS
from saddlepoint.models import zoo_card, zoo_names

_FILE = "universal:PATH"


def listing() -> None:
    """Attacks, models, data sets and training recipes that can be named on the command line."""
    screen = common.console()
    for title, rows in (
        ("attacks", [(name, _first_line(cls)) for name, cls in sorted({**attack_classes(), _FILE: Universal}.items())]),
        (f"{MIFGSM.name}, for points that are to fool other models", [(name, _told(name)) for name in PRESETS]),
        ("suites", [(name, suite.about) for name, suite in SUITES.items()]),
        ("norms", [(name, _first_line(cls)) for name, cls in common.BALLS.items()]),
        ("models", [(f"zoo:{name}", str(zoo_card(name).get("description", ""))) for name in zoo_names()]),
        ("data sets", [(spec, "") for spec in data_specs()]),
        ("recipes", [(name, recipe.title) for name, recipe in recipes().items() if not recipe.preset]),
        ("recipes for one data set", [(name, recipe.title) for name, recipe in recipes().items() if recipe.preset]),
    ):
        table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
        for name, about in rows:
            table.add_row(Text(name, style="cyan"), Text(about))
        screen.print(table)
        screen.print()


def _told(preset: str) -> str:
    return ", ".join(f"{name}={value}" for name, value in PRESETS[preset].items())


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
