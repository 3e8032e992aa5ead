"""Combinators: what each adds to the attack inside it."""

from dataclasses import replace

import pytest
import torch

import saddlepoint as sp
from saddlepoint import L1, L2, Keep, Limits, Linf, Noise
from saddlepoint.attacks import BIM, FGSM, PGD, Bisect, Cascade, EachTarget, Restarts
from saddlepoint.errors import SettingError
from saddlepoint.testing import LinearModel, contract

MANY = "each member is verified by itself, so more verification passes reach the meter than one a row"


def _around(make):
    return {"rebuild": make, "skip": {"true_counts": MANY, "limited": MANY}}


def _restarts(ball):
    return Restarts(attack=PGD(ball=ball, steps=3, keep=Keep.FIRST_SUCCESS), times=2)


def _cascade(ball):
    return Cascade(attacks=[FGSM(ball=ball, keep=Keep.FIRST_SUCCESS), PGD(ball=ball, steps=3)])


def _each(ball):
    return EachTarget(attack=PGD(ball=ball, steps=3), classes=2)


test_contract_restarts = contract(_restarts(Linf(0.1)), **_around(_restarts))
test_contract_cascade = contract(_cascade(L2(0.3)), **_around(_cascade))
test_contract_each_target = contract(_each(Linf(0.1)), targeted=False, **_around(_each))


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(12, 24), torch.nn.ReLU(), torch.nn.Linear(24, 5)).double()
    model = sp.Classifier(module)
    x = torch.rand(60, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return model, x, model.predict(x)


def test_one_restart_is_the_attack(net):
    attack = PGD(ball=Linf(0.05), steps=4)
    alone, around = attack(*net), Restarts(attack=attack, times=1)(*net)
    assert torch.equal(alone.x, around.x)
    assert torch.equal(alone.forwards, around.forwards)


def test_restarts_only_add_successes_and_skip_solved_rows(net):
    attack = PGD(ball=Linf(0.1), steps=0, keep=Keep.FIRST_SUCCESS)  # the random start alone
    one, five = attack(*net), Restarts(attack=attack, times=5)(*net)
    assert bool((five.success | ~one.success).all())
    assert five.success.sum() > one.success.sum()
    assert torch.equal(five.forwards[one.success], one.forwards[one.success])
    assert bool((five.forwards[~five.success] == 5 * one.forwards[~five.success]).all())


def test_restarts_keep_the_highest_loss(net):
    attack = PGD(ball=Linf(0.03), steps=2)
    single = [attack(*net, noise=Noise(0) if i == 0 else Noise(0).child(f"restart {i}")) for i in range(3)]
    best = Restarts(attack=attack, times=3)(*net)
    ranks = torch.stack([r.loss + 1e6 * r.success for r in single])
    assert torch.equal(best.loss + 1e6 * best.success, ranks.amax(0))


def test_cascade_is_the_worst_case_and_attacks_survivors_only(net):
    first, second = FGSM(ball=Linf(0.03)), BIM(ball=Linf(0.03), steps=5, step_size=0.01)
    a, b, both = first(*net), second(*net), Cascade(attacks=[first, second])(*net)
    assert torch.equal(both.success, a.success | b.success)
    assert torch.equal(both.forwards, a.forwards + torch.where(a.success, 0, b.forwards))
    assert torch.equal(both.solved_at >= 0, both.success)


def test_each_target_aims_at_every_class_and_keeps_the_goal_untargeted(net):
    model, x, y = net
    attack = PGD(ball=Linf(0.04), steps=5, random_start=False)
    found = EachTarget(attack=attack, classes=None)(model, x, y)
    parts = []
    for rank in range(4):
        others = model.logits(x).detach().scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
        parts.append(attack(model, x, y, target=others[:, rank]).success)
    assert bool((found.success | ~torch.stack(parts).any(0)).all())
    assert bool((model.predict(found.x)[found.success] != y[found.success]).all())


def test_each_target_counts_the_pass_that_ranks_the_classes(net):
    found = EachTarget(attack=PGD(ball=Linf(1e-6), steps=2), classes=2)(*net)
    assert found.forwards.tolist() == [1 + 2 * 3] * 60


@pytest.mark.parametrize("ball", [Linf(1.0), L2(3.0), L1(6.0)], ids=lambda ball: ball.norm)
def test_bisect_finds_the_least_distance_of_a_linear_model(ball):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(2, 12, generator=generator, dtype=torch.float64)
    module = LinearModel(weight, torch.zeros(2, dtype=torch.float64))
    model = sp.Classifier(module, bounds=(-50.0, 50.0))
    x = torch.randn(20, 12, generator=generator, dtype=torch.float64)
    y = model.predict(x)
    gap = weight[1] - weight[0]
    dual = {"linf": gap.abs().sum(), "l2": gap.norm(), "l1": gap.abs().amax()}[ball.norm]
    least = (x @ gap).abs() / dual
    wide = replace(ball, eps=float(least.max()) * 1.5)
    if ball.norm == "l1":
        wide = replace(wide, share=0.0)
    found = Bisect(attack=FGSM(ball=wide, keep=Keep.FIRST_SUCCESS), rounds=25)(model, x, y)
    assert bool(found.success.all())
    torch.testing.assert_close(found.distance, least, rtol=1e-5, atol=1e-7)


def test_bisect_returns_the_input_where_nothing_is_found(net):
    model, x, y = net
    found = Bisect(attack=FGSM(ball=Linf(1e-9)), rounds=3)(model, x, y)
    assert torch.equal(found.x, x)
    assert not found.success.any()
    assert found.distance.tolist() == [0.0] * 60


@pytest.mark.parametrize("budget", [1, 3, 4, 8, 11])
def test_budget_is_shared_and_hard(net, budget):
    model, x, y = net
    attack = PGD(ball=Linf(0.03), steps=3, keep=Keep.FIRST_SUCCESS)
    for outer in (Restarts(attack=attack, times=4), EachTarget(attack=attack), Bisect(attack=attack, rounds=4)):
        found = outer(model, x, y, limits=Limits(forwards=budget))
        assert int(found.forwards.max()) <= budget, outer.name


def test_budget_does_not_couple_rows(net):
    model, x, y = net
    outer = Bisect(attack=PGD(ball=Linf(0.1), steps=3, keep=Keep.FIRST_SUCCESS), rounds=6)
    whole = outer(model, x, y, limits=Limits(forwards=13))
    for rows in torch.randperm(60, generator=torch.Generator().manual_seed(3)).split(7):
        part = outer(model, x[rows], y[rows], noise=Noise(0).at(rows), limits=Limits(forwards=13))
        assert torch.equal(part.success, whole.success[rows])
        assert torch.equal(part.forwards, whole.forwards[rows])


def test_per_row_eps_reaches_the_members(net):
    model, x, y = net
    eps = torch.linspace(0, 0.2, 60, dtype=torch.float64)
    attack = PGD(ball=Linf(eps), steps=3, keep=Keep.FIRST_SUCCESS)
    found = Restarts(attack=attack, times=3)(model, x, y)
    assert bool(((found.x - x).abs().amax(1) <= eps + 1e-9).all())


def test_wrong_settings_are_refused(net):
    attack = FGSM(ball=Linf(0.1))
    for make, message in (
        (lambda: Restarts(attack=attack, times=0), "times=0"),
        (lambda: EachTarget(attack=attack, classes=0), "classes=0"),
        (lambda: Bisect(attack=attack, rounds=-1), "rounds=-1"),
        (lambda: Cascade(attacks=[]), "at least one attack"),
        (lambda: Cascade(attacks=[attack, FGSM(ball=Linf(0.2))]), "same ball"),
        (lambda: EachTarget(attack=attack)(*net, target=net[2]), "leave target out"),
    ):
        with pytest.raises(SettingError, match=message):
            make()
