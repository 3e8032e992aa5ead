"""Every attack has its picture, the page shows and describes it, and the script draws what it is given."""

import importlib.util
import io
import re
import sys
from pathlib import Path

import pytest
import torch

from saddlepoint import L0, Linf
from saddlepoint.evaluation import attack_classes

Image = pytest.importorskip("PIL.Image")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/images/attacks"
SHOWN = re.compile(r"!\[(?P<alt>[^\]]*)\]\(\.\./images/attacks/(?P<name>[\w-]+)\.png\)")
NAMES = sorted(attack_classes())


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("attack_pictures", ROOT / "docs/_pictures/attacks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def points(script):
    """Two digits: one pixel up by 0.5 and fooled, nothing changed and held."""
    x0 = torch.zeros(2, 28, 28)
    x = x0.clone()
    x[0, 0, 0] = 0.5
    return script.Points(x0, x, [3, 7], [8, 7])


@pytest.mark.parametrize("name", [*NAMES, "pgd-bisect", "gallery"])
def test_the_picture_is_there_small_and_described(name):
    file = FOLDER / f"{name}.png"
    assert file.exists(), f"docs/images/attacks/{name}.png is missing: make pictures"
    assert file.stat().st_size < (60_000 if name == "gallery" else 40_000)
    page = {"pgd-bisect": "combinators", "gallery": "index"}.get(name, name)
    text = (ROOT / f"docs/attacks/{page}.md").read_text(encoding="utf-8")
    alts = [match["alt"] for match in SHOWN.finditer(text) if match["name"] == name]
    assert len(alts) == 1, f"docs/attacks/{page}.md must show ../images/attacks/{name}.png once"
    assert len(alts[0].split()) >= 10, f"say in words what {name}.png shows"


def test_no_picture_is_left_over(script):
    assert {file.stem for file in FOLDER.iterdir()} == {*script.asked(), *script.COLOURS, "advgan", "gallery"}


def test_every_attack_is_drawn(script):
    asked = script.asked()
    assert set(asked) | set(script.COLOURS) == {*NAMES, "pgd-bisect"}
    assert asked["pgd"].ball == Linf(0.2)
    assert isinstance(asked["jsma"].ball, L0)


def test_the_digits_are_of_eight_classes_and_right(script):
    import saddlepoint as sp

    model = sp.load_model(script.MODEL)
    data = script.digits(model)
    assert data.y.tolist() == list(range(8))
    assert model.predict(data.x).equal(data.y)


def pixels(png):
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_a_sheet_shows_digit_and_difference(script, points):
    png = script.sheet(points, L0, "JSMA()")
    image = pixels(png)
    assert png == script.sheet(points, L0, "JSMA()")
    left, top, size = script.EDGE, script.EDGE, 4 * 28
    grey, black = image.getpixel((left + 1, top + 1)), image.getpixel((left + 6, top + 1))
    assert grey == (129, 129, 129)  # 0.5 on a scale of 100 greys
    assert black == (0, 0, 0)
    below = top + size + 40
    assert image.getpixel((left + 1, below + 1)) == (103, 0, 31)  # the largest change: the darkest red
    assert image.getpixel((left + 6, below + 1)) == (255, 255, 255)
    assert image.getpixel((0, 0)) == (255, 255, 255)  # a card, also on a dark page


def test_less_is_blue_and_the_scale_is_symmetric(script):
    indices = script.signed(torch.tensor([[-1.0, -0.5, 0.0, 0.5, 1.0]]), 1.0)
    colours = script.palette()
    found = [tuple(colours[3 * int(i) : 3 * int(i) + 3]) for i in indices[0]]
    assert found == [(5, 48, 97), (67, 147, 195), (255, 255, 255), (214, 96, 77), (103, 0, 31)]


def test_the_gallery_has_a_cell_for_each(script, points):
    one, six = (pixels(script.gallery({f"attack {i}": points for i in range(n)}, 0)) for n in (1, 6))
    assert one.width == six.width
    assert six.height - one.height == 3 * 28 + 96  # a second line
    assert six.getpixel((script.EDGE + 1, script.EDGE + 3 * 28 + 97)) == (129, 129, 129)  # the sixth cell
    assert one.getpixel((script.EDGE + 1, script.EDGE + 1)) == (129, 129, 129)


def test_points_are_found_again_until_the_settings_change(script, tmp_path, monkeypatch):
    import saddlepoint as sp

    monkeypatch.setattr(script, "POINTS", tmp_path)
    model = sp.load_model(script.MODEL)
    data = script.digits(model)[:2]
    attack = sp.attacks.FGSM(ball=sp.Linf(0.2))
    first = script.attacked(model, data, "fgsm", attack)
    forwards = model.meter.forwards
    again = script.attacked(model, data, "fgsm", attack)
    assert again.x.equal(first.x)
    assert model.meter.forwards - forwards == 2  # the two predictions; the attack did not run
    other = script.attacked(model, data, "fgsm", sp.attacks.FGSM(ball=sp.Linf(0.1)))
    assert other.distances(sp.Linf) == pytest.approx([0.1, 0.1])
    assert len(list(tmp_path.iterdir())) == 1  # the old points are gone
