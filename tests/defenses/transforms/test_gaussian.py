"""Gaussian: scipy's."""

import pytest
import torch
from scipy import ndimage

from saddlepoint.defenses.transforms import Gaussian
from saddlepoint.errors import InputError, SettingError


@pytest.mark.parametrize("sigma", [0.05, 0.7, 1.0, 1.3])
@pytest.mark.parametrize("truncate", [2.5, 4.0])
def test_it_is_scipys(sigma, truncate):
    x = torch.rand(3, 2, 12, 15, dtype=torch.float64)
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="reflect", truncate=truncate)
    assert torch.allclose(Gaussian(sigma, truncate=truncate)(x), torch.from_numpy(expected), atol=1e-14, rtol=0)


def test_its_window_must_fit():
    assert Gaussian(1.0)(torch.rand(1, 1, 9, 9)).shape == (1, 1, 9, 9)
    with pytest.raises(InputError, match="the window of gaussian has 9 x 9; make the window smaller"):
        Gaussian(1.0)(torch.rand(1, 1, 8, 9))


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), True])
def test_what_is_no_sigma_is_refused(sigma, unchecked):
    with pytest.raises(SettingError, match="must be a finite number > 0, in pixels"):
        Gaussian(sigma)
