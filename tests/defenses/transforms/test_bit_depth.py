"""Bit depth: levels, halves, and the two ways to get there."""

import pytest
import torch

from saddlepoint.defenses.transforms import BitDepth
from saddlepoint.errors import SettingError

GRID = torch.arange(256)[None] / 255


def test_one_bit_maps_a_half_to_nothing():
    assert BitDepth(1)(torch.tensor([[0.0, 0.49, 0.5, 0.51, 1.0]])).tolist() == [[0, 0, 0, 1, 1]]


@pytest.mark.parametrize("depth", range(1, 9))
def test_round_goes_to_the_nearest_of_its_levels(depth):
    levels = torch.arange(2**depth) / (2**depth - 1)
    x = torch.rand(1, 1000)
    nearest = levels[(x[..., None] - levels).abs().argmin(-1)]
    assert torch.equal(BitDepth(depth)(x), nearest)
    assert torch.equal(BitDepth(depth)(levels[None]), levels[None])


@pytest.mark.parametrize("depth", range(1, 9))
def test_truncate_keeps_the_upper_bits(depth):
    expected = (torch.arange(256) >> (8 - depth) << (8 - depth))[None] / 255
    assert torch.equal(BitDepth(depth, "truncate")(GRID), expected)
    assert torch.equal(BitDepth(depth, "truncate")(GRID + 0.4 / 255), expected)  # rounded to 8 bits


@pytest.mark.parametrize("mode", ["round", "truncate"])
@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1), (-0.4, 2.7)])
def test_a_second_time_changes_nothing(mode, bounds):
    squeeze = BitDepth(3, mode, bounds=bounds)
    once = squeeze(bounds[0] + (bounds[1] - bounds[0]) * torch.rand(4, 3, 5))
    assert torch.allclose(squeeze(once), once, atol=1e-6, rtol=0)
    assert len(once.unique()) <= 8


@pytest.mark.parametrize("given", [(0,), (9,), (1.0,), (True,), (2, "floor")])
def test_what_is_no_depth_or_mode_is_refused(given, unchecked):
    with pytest.raises(SettingError, match="must be"):
        BitDepth(*given)
