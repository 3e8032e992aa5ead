"""The L1 ball, its projection against a bisection in float64."""

import pytest
import torch
from scipy import stats

from saddlepoint import Bounds, Noise
from saddlepoint.balls import L1
from saddlepoint.errors import RadiusError
from saddlepoint.testing import ball_contract

test_axioms = ball_contract(L1)


def bisected(x, x0, eps, bounds):
    """The nearest point of ball and box: x0 + clip(sign(v) max(|v| - t, 0), box - x0), t >= 0 meeting the radius."""
    x, x0 = x.double(), x0.double()
    low = torch.zeros(len(x), 1, dtype=torch.float64)
    high = (x - x0).abs().amax(1, keepdim=True)

    def at(t):
        delta = (x - x0).sign() * ((x - x0).abs() - t).clamp_min(0)
        return torch.minimum(torch.maximum(delta, bounds.lower - x0), bounds.upper - x0)

    far = at(low).abs().sum(1, keepdim=True) > eps
    for _ in range(70):
        middle = (low + high) / 2
        over = at(middle).abs().sum(1, keepdim=True) > eps
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return x0 + torch.where(far, at(high), at(torch.zeros_like(low)))


@pytest.mark.parametrize("features", [1, 7, 100])
@pytest.mark.parametrize("spread", [1e-3, 0.3, 10.0, 1e4])
@pytest.mark.parametrize("eps", [1e-6, 0.3, 4.0])
def test_projection_equals_bisection(features, spread, eps):
    bounds = Bounds(-0.5, 1.5)
    like = torch.empty(60, features, dtype=torch.float64)
    x0 = bounds.lower + bounds.width * (Noise(1).uniform(like) * 1.6 - 0.3).clamp(0, 1)
    x = x0 + spread * Noise(2).normal(like)
    torch.testing.assert_close(L1(eps).project(x, x0, bounds), bisected(x, x0, eps, bounds), rtol=0, atol=1e-9)


def test_start_is_uniform_in_the_ball():
    x0 = torch.full((3000, 4), 0.5, dtype=torch.float64)
    delta = L1(0.4).random_start(x0, Bounds(), Noise(0)) - 0.5
    radius = delta.abs().sum(1) / 0.4
    assert stats.kstest((radius**4).numpy(), "uniform").pvalue > 1e-3
    torch.testing.assert_close((delta > 0).double().mean(0), torch.full((4,), 0.5).double(), rtol=0, atol=0.04)


def test_step_moves_the_stated_share_of_the_features():
    grad = torch.tensor([[1.0, -5.0, 3.0, 0.5], [0.0, 0.0, 0.0, 0.0]])
    assert L1(1.0, 0.5).steepest_step(grad).tolist() == [[0.0, -0.5, 0.5, 0.0], [0.0] * 4]
    assert L1(1.0).steepest_step(grad).tolist() == [[0.0, -1.0, 0.0, 0.0], [0.0] * 4]


def test_step_passes_over_features_that_the_box_stops():
    grad, x = torch.tensor([[1.0, -5.0, 3.0, 0.5]]), torch.tensor([[0.5, 0.0, 1.0, 0.5]])
    assert L1(1.0).steepest_step(grad, x, Bounds()).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_share_must_be_a_share():
    with pytest.raises(RadiusError, match="share"):
        L1(0.1, share=1.5)
