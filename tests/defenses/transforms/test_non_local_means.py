"""Non-local means: OpenCV's, with red and blue where it expects them."""

import numpy as np
import pytest
import torch

import saddlepoint as sp
from saddlepoint.defenses.transforms import NonLocalMeans
from saddlepoint.errors import SettingError

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def patches():
    return sp.load_data("photopatch10:test")[::100].x


def test_on_8_bits_it_is_opencv(patches):
    pixels = (patches * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    denoised = [
        cv2.cvtColor(
            cv2.fastNlMeansDenoisingColored(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), None, 5.1, 5.1, 3, 11),
            cv2.COLOR_BGR2RGB,
        )
        for image in pixels
    ]
    expected = torch.from_numpy(np.stack(denoised)).movedim(-1, 1).float() / 255
    assert torch.equal(NonLocalMeans(11, 3, 0.02)(patches), expected)
    grey = np.stack([cv2.fastNlMeansDenoising(image[..., 0].copy(), None, 5.1, 3, 11) for image in pixels])
    assert torch.equal(NonLocalMeans(11, 3, 0.02)(patches[:, :1]), torch.from_numpy(grey).unsqueeze(1).float() / 255)


def test_grey_is_a_fixed_point_and_a_colour_nearly(patches):
    levels = (torch.arange(0, 256, 5) / 255).view(-1, 1, 1, 1)
    x = levels.expand(-1, 1, 12, 12)
    assert torch.equal(NonLocalMeans()(x), x)
    colour = torch.rand(50, 3, 1, 1).mul(255).round().div(255).expand(-1, -1, 12, 12)
    out = NonLocalMeans()(colour)
    assert torch.equal(out, out[..., :1, :1].expand_as(out))
    assert (out - colour).abs().max() * 255 < 3.5


@pytest.mark.parametrize("given", [{"search": 10}, {"block": 2}, {"search": 0}, {"h": 0.0}])
def test_settings_out_of_their_range_are_refused(given):
    with pytest.raises(SettingError, match="must be"):
        NonLocalMeans(**given)
