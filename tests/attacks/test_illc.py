import pytest
import torch

from saddlepoint import L2, Classifier, Keep, Linf
from saddlepoint.attacks import BIM, ILLC
from saddlepoint.errors import SettingError
from saddlepoint.testing import contract
from saddlepoint.testing._subject import network

test_contract_linf = contract(ILLC(ball=Linf(0.1), steps=5, step_size=0.04), within=1 - 1e-6, targeted=False)
test_contract_l2 = contract(ILLC(ball=L2(0.4), steps=10), within=0.9, targeted=False)


@pytest.fixture
def case():
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = Classifier(network(12, torch.float64))
    return model, x, model.predict(x)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.4)], ids=["linf", "l2"])
def test_is_bim_towards_the_least_likely_class(case, ball):
    model, x, y = case
    least = model.logits(x).argmin(1)
    found = ILLC(ball=ball, steps=6, keep=Keep.LAST)(model, x, y)
    wanted = BIM(ball=ball, steps=6, keep=Keep.LAST)(model, x, y, target=least)
    assert torch.equal(found.x, wanted.x)
    assert (found.x != x).any()


def test_any_wrong_class_is_a_success(case):
    model, x, y = case
    result = ILLC(ball=Linf(0.3), steps=10, step_size=0.1)(model, x, y)
    predicted, least = model.predict(result.x), model.logits(x).argmin(1)
    assert torch.equal(result.success, predicted != y)
    assert (result.success & (predicted != least)).any() or (result.success & (predicted == least)).any()


def test_class_is_chosen_once_on_the_clean_input(case):
    model, x, y = case
    asked = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            logits = model.module(x)
            asked.append(logits.detach().argmin(1))
            return logits

    result = ILLC(ball=Linf(0.3), steps=5, step_size=0.1, keep=Keep.LAST)(Classifier(Spy()), x, y)
    changed = torch.stack(asked).ne(asked[0]).any(0)
    assert changed.any()
    wanted = BIM(ball=Linf(0.3), steps=5, step_size=0.1, keep=Keep.LAST)(model, x, y, target=asked[0])
    assert torch.equal(result.x, wanted.x)


def test_costs_one_forward_pass_more_than_bim(case):
    model, x, y = case
    assert (ILLC(ball=Linf(0.1))(model, x, y).forwards == BIM(ball=Linf(0.1))(model, x, y).forwards + 1).all()


def test_probabilities_that_underflow_do_not_tie():
    logits = torch.tensor([200.0, 0.0, -50.0, -100.0])
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    model = Classifier(lambda x: logits + x @ weight.T)
    x = torch.full((2, 6), 0.5)
    found = ILLC(ball=Linf(0.1), steps=3, keep=Keep.LAST)(model, x, torch.zeros(2, dtype=torch.int64))
    wanted = BIM(ball=Linf(0.1), steps=3, keep=Keep.LAST)(
        model, x, torch.zeros(2, dtype=torch.int64), target=torch.tensor([3, 3])
    )
    assert torch.equal(found.x, wanted.x)


def test_targets_are_refused(case):
    model, x, y = case
    with pytest.raises(SettingError, match="leave target out, or use BIM with your target"):
        ILLC(ball=Linf(0.1))(model, x, y, target=y)


def test_rule_of_the_paper_needs_one_eps(case):
    model, x, y = case
    with pytest.raises(SettingError, match="with one eps per row give steps="):
        ILLC(ball=Linf(torch.full((30,), 0.1)))(model, x, y)


@pytest.mark.parametrize("settings", [{"steps": -1}, {"step_size": -1.0}])
def test_settings_that_mean_nothing(settings):
    with pytest.raises(SettingError, match="must be"):
        ILLC(ball=Linf(0.1), **settings)
