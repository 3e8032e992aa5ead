"""The closed forms against brute force and against scipy's optimisers, which share nothing with them."""

import numpy as np
import pytest
import torch
from scipy import optimize

from saddlepoint import L1, L2, Bounds, Linf, Noise
from saddlepoint.balls import Ball
from saddlepoint.errors import SettingError
from saddlepoint.testing import LinearModel

BOUNDS = Bounds(-0.5, 2.0)


def problem(classes, features=6, rows=8):
    weight = Noise(1).normal(torch.empty(classes, features, dtype=torch.float64))
    weight[:, -1] = 1.0  # of no use to any attack
    model = LinearModel(weight, Noise(2).normal(torch.empty(classes, 1, dtype=torch.float64)).flatten())
    x0 = (2.5 * (Noise(3).uniform(torch.empty(rows, features, dtype=torch.float64)) * 1.4 - 0.2)).clamp(0, 2.5) - 0.5
    return model, x0, model(x0).argmax(1)


def margin(model, x, y):
    logits = model(x).detach()
    own = logits.gather(1, y[:, None])[:, 0]
    return logits.scatter(1, y[:, None], -torch.inf).amax(1) - own


def maximise(slope, x0, eps, norm):
    """Linf and L1: a linear program; L2: SLSQP, in float64."""
    if norm == "l1":  # over the parts up and down of every change
        rooms = [(0, room) for room in (*(BOUNDS.upper - x0), *(x0 - BOUNDS.lower))]
        gain = np.concatenate([slope, -slope])
        return slope @ x0 - optimize.linprog(-gain, A_ub=np.ones((1, len(gain))), b_ub=[eps], bounds=rooms).fun
    if norm == "linf":
        bounds = [(max(v - eps, BOUNDS.lower), min(v + eps, BOUNDS.upper)) for v in x0]
        return -optimize.linprog(-slope, bounds=bounds).fun
    inside = {"type": "ineq", "fun": lambda x: eps**2 - ((x - x0) ** 2).sum(), "jac": lambda x: -2 * (x - x0)}
    found = optimize.minimize(
        lambda x: -slope @ x,
        x0,
        jac=lambda x: -slope,
        bounds=[(BOUNDS.lower, BOUNDS.upper)] * len(x0),
        constraints=[inside],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    return -found.fun


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "ball", [Linf(0.3), Linf(2.5), L2(0.4), L2(1.5), L2(6.0), L1(0.7), L1(2.5), L1(15.0)], ids=repr
)
def test_optimum_is_that_of_an_independent_optimiser(classes, ball):
    model, x0, y = problem(classes)
    best = model.optimum(x0, y, ball, BOUNDS)
    assert ((best.x >= BOUNDS.lower) & (best.x <= BOUNDS.upper)).all()
    assert (ball.distance(best.x, x0) <= ball.eps + 1e-12).all()
    torch.testing.assert_close(margin(model, best.x, y), best.margin, rtol=0, atol=1e-12)
    weight, bias = model.weight.detach().numpy(), model.bias.detach().numpy()
    for i, label in enumerate(y.tolist()):
        values = [
            maximise(weight[j] - weight[label], x0[i].numpy(), ball.eps, ball.norm) + bias[j] - bias[label]
            for j in range(classes)
            if j != label
        ]
        np.testing.assert_allclose(best.margin[i].item(), max(values), atol=2e-6)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("ball", [Linf, L2, L1])
def test_minimal_distance_is_where_the_largest_margin_crosses_zero(classes, ball: type[Ball]):
    model, x0, y = problem(classes, rows=40)
    least = model.minimal_distance(x0, y, ball, BOUNDS)
    reachable = least.isfinite()
    assert reachable.any()
    at = model.optimum(x0[reachable], y[reachable], ball(least[reachable]), BOUNDS).margin
    torch.testing.assert_close(at, torch.zeros_like(at), rtol=0, atol=1e-9)
    assert (model.optimum(x0, y, ball(100.0), BOUNDS).margin[~reachable] < 0).all()
    wrong = (y + 1) % classes
    already = margin(model, x0, wrong) > 0
    assert already.any()
    assert (model.minimal_distance(x0, wrong, ball, BOUNDS)[already] == 0).all()


def test_unreachable_boundary_is_infinitely_far():
    model = LinearModel(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([0.0, -5.0]))
    x0, y = torch.rand(3, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(3, dtype=torch.int64)
    for ball in (Linf, L2, L1):
        assert model.minimal_distance(x0, y, ball).isinf().all()


def test_one_eps_per_row_and_images():
    model, x0, y = problem(2)
    eps = torch.linspace(0, 1, len(x0), dtype=torch.float64)
    for ball in (Linf, L2, L1):
        mixed = model.optimum(x0.view(-1, 1, 2, 3), y, ball(eps), BOUNDS)
        assert mixed.x.shape == (8, 1, 2, 3)
        for i in range(len(x0)):
            alone = model.optimum(x0[i : i + 1], y[i : i + 1], ball(float(eps[i])), BOUNDS)
            torch.testing.assert_close(mixed.margin[i], alone.margin[0])
        assert torch.equal(mixed.x[0].flatten(), x0[0])


def test_other_norms_are_refused():
    class L3(Ball):
        norm = "l3"
        widest = distance = project = random_start = steepest_step = None

    model, x0, y = problem(2)
    with pytest.raises(SettingError, match="'linf', 'l2' or 'l1'"):
        model.optimum(x0, y, L3(0.5), BOUNDS)
    with pytest.raises(SettingError, match="'linf', 'l2' or 'l1'"):
        model.minimal_distance(x0, y, L3, BOUNDS)
