import io
import sys

import pytest
import torch
from PIL import Image

from saddlepoint.balls import Bounds
from saddlepoint.errors import MissingExtraError
from saddlepoint.evaluation.pictures import Sample, choose, draw, is_image, png, require_pillow

NAMES = ("cat", "dog", "frog")


def sample(row=0, y=0, x0=None, x=None):
    x0 = torch.zeros(1, 2, 3) if x0 is None else x0
    return Sample(row, y, clean_prediction=y, adversarial_prediction=2, distance=0.25, x0=x0, x=x0 if x is None else x)


def pixels(content):
    """(c, h, w) as Pillow reads them back."""
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode) in {("PNG", "L"), ("PNG", "RGB")}
        flat = torch.tensor(list(image.tobytes()), dtype=torch.int64)
        return flat.view(image.height, image.width, len(image.getbands())).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_file_holds_the_rounded_pixels(channels):
    image = torch.rand(channels, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pixels(png(image)), (image * 255).round().long())


def test_every_level_survives():
    image = (torch.arange(256) / 255).view(1, 16, 16)
    assert pixels(png(image)).flatten().tolist() == list(range(256))


def test_values_outside_are_cut_off():
    assert pixels(png(torch.tensor([[[-0.5, 0.0, 1.0, 1.5]]]))).flatten().tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)])
def test_bounds_become_black_and_white(bounds):
    share = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 2, 2)
    moved = torch.tensor([0.25, 0.25, 0.5, 0.75]).view(1, 2, 2)
    x0, x = (bounds.lower + bounds.width * part for part in (share, moved))
    shown, files = draw([sample(x0=x0, x=x)], "pgd", NAMES, bounds, "0-1")
    assert torch.equal(pixels(files[shown[0].clean]), (share * 255).round().long())
    assert torch.equal(pixels(files[shown[0].adversarial]), (moved * 255).round().long())
    assert shown[0].magnified == pytest.approx(0.5 / 0.25)
    assert pixels(files[shown[0].difference]).flatten().tolist() == [255, 128, 128, 0]  # the largest change fills it


def test_no_change_is_gray():
    shown, files = draw([sample()], "pgd", NAMES, Bounds(), "0-0")
    assert set(pixels(files[shown[0].difference]).flatten().tolist()) == {128}


def test_a_picture_says_what_it_shows():
    shown, files = draw([sample(row=71, y=1), sample(row=5)], "bim", NAMES, Bounds(), "2-0")
    assert [(p.row, p.attack, p.label, p.clean_prediction, p.adversarial_prediction, p.distance) for p in shown] == [
        (71, "bim", "dog", "dog", "frog", 0.25),
        (5, "bim", "cat", "cat", "frog", 0.25),
    ]
    assert shown[1].clean == "pictures/2-0-1-clean.png"
    assert set(files) == {path for p in shown for path in (p.clean, p.adversarial, p.difference)}
    assert len(files) == 6


def test_different_labels_come_first():
    labels = [0, 0, 0, 1, 1, 2, 0]
    chosen = choose([sample(row=i, y=y) for i, y in enumerate(labels)], 5)
    assert [(s.row, s.y) for s in chosen] == [(0, 0), (3, 1), (5, 2), (1, 0), (4, 1)]
    assert choose([]) == []
    assert [s.row for s in choose([sample(row=i) for i in range(20)])] == list(range(8))


@pytest.mark.parametrize(
    ("shape", "known"), [((2, 1, 4, 4), True), ((2, 3, 4, 4), True), ((2, 2, 4, 4), False), ((2, 3, 4), False)]
)
def test_only_gray_and_colour_images_are_drawn(shape, known):
    assert is_image(torch.zeros(shape)) is known


def test_without_pillow_the_error_names_the_extra(monkeypatch):
    require_pillow()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"saddlepoint\[cli\]"):
        require_pillow()
