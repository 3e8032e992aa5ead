"""``saddlepoint list``."""

import inspect
import re

from rich.table import Table
from rich.text import Text

from saddlepoint.attacks import MIFGSM, AdvGANAttack, Universal
from saddlepoint.cli import common
from saddlepoint.cli.detect import DETECTORS
from saddlepoint.data import data_specs
from saddlepoint.defenses.training.recipes import recipes
from saddlepoint.defenses.transforms import TRANSFORMS, DenoisingAutoencoder
from saddlepoint.evaluation import attack_classes
from saddlepoint.evaluation.ensembles import SUITES
from saddlepoint.evaluation.suites import PRESETS, bisectable
from saddlepoint.models import zoo_card, zoo_names

_TRAINED = (DenoisingAutoencoder.name,)  # weights have no place in a spec
_FILES: dict[str, type] = {"advgan:PATH": AdvGANAttack, "universal:PATH": Universal}


def listing() -> None:
    """Attacks, filters, detectors, models, data sets and training recipes that can be named on the command line."""
    screen = common.console()
    for title, rows in (
        ("attacks", [(name, _first_line(cls)) for name, cls in sorted({**attack_classes(), **_FILES}.items())]),
        (
            "attacks that halve the radius",
            [(name, f"the smallest radius at which {name.rpartition('-')[0]} fools") for name in bisectable()],
        ),
        (f"{MIFGSM.name}, for points that are to fool other models", [(name, _told(name)) for name in PRESETS]),
        ("suites", [(name, suite.about) for name, suite in SUITES.items()]),
        ("norms", [(name, _first_line(cls)) for name, cls in common.BALLS.items()]),
        ("models", [(f"zoo:{name}", str(zoo_card(name).get("description", ""))) for name in zoo_names()]),
        ("filters", [(name, _first_line(cls)) for name, cls in sorted(TRANSFORMS.items()) if name not in _TRAINED]),
        ("detectors", [(name, _first_line(cls)) for name, cls in sorted(DETECTORS.items())]),
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
    line = (inspect.getdoc(cls) or "").partition("\n")[0]
    return re.sub(r":\w+:`([^`]+)`", r"\1", line)  # a terminal has no links
