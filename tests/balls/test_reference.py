"""Projections on ball and box against a reference solver, on 10,000 random cases for each norm.

The reference shares nothing with the balls: bisection on the multiplier of the radius, in numpy and float64. It is
itself held against scipy's SLSQP, which knows nothing of multipliers.
"""

import numpy as np
import pytest
import torch
from scipy import optimize

from saddlepoint import L1, L2, Bounds, Linf

BALLS = {"linf": Linf, "l2": L2, "l1": L1}
FEATURES = (1, 2, 7, 30, 200)
BOUNDS = (Bounds(0.0, 1.0), Bounds(-0.5, 1.5), Bounds(-3.0, -1.0))
CASES, HALVINGS = 1000, 200  # cases for each number of features and precision: 10,000 for each norm


def lengths(delta, norm):
    return np.linalg.norm(delta, {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1)[:, None]


def reference(x, x0, eps, bounds, norm):
    """The point of ball and box that is nearest to x (n, d); eps (n,)."""
    delta, low, high, eps = x - x0, bounds.lower - x0, bounds.upper - x0, eps[:, None]
    if norm == "linf":
        return x0 + np.clip(delta, np.maximum(low, -eps), np.minimum(high, eps))

    def at(t):
        """Where the Lagrangian with that multiplier is least; in L2 the multiplier can be huge: t is its logarithm."""
        moved = delta * np.exp(-t) if norm == "l2" else np.sign(delta) * np.maximum(np.abs(delta) - t, 0)
        return np.clip(moved, low, high)

    below, above = np.zeros((len(x), 1)), 1 + np.abs(delta).max(1, keepdims=True)
    if norm == "l2":
        above = np.full_like(above, 500.0)
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        far = lengths(at(middle), norm) > eps
        below, above = np.where(far, middle, below), np.where(far, above, middle)
    inside = lengths(at(np.zeros_like(above)), norm) <= eps
    return x0 + np.where(inside, at(np.zeros_like(above)), at(above))


def cases(features, dtype, count=CASES, seed=0):
    """Points from near to far, centers with many features on faces of the box, radii from 0 to far beyond the box."""
    draw = np.random.default_rng((seed, features))
    bounds = BOUNDS[features % len(BOUNDS)]
    x0 = bounds.lower + bounds.width * draw.uniform(-0.3, 1.3, (count, features)).clip(0, 1)
    x0[::20] = bounds.upper  # a corner
    x = x0 + 10.0 ** draw.uniform(-6, 4, (count, 1)) * draw.standard_normal((count, features))
    x[::3] = x0[::3] + (x - x0)[::3] * (draw.random(x[::3].shape) < 0.3)  # few features moved, at times none
    eps = 10.0 ** draw.uniform(-5, 2.5, count)
    eps[::10], eps[1::50] = 0.0, 1e6
    x, x0, eps = (torch.from_numpy(array).to(dtype) for array in (x, x0, eps))
    return x, x0.clamp(bounds.lower, bounds.upper), eps, bounds


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("norm", BALLS)
def test_projection_is_the_nearest_point_of_ball_and_box(norm, features, dtype):
    x, x0, eps, bounds = cases(features, dtype)
    ball = BALLS[norm](eps)
    found = ball.project(x, x0, bounds)
    wanted = reference(*(tensor.double().numpy() for tensor in (x, x0, eps)), bounds, norm)
    boxed = x.clamp(bounds.lower, bounds.upper)
    assert 0.2 < (ball.distance(boxed, x0) > eps).double().mean() < 0.9  # the radius stops some, the box alone others
    scale = np.maximum(1, np.abs((x - x0).double().numpy()).max(1, keepdims=True))
    error = np.abs(found.double().numpy() - wanted) / scale
    assert error.max() <= (1e-6 if dtype == torch.float32 else 1e-12)
    again = ball.project(found, x0, bounds)
    torch.testing.assert_close(again, found, rtol=0, atol=4 * torch.finfo(dtype).eps)  # but for the last bit
    assert bool(((found >= bounds.lower) & (found <= bounds.upper)).all())
    over = lengths((found.double() - x0.double()).numpy(), norm)[:, 0] - eps.double().numpy()
    assert (over / np.maximum(1, eps.double().numpy())).max() <= 1e-6
    assert torch.equal(found[eps == 0], x0[eps == 0])


@pytest.mark.parametrize("features", [3072, 100_000])
@pytest.mark.parametrize("norm", BALLS)
def test_rounding_of_many_features_does_not_add_up(norm, features):
    bounds, draw = Bounds(), torch.Generator().manual_seed(0)
    x0 = torch.rand(8, features, generator=draw)
    shifts = torch.logspace(-5, -1, 8)[:, None] * torch.randn(8, features, generator=draw)
    for eps in (0.01, 0.1, 1.0):
        found = BALLS[norm](eps).project(x0 + shifts, x0, bounds)
        assert lengths((found.double() - x0.double()).numpy(), norm).max() <= eps * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_reference_itself_is_what_a_general_solver_finds(norm):
    x, x0, eps, bounds = cases(7, torch.float64, count=400, seed=1)
    near = (lengths((x - x0).numpy(), norm)[:, 0] < 30) & (eps.numpy() > 0.02) & (eps.numpy() < 3)
    x, x0, eps = (tensor.numpy()[near][:50] for tensor in (x, x0, eps))
    assert len(x) == 50
    for point, start, radius, wanted in zip(x, x0, eps, reference(x, x0, eps, bounds, norm), strict=True):
        found = solved(point, start, radius, bounds, norm)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


def solved(x, x0, eps, bounds, norm):
    """By SLSQP; in L1 over the parts up and down of every change, which makes the constraints linear."""
    d = len(x)
    if norm == "l2":
        rule = {"type": "ineq", "fun": lambda v: eps**2 - (v**2).sum(), "jac": lambda v: -2 * v}
        box, parts = list(zip(bounds.lower - x0, bounds.upper - x0, strict=True)), np.eye(d)
    else:
        rule = {"type": "ineq", "fun": lambda v: eps - v.sum(), "jac": lambda v: -np.ones_like(v)}
        box = [(0, room) for room in (*(bounds.upper - x0), *(x0 - bounds.lower))]
        parts = np.hstack([np.eye(d), -np.eye(d)])
    gap = x - x0
    best = optimize.minimize(
        lambda v: ((parts @ v - gap) ** 2).sum(),
        np.zeros(len(box)),
        jac=lambda v: 2 * parts.T @ (parts @ v - gap),
        bounds=box,
        constraints=[rule],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    return x0 + parts @ best.x
