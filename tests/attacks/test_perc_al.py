import math

import pytest
import torch
from torch import nn

from saddlepoint import L2, Classifier, Noise
from saddlepoint.attacks import DDN, PerCAL
from saddlepoint.attacks._colour import squared_weight
from saddlepoint.balls import Bounds, Perceptual
from saddlepoint.errors import InputError, SettingError
from saddlepoint.losses import margin
from saddlepoint.testing import ConstantModel, LinearModel, contract

test_contract = contract(PerCAL(steps=12), ranks=(4,))

DISTANCE = Perceptual(math.inf)


def linear(shape=(3, 4, 4), rows=6, seed=1):
    """A linear model of two classes, and 8-bit RGB images near its boundary."""
    weight = Noise(seed).normal(torch.empty(2, math.prod(shape), dtype=torch.float64))
    module = LinearModel(weight, -weight.sum(1) / 2)
    x = Noise(seed + 1).uniform(torch.empty(rows, *shape, dtype=torch.float64)) * 0.4 + 0.3
    x = (x * 255).round() / 255
    return Classifier(module), x, module(x).argmax(1)


def nearest_colour(model, x, y, levels=64):
    """Of one-pixel images: the least colour difference to a colour on the other side, by looking at all on a grid."""
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, levels, dtype=torch.float64)] * 3)[..., None, None]
    other = model.module(grid).argmax(1)
    return torch.stack(
        [DISTANCE.distance(grid, p[None].expand_as(grid))[other != k].min() for p, k in zip(x, y, strict=True)]
    )


def test_of_one_pixel_the_nearest_colour_is_found():
    model, x, y = linear(shape=(3, 1, 1), rows=8, seed=5)
    result = PerCAL(steps=400, step_size=0.1, colour_step=0.1)(model, x, y)
    assert result.success.all()
    assert (result.distance <= 1.1 * nearest_colour(model, x, y)).all()


def test_colours_change_less_than_under_an_attack_in_l2_which_changes_values_less():
    model, x, y = linear()
    ours = PerCAL(steps=300, step_size=0.1, colour_step=0.1)(model, x, y)
    theirs = DDN(steps=300, levels=256)(model, x, y)
    assert ours.success.all()
    assert theirs.success.all()
    assert (ours.distance < DISTANCE.distance(theirs.x, x)).all()
    assert (L2(1.0).distance(ours.x, x) > theirs.distance).all()


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_points_are_8_bit_images_that_fool_by_the_confidence(bounds):
    _, x, _ = linear()
    low, width = bounds[0], bounds[1] - bounds[0]
    moved = low + width * x
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(48, 3, dtype=torch.float64)), bounds=bounds)
    with torch.no_grad():
        model.module[1].weight.copy_(Noise(9).normal(model.module[1].weight))
    y = model.predict(moved)
    target = (y + 1) % 3
    result = PerCAL(steps=100, confidence=0.5)(model, moved, y, target=target)
    assert result.success.all()
    level = (result.x - low) / width * 255
    torch.testing.assert_close(level, level.round(), rtol=0, atol=1e-9)
    assert (margin(model.module(result.x), y, target) >= 0.5).all()
    share = Perceptual(math.inf, Bounds(*bounds)).distance(result.x, moved)
    torch.testing.assert_close(result.distance, share)


def test_a_finite_eps_bounds_what_is_returned():
    model, x, y = linear()
    free = PerCAL(steps=100)(model, x, y)
    some = float(free.distance.median())
    bounded = PerCAL(ball=Perceptual(some), steps=100)(model, x, y)
    assert torch.equal(bounded.success, free.distance <= some)
    assert torch.equal(bounded.x[bounded.success], free.x[bounded.success])
    assert (bounded.distance <= some).all()


def test_a_row_that_is_wrong_as_it_is_stays_at_distance_zero_though_it_is_no_8_bit_image():
    model, x, y = linear()
    x = x + 0.0005
    result = PerCAL(steps=20)(model, x, 1 - y)
    assert torch.equal(result.x, x)
    assert (result.distance == 0).all()
    assert (result.forwards == 1).all()


def test_a_row_without_gradient_stops_and_grey_images_have_finite_steps():
    x, y = torch.full((2, 3, 4, 4), 0.5), torch.ones(2, dtype=torch.int64)
    result = PerCAL(steps=50)(Classifier(ConstantModel(torch.tensor([0.0, 1.0]))), x, y)
    assert not result.success.any()
    assert (result.forwards <= 2).all()
    model, _, _ = linear()
    grey = torch.full((3, 3, 4, 4), 128 / 255, dtype=torch.float64)
    result = PerCAL(steps=60)(model, grey, model.predict(grey))
    assert result.success.all()
    assert result.x.isfinite().all()


def test_texture_moves_the_change_to_where_the_image_is_rough():
    model, x, y = linear(shape=(3, 8, 8), rows=4)
    x[..., :4] = 0.5
    x = (x * 255).round() / 255
    y = model.predict(x)
    plain, textured = (PerCAL(steps=200, texture=texture)(model, x, y).x for texture in (False, True))
    smooth = [(point - x)[..., :3].square().sum() / (point - x).square().sum() for point in (plain, textured)]
    assert smooth[1] < 0.7 * smooth[0]


def test_weights_have_mean_one_and_those_of_a_flat_image_are_equal():
    x = Noise(3).uniform(torch.empty(2, 3, 6, 6, dtype=torch.float64))
    x[1] = 0.4
    weight = squared_weight(x, Bounds()).sqrt()
    torch.testing.assert_close(weight.mean((1, 2)), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(weight[1], torch.ones(6, 6, dtype=torch.float64))
    centre = x[0, :, 1:4, 2:5].flatten(1).std(1, unbiased=False).mean()
    corner = x[0, :, 3:6, 3:6].flatten(1).std(1, unbiased=False).mean()
    torch.testing.assert_close(weight[0, 2, 3] / weight[0, 4, 4], (corner + 0.01) / (centre + 0.01))


def test_what_it_does_not_take():
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    with pytest.raises(InputError, match=r"x has shape \(2, 1, 4, 4\)"):
        PerCAL()(model, torch.zeros(2, 1, 4, 4), None)
    with pytest.raises(SettingError, match="give it Perceptual"):
        PerCAL(ball=L2(1.0))
    with pytest.raises(SettingError, match="levels=1 must be an integer >= 2, or None"):
        PerCAL(levels=1)
    with pytest.raises(SettingError, match="colour_step=-1 must be finite and >= 0"):
        PerCAL(colour_step=-1)
