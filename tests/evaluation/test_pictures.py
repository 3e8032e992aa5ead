import io
import sys

import pytest
import torch
from PIL import Image

from saddlepoint.balls import Bounds
from saddlepoint.errors import MissingExtraError
from saddlepoint.evaluation.pictures import Held, Sample, Tally, draw, draw_held, is_image, png, require_pillow

NAMES = ("cat", "dog", "frog")


def sample(row=0, y=0, x0=None, x=None):
    x0 = torch.zeros(1, 2, 3) if x0 is None else x0
    told = {"attack": "bim", "fooled_by": 2, "passes": 9, "clean_prediction": y, "adversarial_prediction": 2}
    return Sample(row=row, y=y, distance=0.25, x0=x0, x=x0 if x is None else x, **told)


def tally(fooled, held, passes, room):
    """Of lists, a row for each attack."""
    return Tally(torch.tensor(fooled) == 1, torch.tensor(held) == 1, torch.tensor(passes), torch.tensor(room))


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
    shown, files = draw([sample(x0=x0, x=x)], NAMES, bounds, "0-1")
    assert torch.equal(pixels(files[shown[0].clean]), (share * 255).round().long())
    assert torch.equal(pixels(files[shown[0].adversarial]), (moved * 255).round().long())
    assert shown[0].magnified == pytest.approx(0.5 / 0.25)
    assert pixels(files[shown[0].difference]).flatten().tolist() == [255, 128, 128, 0]  # the largest change fills it


def test_no_change_is_gray():
    shown, files = draw([sample()], NAMES, Bounds(), "0-0")
    assert set(pixels(files[shown[0].difference]).flatten().tolist()) == {128}


def test_a_picture_says_what_it_shows():
    shown, files = draw([sample(row=71, y=1), sample(row=5)], NAMES, Bounds(), "2-0")
    assert [(p.row, p.attack, p.label, p.clean_prediction, p.adversarial_prediction, p.distance) for p in shown] == [
        (71, "bim", "dog", "dog", "frog", 0.25),
        (5, "bim", "cat", "cat", "frog", 0.25),
    ]
    assert shown[1].clean == "pictures/2-0-1-clean.png"
    assert set(files) == {path for p in shown for path in (p.clean, p.adversarial, p.difference)}
    assert len(files) == 6


def test_a_row_that_held_is_shown_clean():
    x0 = torch.tensor([[[0.0, 0.25], [0.5, 1.0]]])
    shown, files = draw_held([Held(12, "pgd", 1, 3.5, 10 * x0 - 5)], NAMES, Bounds(-5.0, 5.0), "0-1")
    assert [(p.row, p.attack, p.label, p.room, p.clean) for p in shown] == [
        (12, "pgd", "dog", 3.5, "pictures/0-1-held-0.png")
    ]
    assert pixels(files[shown[0].clean]).flatten().tolist() == [0, 64, 128, 255]


def test_the_easiest_fell_to_most_attacks_then_in_fewest_passes_then_furthest():
    found = tally(
        fooled=[[1, 1, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1]],
        held=[[0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 0]],
        passes=[[5, 2, 2, 1, 1, 2], [1, 2, 2, 1, 1, 2]],
        room=[[-9.0, -1.0, -1.0, -9.0, 1.0, -1.0], [-9.0, -2.0, -3.0, -9.5, 1.0, -2.0]],
    )
    # 2, 1, 5: four passes, and 2 furthest; 0: six passes; 3: one attack, and its room under the other is none of it
    assert found.easiest(9) == [(2, 1), (1, 1), (5, 1), (0, 0), (3, 0)]
    assert found.easiest(2) == [(2, 1), (1, 1)]


def test_the_hardest_held_under_every_attack_with_most_room_at_the_nearest():
    inf = float("inf")
    found = tally(
        fooled=[[0, 0, 1, 0, 0], [0, 0, 0, 0, 0]],
        held=[[1, 1, 0, 1, 0], [1, 1, 1, 1, 0]],
        passes=[[0] * 5] * 2,
        room=[[3.0, 9.0, -1.0, inf, 99.0], [2.0, 7.0, 99.0, inf, 99.0]],
    )
    assert found.hardest() == [(1, 1), (0, 1)]  # 2 was fooled, 3 was never tried, 4 was not attacked or is undefined
    assert found.hardest(1) == [(1, 1)]


def test_nobody_fooled_and_nobody_left_are_no_pictures():
    assert tally([[0, 0]], [[0, 0]], [[0, 0]], [[0.0, 0.0]]).easiest() == []
    assert tally([[1, 1]], [[0, 0]], [[1, 1]], [[-1.0, -1.0]]).hardest() == []


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
