"""The gallery has every attack, shows and describes its pictures, and its script draws what it is given."""

import importlib.util
import io
import re
import sys
from pathlib import Path

import pytest
import torch

import saddlepoint as sp
from saddlepoint import attacks
from saddlepoint.evaluation import attack_classes
from saddlepoint.evaluation.suites import PRESETS

Image = pytest.importorskip("PIL.Image")
ROOT = Path(__file__).parents[2]
OTHERS = {"AdvGAN": "AdvGANAttack", "UniversalPerturbation": "Universal", "FromCallable": None}
"""What is fitted is shown by what comes of it; a function of another library is no attack of ours."""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("gallery_script", ROOT / "docs/_pictures/gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def rows():
    """The table of the page by its first column."""
    lines = (ROOT / "docs/_pictures/gallery-table.txt").read_text(encoding="utf-8").splitlines()[2:]
    return {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}


def test_every_attack_is_in_it():
    found = rows()
    own = {cls.__name__: name for name, cls in attack_classes().items()}
    for exported in attacks.__all__:
        wanted = own.get(exported, OTHERS.get(exported, exported))
        assert wanted is None or any(name.split(" ")[0] == wanted for name in found), f"{exported}: make gallery"
    assert set(PRESETS) <= set(found)


def test_distances_are_those_of_one_ball_where_there_is_one():
    found = rows()
    assert float(found["fgsm"][1]) == pytest.approx(8 / 255, abs=5e-4)
    assert all(float(cells[1]) <= 0.0315 for name, cells in found.items() if name in ("pgd", "Universal", *PRESETS))
    assert min(found, key=lambda name: float(found[name][4])) in ("jsma", "cw-l0", "fmn")


@pytest.mark.parametrize("name", ["inside", "least", "around"])
def test_a_picture_is_there_small_and_described(name):
    file = ROOT / "docs/images/gallery" / f"{name}.webp"
    assert 20_000 < file.stat().st_size < 600_000
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    (alt,) = re.findall(rf"!\[([^\]]*)\]\(images/gallery/{name}\.webp\)", page)
    assert len(alt.split()) >= 10


@pytest.fixture
def points(script):
    """Two images: one grey pixel brighter by 0.25 and fooled, nothing changed and held."""
    x0 = torch.full((2, 3, 32, 32), 0.5)
    x = x0.clone()
    x[0, :, 0, 0] += 0.25
    return script.Points(x0, x, [0, 1], [4, 1])


def test_the_distances_are_means_over_what_was_fooled_in_every_norm(script, points):
    assert points.fooled == 1
    linf, l2, l1, l0, colour = points.distances()
    assert (linf, l1, l0) == (0.25, 0.75, 3)
    assert l2 == pytest.approx(3**0.5 / 4)
    assert colour == pytest.approx(sp.balls.Perceptual(1.0).distance(points.x, points.x0)[0].item())
    assert script.amounts(points.distances())[:4] == ["0.250", "0.43", "0.8", "3"]


def test_a_sheet_enlarges_what_was_added_and_frames_what_held(script, points):
    image = Image.open(io.BytesIO(script.sheet(points.x0, {"one": points}))).convert("RGB")
    left, size = script.LEFT, 64
    top = script.EDGE + size + 24

    def near(place, colour):
        return max(abs(a - b) for a, b in zip(image.getpixel(place), colour, strict=True)) < 60

    assert near((left + 30, script.EDGE + 30), (128, 128, 128)), "clean"
    assert near((left + 30, top + 30), (128, 128, 128))
    assert near((left, top + size + 3), (255, 255, 255)), "the largest change is white"
    assert near((left + 30, top + size + 33), (128, 128, 128))
    assert near((left + size + script.GAP - 2, top + 30), script.RED), "the second was not fooled"
    assert near((left - 3, top + 30), (255, 255, 255))
    assert script.magnified(points.x - points.x0)[1] == [2], "what was not changed is not enlarged"
