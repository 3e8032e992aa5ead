import math

import pytest
import torch

from saddlepoint import L2, Classifier, Linf
from saddlepoint.attacks import PGD
from saddlepoint.balls import Bounds, Perceptual
from saddlepoint.colour import difference, lab
from saddlepoint.errors import InputError, RadiusError, SettingError


def images(rows=5, side=4, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    return torch.rand(2, rows, 3, side, side, generator=draw, dtype=dtype)


def test_the_distance_is_the_length_of_the_map_of_differences():
    x, x0 = images()
    wanted = difference(lab(x0), lab(x)).flatten(1).norm(dim=1)
    torch.testing.assert_close(Perceptual(math.inf).distance(x, x0), wanted)


def test_black_and_white_are_100_apart_at_every_pixel():
    black, white = torch.zeros(1, 3, 5, 5), torch.ones(1, 3, 5, 5)
    torch.testing.assert_close(Perceptual(1.0).distance(white, black), torch.tensor([500.0]), rtol=1e-4, atol=0)


def test_the_distance_of_a_point_from_itself_is_exactly_zero():
    x = torch.cat([images(dtype=torch.float32)[0], torch.full((1, 3, 4, 4), 0.3), torch.zeros(1, 3, 4, 4)])
    assert (Perceptual(1.0).distance(x, x) == 0).all()


def test_other_bounds_are_scaled():
    x, x0 = images()
    ball = Perceptual(math.inf).fitted(x0, Bounds(-2.0, 3.0))
    torch.testing.assert_close(ball.distance(5 * x - 2, 5 * x0 - 2), Perceptual(1.0).distance(x, x0))


def test_rows_at_once_change_nothing():
    x, x0 = images(rows=3, side=130)
    each = torch.cat([Perceptual(1.0).distance(x[i : i + 1], x0[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(Perceptual(1.0).distance(x, x0), each)
    assert Perceptual(1.0).distance(x[:0], x0[:0]).shape == (0,)


def test_no_two_colours_of_srgb_are_farther_apart_than_the_widest():
    corner = torch.cartesian_prod(*[torch.linspace(0, 1, 9)] * 3)
    pairs = difference(
        lab(corner)[:, None].expand(-1, len(corner), -1).reshape(-1, 3), lab(corner).repeat(len(corner), 1)
    )
    assert 110 < pairs.max() < Perceptual(1.0).widest(Bounds(), 3)


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 12), (2, 3, 4), (2, 4, 4, 3)])
def test_anything_but_rgb_images_is_refused(shape):
    with pytest.raises(InputError, match=r"x has shape \(2, .*RGB images \(n, 3, height, width\): repeat the channel"):
        Perceptual(math.inf).fitted(torch.zeros(shape), Bounds())


def test_a_radius_beyond_the_widest_and_one_below_zero_are_refused():
    with pytest.raises(RadiusError, match="the largest ciede2000 distance in the box"):
        Perceptual(1000.0).check(torch.zeros(1, 3, 2, 2), Bounds())
    with pytest.raises(RadiusError, match=">= 0"):
        Perceptual(-1.0)


def test_attacks_that_project_say_what_to_give():
    x = images(dtype=torch.float32)[0]
    model = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)))
    with pytest.raises(
        SettingError, match=r"has no random start; give it to .* perc-al or perc-cw, or give this attack"
    ):
        PGD(ball=Perceptual(5.0))(model, x, None)
    with pytest.raises(SettingError, match="no projection"):
        PGD(ball=Perceptual(5.0), random_start=False).ball.project(x, x, Bounds())
    with pytest.raises(SettingError, match="no steepest step"):
        Perceptual(5.0).steepest_step(x)


def test_other_balls_fit_any_input_as_they_are():
    for ball in (Linf(0.1), L2(0.1)):
        assert ball.fitted(torch.zeros(2, 7), Bounds()) is ball
