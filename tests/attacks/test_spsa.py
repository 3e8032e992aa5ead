import pytest
import torch

from saddlepoint import L1, L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import NES, PGD, SPSA
from saddlepoint.attacks.spsa import Guided
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem
from saddlepoint.testing import LinearModel, MaskedModel, contract

test_contract = contract(SPSA(ball=Linf(0.1), steps=8, samples=100, step_size=0.04), within=0.9)
test_contract_l2 = contract(SPSA(ball=L2(0.3), steps=10, samples=32, step_size=0.04), within=0.8)

ATTACKS = [SPSA(ball=Linf(0.2), steps=10, delta=0.05, step_size=0.05), NES(ball=Linf(0.2), steps=10, sigma=0.05)]


def linear(rows=12, features=8, classes=3):
    generator = torch.Generator().manual_seed(2)
    module = LinearModel(torch.randn(classes, features, generator=generator))
    x = torch.rand(rows, features, generator=generator)
    return module, x, module(x).argmax(1)


def test_its_steps_are_those_of_adam(monkeypatch):
    grads = list(torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0)))
    monkeypatch.setattr(
        "saddlepoint.attacks.spsa.slopes", lambda problem, x, reach, n, draw, t: (grads[t], x[:, 0] != x[:, 0])
    )
    attack = SPSA(ball=L2(100.0), step_size=0.02)
    x = torch.full((3, 4), 50.0)
    model = Classifier(lambda v: v, bounds=(0, 100))
    problem = Problem.open(attack, model, x, torch.zeros(3, dtype=torch.int64), None, Noise(0), Limits())
    state = attack.init(problem)
    assert isinstance(state, Guided)
    weight = x.clone().requires_grad_()
    theirs = torch.optim.Adam([weight], lr=0.02, maximize=True)
    for t, grad in enumerate(grads):
        state = attack.step(problem, state, problem.look(state.x, gradient=False), t)
        weight.grad = grad
        theirs.step()
    assert torch.allclose(state.x, weight.detach(), atol=1e-5)
    assert (state.x - x).abs().max() > 0.05


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("shattered", [False, True])
def test_masked_gradients_do_not_matter(attack, shattered):
    module, x, y = linear()
    model = Classifier(MaskedModel(module, shattered=shattered))
    result, plain = attack(model, x, y), attack(Classifier(module), x, y)
    assert torch.equal(result.x, plain.x)
    assert result.success.sum() > PGD(ball=Linf(0.2))(model, x, y).success.sum()
    assert model.meter.backwards == PGD(ball=Linf(0.2)).steps * len(x), "a gradient was asked for"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_sees_across_the_steps_of_a_quantised_input(attack):
    module, x, y = linear()
    quantised = Classifier(lambda v: module((v * 15).round() / 15))
    result = attack(quantised, x, y)
    assert not PGD(ball=Linf(0.2), random_start=False)(quantised, x, y).success.any()
    assert result.success.sum() >= 0.8 * PGD(ball=Linf(0.2))(Classifier(module), x, y).success.sum()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_step_takes_its_samples_and_one_look(attack):
    module, x, y = linear(rows=700)
    model = Classifier(module)
    result = attack(model, x, y, limits=Limits(shrink_at=0))
    assert (result.forwards == 10 * (attack.samples + 1) + 1).all()
    assert model.meter.forwards == result.forwards.sum() + len(x)
    assert model.meter.backwards == 0


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("budget", [1, 2, 3, 40, 333])
def test_no_budget_is_exceeded_and_none_is_left(attack, budget):
    module, x, y = linear()
    model = Classifier(module)
    result = attack(model, x, y, limits=Limits(forwards=budget, shrink_at=1.0))
    assert (result.forwards <= budget).all()
    assert (result.forwards >= budget - 2).all(), "enough for a pair and a look"
    assert model.meter.forwards == result.forwards.sum() + len(x)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_target_is_reached(attack):
    module, x, y = linear()
    target = (y + 1) % 3
    result = attack(Classifier(module), x, y, target=target)
    assert result.success.any()
    assert torch.equal(module(result.x).argmax(1)[result.success], target[result.success])
    best = PGD(ball=Linf(0.2), keep=Keep.FIRST_SUCCESS)(Classifier(module), x, y, target=target)
    assert result.success.sum() >= 0.8 * best.success.sum()


def test_a_wider_box_asks_in_its_own_units():
    module, x, y = linear()
    small = SPSA(ball=Linf(0.2), steps=4)(Classifier(module), x, y)
    wide = Classifier(lambda v: module(v / 255), bounds=(0, 255))
    large = SPSA(ball=Linf(0.2 * 255), steps=4)(wide, 255 * x, y)
    assert torch.allclose(large.x / 255, small.x, atol=2e-3)


def test_it_is_for_linf_and_l2():
    with pytest.raises(SettingError, match="Linf or L2"):
        SPSA(ball=L1(1.0))
