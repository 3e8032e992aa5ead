import pytest
import torch

from saddlepoint.defenses.training.augment import shift
from saddlepoint.errors import InputError
from saddlepoint.noise import Noise


@pytest.fixture
def images():
    return 0.1 + torch.rand(200, 2, 5, 4, generator=torch.Generator().manual_seed(0))


def moved(image, down, right, fill):
    """The image moved by hand, pixel by pixel."""
    out = torch.full_like(image, fill)
    _, height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                out[:, i, j] = image[:, i - down, j - right]
    return out


@pytest.mark.parametrize(("most", "fill"), [(1, 0.0), (2, 0.5)])
def test_each_image_is_moved_by_whole_pixels(images, most, fill):
    found = shift(images, Noise(1), most, fill)
    steps = range(-most, most + 1)
    counts = torch.zeros(2 * most + 1, 2 * most + 1)
    for image, row in zip(images, found, strict=True):
        hits = [(a, b) for a in steps for b in steps if torch.equal(moved(image, a, b, fill), row)]
        assert len(hits) == 1
        counts[hits[0][0] + most, hits[0][1] + most] += 1
    expected = 200 / counts.numel()
    assert ((counts - expected).abs() < 5 * expected**0.5).all()  # all moves are equally likely


def test_no_shift_is_the_identity(images):
    assert torch.equal(shift(images, Noise(1), 0), images)


def test_an_image_moves_the_same_whoever_is_beside_it(images):
    rows = torch.tensor([7, 130, 2])
    whole = shift(images, Noise(4).at(torch.arange(200)), 2)
    assert torch.equal(shift(images[rows], Noise(4).at(rows), 2), whole[rows])
    assert not torch.equal(shift(images, Noise(5).at(torch.arange(200)), 2), whole)


def test_what_is_no_image_is_refused():
    with pytest.raises(InputError, match=r"x has shape \(3, 4\); shifting needs images .*set shift=0"):
        shift(torch.zeros(3, 4), Noise(0), 1)
