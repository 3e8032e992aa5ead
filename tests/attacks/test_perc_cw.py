import math

import pytest
import torch

from saddlepoint import L2, Classifier, Noise
from saddlepoint.attacks import DDN, PerCCW
from saddlepoint.balls import Perceptual
from saddlepoint.errors import SettingError
from saddlepoint.losses import cross_entropy, margin
from saddlepoint.testing import ConstantModel, LinearModel, contract

test_contract = contract(PerCCW(steps=6, search_steps=3, step_size=0.3), ranks=(4,))


def linear(shape=(3, 4, 4), rows=6, seed=1):
    """A linear model of two classes, and 8-bit RGB images near its boundary."""
    weight = Noise(seed).normal(torch.empty(2, math.prod(shape), dtype=torch.float64))
    module = LinearModel(weight, -weight.sum(1) / 2)
    x = Noise(seed + 1).uniform(torch.empty(rows, *shape, dtype=torch.float64)) * 0.4 + 0.3
    x = (x * 255).round() / 255
    return Classifier(module), x, module(x).argmax(1)


def test_colours_change_less_than_under_an_attack_in_l2_which_changes_values_less():
    model, x, y = linear()
    ours = PerCCW(steps=150, search_steps=4, step_size=0.03)(model, x, y)
    theirs = DDN(steps=300, levels=256)(model, x, y)
    assert ours.success.all()
    assert (ours.distance < Perceptual(math.inf).distance(theirs.x, x)).all()
    assert (L2(1.0).distance(ours.x, x) > theirs.distance).all()


def test_of_one_pixel_the_nearest_colour_is_found():
    model, x, y = linear(shape=(3, 1, 1), rows=4, seed=5)
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 64, dtype=torch.float64)] * 3)[..., None, None]
    other = model.module(grid).argmax(1)
    far = [Perceptual(1.0).distance(grid, p[None].expand_as(grid))[other != k].min() for p, k in zip(x, y, strict=True)]
    result = PerCCW(steps=200, search_steps=5)(model, x, y)
    assert result.success.all()
    assert (result.distance <= 1.1 * torch.stack(far)).all()


def test_targets_confidence_and_8_bits():
    model, x, y = linear()
    result = PerCCW(steps=100, search_steps=3, confidence=0.5)(model, x, y, target=1 - y)
    assert result.success.all()
    assert (margin(model.module(result.x), y, 1 - y) >= 0.5).all()
    torch.testing.assert_close(result.x * 255, (result.x * 255).round(), rtol=0, atol=1e-9)


def test_the_constant_rises_until_a_row_is_fooled():
    model, x, y = linear()
    attack = {"steps": 60, "step_size": 0.003, "const": 1e-3}
    assert not PerCCW(**attack, search_steps=1)(model, x, y).success.any()
    assert PerCCW(**attack, search_steps=8)(model, x, y).success.all()


def test_a_constant_model_ends_as_soon_as_its_loss_stalls():
    x, y = torch.full((2, 3, 4, 4), 0.5), torch.ones(2, dtype=torch.int64)
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0])))
    result = PerCCW(steps=50, search_steps=3)(model, x, y)
    assert not result.success.any()
    assert torch.equal(result.x, x)
    assert (result.forwards == 3 * 10).all()  # two tenths of the steps at each constant


def test_what_it_does_not_take():
    with pytest.raises(SettingError, match="give it Perceptual"):
        PerCCW(ball=L2(1.0))
    with pytest.raises(SettingError, match="search_steps=0 must be an integer >= 1"):
        PerCCW(search_steps=0)
    with pytest.raises(SettingError, match="loss must be saddlepoint.losses.margin"):
        PerCCW(loss=cross_entropy)
