import pytest
import torch

from saddlepoint import L1, L2, Bounds, Classifier, Keep, Linf, Noise
from saddlepoint.attacks import PGD
from saddlepoint.errors import SettingError
from saddlepoint.losses import margin
from saddlepoint.testing import LinearModel, contract

test_contract_linf = contract(PGD(ball=Linf(0.1), steps=5), within=1 - 1e-6)
test_contract_l1 = contract(PGD(ball=L1(1.0), steps=10))
test_contract_l2 = contract(PGD(ball=L2(0.4), steps=10), within=0.95)


def linear(rows=50, features=20):
    weight = Noise(1).normal(torch.empty(2, features, dtype=torch.float64))
    weight[:, -1] = 1.0
    module = LinearModel(weight, -weight.sum(1) / 2)
    x = (Noise(2).uniform(torch.empty(rows, features, dtype=torch.float64)) * 1.4 - 0.2).clamp(0, 1)
    return Classifier(module), x, module(x).argmax(1)


@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize("ball", [Linf(0.05), Linf(0.9), L2(0.1), L2(0.7), L2(2.0)], ids=str)
@pytest.mark.usefixtures("unchecked")
def test_many_steps_reach_the_analytic_optimum_over_ball_and_box(ball, random_start):
    model, x, y = linear()
    attack = PGD(ball=ball, steps=80, step_size=2 * ball.eps, random_start=random_start, loss=margin)
    result = attack(model, x, y)
    best = model.module.optimum(x, y, ball)
    torch.testing.assert_close(result.loss, best.margin, rtol=0, atol=1e-6)
    assert (ball.distance(result.x, x) <= ball.eps + 1e-9).all()


@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize("eps", [0.02, 0.3, 20.0])
def test_l1_steps_reach_the_analytic_optimum_where_one_feature_takes_all_or_all_are_full(eps, random_start):
    model, x, y = linear()
    x = x.clamp(0.31, 0.69) if eps < 1 else x
    ball = L1(eps, share=0.0)  # the steepest step: one feature
    attack = PGD(ball=ball, steps=80, step_size=2 * eps, random_start=random_start, loss=margin)
    result = attack(model, x, y)
    torch.testing.assert_close(result.loss, model.module.optimum(x, y, ball).margin, rtol=0, atol=1e-6)
    assert (ball.distance(result.x, x) <= eps + 1e-9).all()


@pytest.mark.parametrize("eps", [2.0, 7.0])
def test_l1_steps_come_as_near_to_the_analytic_optimum_as_they_are_short(eps):
    """Between the two, the projection takes from full features as from others: a step short of the optimum remains."""
    model, x, y = linear()
    slope = (model.module.weight[1] - model.module.weight[0]).abs().max().item()
    ball, gaps = L1(eps, share=0.0), []
    for part in (10, 100):
        result = PGD(ball=ball, steps=3 * part, step_size=eps / part, random_start=False, loss=margin)(model, x, y)
        gap = model.module.optimum(x, y, ball).margin - result.loss
        assert (gap > -1e-9).all()
        assert gap.max() <= slope * eps / part
        gaps.append(gap.mean())
    assert gaps[1] < gaps[0] / 5
    assert (ball.distance(result.x, x) <= eps + 1e-9).all()


def test_default_step_is_two_and_a_half_radii_over_the_steps():
    model, x, y = linear()
    x = x.clamp(0.3, 0.7)
    for ball in (Linf(0.2), L2(0.4)):
        short = PGD(ball=ball, steps=10, random_start=False, keep=Keep.LAST)
        one = PGD(ball=ball, steps=1, step_size=0.25 * ball.eps, random_start=False, keep=Keep.LAST)
        assert torch.equal(
            PGD(ball=ball, steps=10, step_size=0.25 * ball.eps, random_start=False)(model, x, y).x,
            PGD(ball=ball, steps=10, random_start=False)(model, x, y).x,
        )
        torch.testing.assert_close(ball.distance(one(model, x, y).x, x), torch.full((50,), 0.25 * ball.eps).double())
        assert (ball.distance(short(model, x, y).x, x) <= ball.eps + 1e-9).all()


def test_random_start_is_in_the_ball_and_comes_from_the_seed():
    model, x, y = linear()
    attack = PGD(ball=Linf(0.2), steps=0)
    start = attack(model, x, y, noise=Noise(1)).x
    assert torch.equal(start, Linf(0.2).random_start(x, Bounds(), Noise(1).child("start")))
    assert not torch.equal(start, attack(model, x, y, noise=Noise(2)).x)
    assert torch.equal(PGD(ball=Linf(0.2), steps=0, random_start=False)(model, x, y).x, x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps=-1 must be an integer >= 0"),
        ({"steps": 2.0}, "steps=2.0"),
        ({"steps": True}, "steps=True"),
        ({"step_size": -0.1}, r"step_size=-0.1 must be finite and >= 0, in input units \(2/255, not 2\)"),
        ({"step_size": float("inf")}, "step_size=inf"),
        ({"step_size": float("nan")}, "step_size=nan"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        PGD(ball=Linf(0.1), **settings)
