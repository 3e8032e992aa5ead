"""Bilateral: OpenCV's, also without it."""

import math

import numpy as np
import pytest
import torch

import saddlepoint as sp
from saddlepoint.defenses.transforms import Bilateral
from saddlepoint.errors import SettingError


@pytest.fixture(scope="module")
def patches():
    return sp.load_data("photopatch10:test")[::50].x


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("diameter", [3, 5, 9])
@pytest.mark.parametrize("gradient", [False, True])
def test_on_8_bits_it_is_opencv_up_to_rounding(patches, channels, diameter, gradient):
    cv2 = pytest.importorskip("cv2")
    pixels = (patches[:, :channels] * 255).round()
    ours = Bilateral(diameter, 0.1, 1.5, bounds=(0, 255))(pixels.clone().requires_grad_(gradient)).detach()
    images = np.ascontiguousarray(pixels.movedim(1, -1).numpy().squeeze())
    # of 8 bits OpenCV rounds grey images down for some diameters
    for dtype, within in {np.uint8: 1.001, np.float32: 1e-3}.items():
        theirs = np.stack([cv2.bilateralFilter(image, diameter, 25.5, 1.5) for image in images.astype(dtype)])
        expected = torch.from_numpy(theirs.astype(np.float32)).view(len(pixels), 32, 32, channels).movedim(-1, 1)
        assert (ours - expected).abs().max() < within


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_it_is_the_sum_over_the_disc(channels):
    x = torch.rand(2, channels, 6, 7, dtype=torch.float64)
    reflected = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    top, bottom = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    for i, j in [(i, j) for i in range(-2, 3) for j in range(-2, 3) if i * i + j * j <= 4]:
        other = reflected[:, :, 2 + i : 8 + i, 2 + j : 9 + j]
        colour = (other - x).abs().sum(1, keepdim=True).square() / (2 * 0.3**2)
        weight = math.exp(-(i * i + j * j) / (2 * 1.2**2)) * torch.exp(-colour)
        top, bottom = top + weight * other, bottom + weight
    assert torch.allclose(Bilateral(5, 0.3, 1.2)(x), top / bottom, atol=1e-13, rtol=0)


def test_with_and_without_a_gradient_it_is_the_same(patches):
    for x in (patches, patches[:, :1]):
        with_gradient = Bilateral()(x.clone().requires_grad_()).detach()
        assert torch.allclose(Bilateral()(x), with_gradient, atol=1e-6, rtol=0)


def test_a_disc_of_one_pixel_changes_nothing(patches):
    assert torch.equal(Bilateral(1)(patches), patches)


@pytest.mark.parametrize("given", [(4,), (0,), (5, 0.0), (5, 0.1, -1)])
def test_settings_out_of_their_range_are_refused(given):
    with pytest.raises(SettingError, match="must be"):
        Bilateral(*given)
