"""What a caller can get wrong without noticing: each ends in an error, or in a result that does not claim too much."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

import saddlepoint as sp
from saddlepoint.attacks import (
    APGD,
    CWL2,
    EOT,
    FAB,
    FGSM,
    ILLC,
    LBFGS,
    PGD,
    Bisect,
    Cascade,
    CWLinf,
    DeepFool,
    EachTarget,
    Restarts,
    Square,
)
from saddlepoint.errors import ArgumentTypeError, InputError, ModelError, SettingError
from saddlepoint.result import Keep

BALL, FIRST = sp.Linf(0.1), Keep.FIRST_SUCCESS


@pytest.fixture
def given():
    """A net, and rows that it is right about."""
    torch.manual_seed(0)
    model = sp.Classifier(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)))
    x = torch.rand(24, 6)
    return model, x, model.predict(x)


@pytest.mark.parametrize("attack", [PGD(ball=BALL), FGSM(ball=BALL), DeepFool(), APGD(ball=BALL)], ids=lambda a: a.name)
def test_inference_mode_is_no_robustness(given, attack):
    model, x, y = given
    with torch.inference_mode(), pytest.raises(SettingError, match="inference_mode"):
        attack(model, x, y)
    with torch.no_grad():
        assert torch.equal(attack(model, x, y).x, attack(model, x, y).x)


def test_attacks_without_gradients_run_in_inference_mode(given):
    model, x, y = given
    attack = Square(ball=BALL, steps=20)
    with torch.inference_mode():
        inside = attack(model, x, y)
    assert torch.equal(inside.x, attack(model, x, y).x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (functional.cross_entropy, r"the loss cross_entropy returned shape \(\) for 24 rows; it must be \(24,\)"),
        (lambda z, y, aim: z.gather(1, y[:, None]), r"returned shape \(24, 1\)"),
        (lambda z, y, aim: 0.0, "returned a float"),
    ],
)
@pytest.mark.parametrize("kind", [PGD, Square, APGD])
def test_a_loss_that_is_not_one_number_a_row_is_refused(given, kind, loss, told):
    with pytest.raises(SettingError, match=told):
        kind(ball=BALL, steps=5, loss=loss)(*given)


@pytest.mark.parametrize("attack", [Square(ball=BALL, steps=5), PGD(ball=BALL, steps=5)], ids=lambda a: a.name)
def test_a_model_that_changes_its_input_is_refused(given, attack):
    model, x, y = given

    def inside(x):
        x -= 0.5
        return model.module(x)

    with pytest.raises(ModelError):
        attack(sp.Classifier(inside), x, y)


@pytest.mark.parametrize("keep", [FIRST, Keep.MAX_LOSS, Keep.LAST])
@pytest.mark.parametrize(
    "attack", [CWL2(ball=sp.L2(0.02), steps=30), CWLinf(ball=sp.Linf(0.005), steps=20)], ids=lambda a: a.name
)
def test_a_point_outside_the_ball_is_no_success(given, attack, keep):
    found = dataclasses.replace(attack, keep=keep)(*given)
    assert (found.distance[found.success] <= float(attack.ball.eps) * (1 + 1e-5) + 1e-6).all()
    assert not found.success.all(), "or nothing was tried outside"


PGD_ONCE = PGD(ball=BALL, steps=3, keep=FIRST)
NESTED = [
    Restarts(attack=PGD_ONCE, times=3), EachTarget(attack=PGD_ONCE),
    Cascade(attacks=[FGSM(ball=BALL, keep=FIRST), PGD_ONCE]), Bisect(attack=PGD_ONCE, rounds=3),
    EOT(attack=PGD_ONCE, draws=2),
]  # fmt: skip


@pytest.mark.parametrize("attack", NESTED, ids=lambda a: a.name)
def test_combinators_keep_to_a_budget_for_each_row(given, attack):
    model, x, y = given
    budget = torch.arange(len(x)) + 4
    found = attack(model, x, y, limits=sp.Limits(forwards=budget))
    assert (found.forwards <= budget + 1).all(), "the verification is beside it"
    alone = attack(model, x[5:6], y[5:6], noise=sp.Noise().at(torch.tensor([5])), limits=sp.Limits(forwards=9))
    assert int(found.forwards[5]) == int(alone.forwards)
    assert bool(found.success[5]) == bool(alone.success)


def test_nested_combinators_share_one_budget(given):
    attack = Cascade(attacks=[FGSM(ball=BALL, keep=FIRST), Restarts(attack=PGD_ONCE, times=3)])
    found = attack(*given, limits=sp.Limits(forwards=6))
    assert 1 < found.forwards.max() <= 7


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("attack", NESTED, ids=lambda a: a.name)
def test_combinators_look_at_what_they_take_rows_of(given, attack):
    model, x, y = given
    with pytest.raises(InputError, match=r"y has shape \(48,\); it must be \(24,\)"):
        attack(model, x, torch.cat([y.roll(1), y]))
    with pytest.raises(InputError, match="y is list"):
        attack(model, x, y.tolist())
    with pytest.raises(ArgumentTypeError, match="model is Sequential; wrap it"):
        attack(model.module, x, y)
    with pytest.raises(ArgumentTypeError, match="noise=3"):
        attack(model, x, y, noise=3)
    if not isinstance(attack, EachTarget):
        with pytest.raises(InputError, match="target has shape"):
            attack(model, x, y, target=y[:5])


class Refusing(nn.Module):
    """Two classes, and a refusal that is likely beyond the boundary, but for a corner."""

    def forward(self, x):
        classes = torch.stack([torch.zeros(len(x)), 10 * (x[:, 0] - 0.6)], 1)
        return torch.cat([classes, classes.amax(1, keepdim=True) + 10 * (x[:, 1:] - 0.53)], 1)


@pytest.mark.parametrize(
    "attack",
    [DeepFool(), FAB(ball=sp.L2(1.0)), LBFGS(), CWL2(steps=200, search_steps=4)],
    ids=lambda a: a.name,
)
def test_a_refusal_is_no_class_to_go_to(attack):
    model = sp.Classifier(Refusing(), refuses=True)
    found = attack(model, torch.full((4, 2), 0.5), torch.zeros(4, dtype=torch.int64))
    assert found.success.all()
    assert torch.allclose(found.distance, torch.tensor(0.1), atol=0.01)


@pytest.mark.parametrize("attack", [EachTarget(attack=PGD_ONCE), ILLC(ball=BALL)], ids=lambda a: a.name)
def test_attacks_with_an_aim_do_not_aim_at_the_refusal(attack):
    model = sp.Classifier(Refusing(), refuses=True)
    x = torch.tensor([[0.55, 0.0], [0.55, 0.9]])
    found = attack(model, x, torch.zeros(2, dtype=torch.int64))
    assert found.success.tolist() == [True, False], "the second is refused on both sides"
