"""Gaussian noise: how much, and whose."""

import pytest
import torch

from saddlepoint.defenses.transforms import GaussianNoise
from saddlepoint.errors import SettingError
from saddlepoint.noise import Noise, drawing


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-2.0, 6.0)])
def test_it_has_the_mean_and_the_spread_of_sigma(bounds):
    middle, width = sum(bounds) / 2, bounds[1] - bounds[0]
    added = GaussianNoise(0.1, bounds=bounds)(torch.full((100, 1000), middle)) - middle
    assert abs(added.mean() / width) < 4 * 0.1 / 1e5**0.5
    assert added.std() / width == pytest.approx(0.1, rel=0.01)


def test_a_row_draws_the_same_whoever_is_beside_it():
    x, rows = torch.rand(4, 1, 5, 5), torch.tensor([7, 3, 9, 4])
    with drawing(Noise(1, rows)):
        whole = GaussianNoise(0.2)(x)
    with drawing(Noise(1, rows[[2, 0]])):
        part = GaussianNoise(0.2)(x[[2, 0]])
    assert torch.equal(part, whole[[2, 0]])


def test_every_pass_draws_anew():
    x, noise = torch.full((2, 50), 0.5), GaussianNoise(0.1)
    with drawing(Noise(1)):
        assert not torch.equal(noise(x), noise(x))


def test_without_sigma_nothing_happens():
    x = torch.rand(2, 50)
    assert torch.equal(GaussianNoise(0)(x), x)
    with pytest.raises(SettingError, match="sigma=-0.1 must be a finite number >= 0"):
        GaussianNoise(-0.1)


def test_the_gradient_is_that_of_what_was_not_clipped():
    x = torch.full((1, 1000), 0.05, requires_grad=True)
    out = GaussianNoise(0.1)(x)
    out.sum().backward()
    assert torch.equal(x.grad, ((out > 0) & (out < 1)).float())
    assert 0 < x.grad.mean() < 1
