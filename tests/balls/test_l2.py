"""The L2 ball, its projection against a bisection in float64 and against scipy's SLSQP."""

import pytest
import torch
from scipy import optimize, stats

from saddlepoint import L2, Bounds, Noise
from saddlepoint.testing import ball_contract

test_axioms = ball_contract(L2)


def bisected(x, x0, eps, bounds):
    """The nearest point of ball and box: x0 + clip(v / (1 + t), box - x0) with the t >= 0 that meets the radius."""
    x, x0 = x.double(), x0.double()
    low, high = torch.zeros(len(x), 1, dtype=torch.float64), torch.full((len(x), 1), 1e15, dtype=torch.float64)

    def at(t):
        return torch.minimum(torch.maximum((x - x0) / (1 + t), bounds.lower - x0), bounds.upper - x0)

    far = at(low).norm(dim=1, keepdim=True) > eps
    for _ in range(120):
        middle = torch.where(high > 2 * (1 + low), (1 + low).mul(1 + high).sqrt() - 1, (low + high) / 2)
        over = at(middle).norm(dim=1, keepdim=True) > eps
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return x0 + torch.where(far, at(high), at(torch.zeros_like(low)))


def points(rows, features, spread, bounds):
    like = torch.empty(rows, features, dtype=torch.float64)
    x0 = bounds.lower + bounds.width * (Noise(1).uniform(like) * 1.6 - 0.3).clamp(0, 1)
    return x0, x0 + spread * Noise(2).normal(like)


@pytest.mark.parametrize("features", [1, 7, 100])
@pytest.mark.parametrize("spread", [1e-3, 0.3, 10.0, 1e6])
@pytest.mark.parametrize("eps", [1e-6, 0.3, 2.0])
def test_projection_equals_bisection(features, spread, eps):
    bounds = Bounds(-0.5, 1.5)
    x0, x = (v.float() for v in points(60, features, spread, bounds))
    wanted = bisected(x, x0, eps, bounds)
    torch.testing.assert_close(L2(eps).project(x.double(), x0.double(), bounds), wanted, rtol=0, atol=1e-9)
    torch.testing.assert_close(L2(eps).project(x, x0, bounds).double(), wanted, rtol=0, atol=3e-6)


@pytest.mark.parametrize("eps", [0.2, 1.0])
def test_projection_equals_slsqp(eps):
    x0, x = points(10, 5, 1.0, Bounds())
    found = L2(eps).project(x, x0, Bounds())
    for start, goal, projected in zip(x0.numpy(), x.numpy(), found.numpy(), strict=True):
        inside = {
            "type": "ineq",
            "fun": lambda v, s=start: eps**2 - ((v - s) ** 2).sum(),
            "jac": lambda v, s=start: -2 * (v - s),
        }
        best = optimize.minimize(
            lambda v, g=goal: ((v - g) ** 2).sum(),
            start,
            jac=lambda v, g=goal: 2 * (v - g),
            bounds=[(0, 1)] * 5,
            constraints=[inside],
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 300},
        )
        torch.testing.assert_close(torch.tensor(projected), torch.tensor(best.x), rtol=0, atol=1e-5)


def test_corner_where_the_box_stops_almost_everything():
    x0 = torch.zeros(1, 50)
    x = torch.full((1, 50), -5.0)
    x[0, 7] = 1e-3
    moved = L2(0.5).project(x, x0, Bounds())
    assert moved[0, 7] == x[0, 7]
    assert (moved[0, :7] == 0).all()


def test_start_is_uniform_in_the_ball():
    x0 = torch.full((3000, 4), 0.5, dtype=torch.float64)
    delta = L2(0.4).random_start(x0, Bounds(), Noise(0)) - 0.5
    radius = delta.norm(dim=1) / 0.4
    assert stats.kstest((radius**4).numpy(), "uniform").pvalue > 1e-3
    direction = delta / delta.norm(dim=1, keepdim=True)
    torch.testing.assert_close(direction.mean(0), torch.zeros(4, dtype=torch.float64), rtol=0, atol=0.05)
    torch.testing.assert_close(direction.T @ direction / 3000, torch.eye(4).double() / 4, rtol=0, atol=0.03)


def test_step_is_the_unit_gradient():
    torch.testing.assert_close(L2(1.0).steepest_step(torch.tensor([[3.0, -4.0]])), torch.tensor([[0.6, -0.8]]))


def test_scalar_eps_is_not_rounded_to_single_precision():
    x0, x = torch.zeros(1, 4, dtype=torch.float64), torch.full((1, 4), 0.9, dtype=torch.float64)
    found = L2(1 / 3).project(x, x0, Bounds()).norm().item()
    assert abs(found - 1 / 3) < 1e-15


def test_rows_without_features():
    x = torch.zeros(3, 0)
    assert L2(0.1).distance(x, x).tolist() == [0, 0, 0]
    assert L2(0.1).project(x, x, Bounds()).shape == (3, 0)
    assert L2(0.1).random_start(x, Bounds(), Noise(0)).shape == (3, 0)
