"""Every filter has a row on the page, its picture and its API entry; the script draws what it is given."""

import importlib.util
import io
import re
from pathlib import Path

import pytest
import torch

from saddlepoint.defenses import transforms
from saddlepoint.defenses.transforms import Transform

Image = pytest.importorskip("PIL.Image")
ROOT = Path(__file__).parents[2]
ELSEWHERE = {"DenoisingAutoencoder", "Thermometer"}  # on the page of preprocessing
NAMES = {name: vars(transforms)[name] for name in transforms.__all__}
FILTERS = [name for name, kind in NAMES.items() if issubclass(kind, Transform) and hasattr(kind, "name")]
FILTERS = [name for name in FILTERS if name not in ELSEWHERE]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("filter_pictures", ROOT / "docs/_pictures/filters.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_is_described(name, script):
    page = (ROOT / "docs/filters.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}\(.*\)` \|.*\| (?P<gradient>[^|]*) \| (?P<random>[^|]*)\|$", page, re.MULTILINE)
    assert row, f"docs/filters.md has no row | `{name}(...)` | ..."
    kind = vars(transforms)[name]
    assert row["gradient"].startswith("its own" if kind.differentiable else "identity")
    assert row["random"].strip() == ("yes" if kind.random else "")
    assert f"::: saddlepoint.defenses.transforms.{name}\n" in (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert any(isinstance(made, kind) for made in script.FILTERS.values()), "docs/_pictures/filters.py does not draw it"


def test_the_list_of_filters_is_not_empty():
    assert len(FILTERS) >= 9


def test_patches_stand_below_the_name_of_their_filter(script):
    red = torch.zeros(2, 3, 4, 4)
    red[:, 0] = 1
    found = {"red": red, "blue": red.flip(1)}
    image = Image.open(io.BytesIO(script.picture(found)))
    colours = {colour for _, colour in image.getcolors(100_000)}
    assert {(255, 0, 0), (0, 0, 255), (255, 255, 255)} <= colours


def test_the_page_shows_the_picture(script):
    assert "](images/filters.png)" in (ROOT / "docs/filters.md").read_text(encoding="utf-8")
    assert script.PICTURE.exists()
