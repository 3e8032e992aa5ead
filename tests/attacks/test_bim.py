import pytest
import torch

from saddlepoint import L2, Bounds, Classifier, Keep, Linf
from saddlepoint.attacks import BIM
from saddlepoint.errors import SettingError
from saddlepoint.testing import LinearModel, contract

test_contract_linf = contract(BIM(ball=Linf(0.1), steps=5, step_size=0.04), within=1 - 1e-6)
test_contract_l2 = contract(BIM(ball=L2(0.4), steps=10), within=0.9)


@pytest.fixture
def model():
    return Classifier(LinearModel(torch.randn(2, 4, generator=torch.Generator().manual_seed(0))))


X, Y = torch.full((3, 4), 0.5), torch.tensor([0, 1, 0])


@pytest.mark.parametrize(("eps", "steps"), [(0, 0), (1, 2), (2, 3), (4, 5), (8, 10), (16, 20), (32, 36)])
@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1.0, 1.0)], ids=["unit", "symmetric"])
def test_number_of_steps_of_the_paper(eps, steps, bounds):
    model = Classifier(LinearModel(torch.tensor([[0.0] * 4, [1.0] * 4])), bounds=bounds)
    result = BIM(ball=Linf(eps / 255 * bounds.width))(model, X, Y)
    assert (result.forwards == steps + 1).all()


def test_step_of_the_paper_is_one_gray_level(model):
    moved = BIM(ball=Linf(0.1), steps=1, keep=Keep.LAST)(model, X, Y).x - X
    torch.testing.assert_close(moved.abs(), torch.full((3, 4), 1 / 255), rtol=0, atol=1e-7)


def test_outside_linf_ten_steps_of_a_quarter_radius(model):
    result = BIM(ball=L2(0.2))(model, X, Y)
    assert (result.forwards == 11).all()
    one = BIM(ball=L2(0.2), steps=1, step_size=0.05, keep=Keep.LAST)(model, X, Y)
    torch.testing.assert_close(one.distance, torch.full((3,), 0.05))
    assert torch.equal(BIM(ball=L2(0.2), steps=10)(model, X, Y).x, result.x)


def test_rule_of_the_paper_needs_one_eps(model):
    attack = BIM(ball=Linf(torch.tensor([0.1, 0.2, 0.3])))
    with pytest.raises(SettingError, match="with one eps per row give steps="):
        attack(model, X, Y)
    attack = BIM(ball=Linf(torch.tensor([0.1, 0.2, 0.3])), steps=3)
    assert (attack(model, X, Y).forwards == 4).all()


def test_starts_at_the_input(model):
    assert torch.equal(BIM(ball=Linf(0.1), steps=0)(model, X, Y).x, X)


@pytest.mark.parametrize("settings", [{"steps": -1}, {"step_size": -1.0}])
def test_settings_that_mean_nothing(settings):
    with pytest.raises(SettingError, match="must be"):
        BIM(ball=Linf(0.1), **settings)
