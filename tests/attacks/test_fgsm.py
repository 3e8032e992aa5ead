import pytest
import torch

from saddlepoint import L2, Bounds, Classifier, Keep, Linf, Noise
from saddlepoint.attacks import BIM, FGSM, PGD
from saddlepoint.losses import margin
from saddlepoint.testing import LinearModel, contract

UNIT = Bounds()

test_contract_linf = contract(FGSM(ball=Linf(0.1)), within=1 - 1e-6)
test_contract_l2 = contract(FGSM(ball=L2(0.4)), within=0.75)


def linear(classes=2, features=20, bounds=UNIT, dtype=torch.float64, rows=50):
    """A linear model, and rows that touch the box here and there."""
    weight = Noise(1).normal(torch.empty(classes, features, dtype=dtype))
    weight[:, -1] = 1.0
    module = LinearModel(weight, -weight.sum(1) * (bounds.lower + bounds.upper) / 2)
    share = (Noise(2).uniform(torch.empty(rows, features, dtype=dtype)) * 1.4 - 0.2).clamp(0, 1)
    x = bounds.lower + bounds.width * share
    return Classifier(module, bounds=bounds), x, module(x).argmax(1)


@pytest.mark.parametrize("loss", [None, margin])
@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-2.0, 3.0)], ids=["unit", "wide"])
@pytest.mark.parametrize("eps", [0.01, 0.3, 0.9])
def test_one_step_is_the_analytic_optimum_over_ball_and_box(eps, bounds, loss):
    model, x, y = linear(bounds=bounds)
    attack = FGSM(ball=Linf(eps)) if loss is None else FGSM(ball=Linf(eps), loss=loss)
    result = attack(model, x, y)
    best = model.module.optimum(x, y, attack.ball, bounds)
    torch.testing.assert_close(margin(model.module(result.x), y).detach(), best.margin, rtol=0, atol=1e-6)
    torch.testing.assert_close(result.x[:, :-1], best.x[:, :-1], rtol=0, atol=1e-12)
    assert torch.equal(result.success, best.margin > 0)
    assert eps < 0.1 or result.success.any()


def test_optimum_in_single_precision_too():
    model, x, y = linear(dtype=torch.float32)
    result = FGSM(ball=Linf(0.1), loss=margin)(model, x, y)
    best = model.module.optimum(x, y, Linf(0.1))
    torch.testing.assert_close(result.loss.double(), best.margin, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.4)], ids=["linf", "l2"])
def test_is_one_step_of_pgd_without_random_start_and_of_bim(ball):
    model, x, y = linear(classes=4)
    wanted = FGSM(ball=ball)(model, x, y)
    for other in (
        PGD(ball=ball, steps=1, step_size=ball.eps, random_start=False),
        BIM(ball=ball, steps=1, step_size=ball.eps),
    ):
        assert torch.equal(other(model, x, y).x, wanted.x)


def test_costs_two_forward_passes_and_one_backward():
    model, x, y = linear()
    result = FGSM(ball=Linf(0.1))(model, x, y)
    assert (result.forwards == 2).all()
    assert (result.backwards == 1).all()
    assert (FGSM(ball=Linf(0.1), keep=Keep.LAST)(model, x, y).forwards == 1).all()


def test_targeted_step_goes_the_other_way():
    model, x, y = linear()
    attack = FGSM(ball=Linf(0.1), keep=Keep.LAST)
    away = attack(model, x, y).x - x
    back = attack(model, x, y, target=y).x - x
    inside = ((x - 0.1 >= 0) & (x + 0.1 <= 1)).double()
    torch.testing.assert_close(away * inside, -back * inside)
