"""Draws of a random model: the mean of losses, exact counts, and verdicts on draws that the attack has not seen."""

import pytest
import torch
from torch import nn

from saddlepoint import L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import EOT, NES, PGD, Cascade, DeepFool, EachTarget, HopSkipJump, Restarts
from saddlepoint.errors import SettingError
from saddlepoint.losses import cross_entropy, margin
from saddlepoint.problem import Problem
from saddlepoint.testing import LinearModel, RandomModel, contract

EVERY_DRAW = "each draw of the verification reaches the meter, and the check expects one"


def _around(ball):
    return EOT(attack=PGD(ball=ball, steps=4), draws=3)


test_contract_one_draw = contract(
    EOT(attack=PGD(ball=Linf(0.1), steps=4), draws=1), rebuild=lambda ball: EOT(attack=PGD(ball=ball, steps=4), draws=1)
)
test_contract_three_draws = contract(
    _around(L2(0.3)), rebuild=_around, skip={"true_counts": EVERY_DRAW, "limited": EVERY_DRAW}
)


def linear(rows=10, features=8, classes=4):
    generator = torch.Generator().manual_seed(2)
    module = LinearModel(torch.randn(classes, features, generator=generator, dtype=torch.float64))
    x = torch.rand(rows, features, generator=generator, dtype=torch.float64)
    return module, x, module(x).argmax(1)


class Scaled(nn.Module):
    """The inner logits times one of the scales, which take turns from call to call."""

    def __init__(self, inner, *scales):
        super().__init__()
        self.inner, self.scales, self.calls = inner, scales, 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * self.scales[(self.calls - 1) % len(self.scales)]


def test_one_draw_is_the_attack_bit_for_bit():
    module, x, y = linear()
    attack = PGD(ball=Linf(0.1), steps=5)
    plain, one = attack(Classifier(module), x, y), EOT(attack=attack, draws=1)(Classifier(module), x, y)
    for name in ("x", "success", "undefined", "loss", "distance", "forwards", "backwards", "solved_at"):
        assert torch.equal(getattr(plain, name), getattr(one, name)), name


def test_more_draws_of_a_model_that_is_not_random_cost_more_and_tell_the_same():
    module, x, y = linear()
    attack = PGD(ball=Linf(0.1), steps=5)
    plain, more = attack(Classifier(module), x, y), EOT(attack=attack, draws=4)(Classifier(module), x, y)
    assert torch.allclose(plain.x, more.x)
    assert torch.equal(plain.success, more.success)
    assert torch.equal(4 * plain.forwards, more.forwards)
    assert torch.equal(4 * plain.backwards, more.backwards)


def test_a_look_takes_the_mean_of_the_losses_and_of_their_gradients():
    module, x, y = linear()
    attack = PGD(ball=Linf(0.1))
    model = Classifier(Scaled(module, 0.2, 1.0, 6.0)).sampled(3)
    seen = Problem.open(attack, model, x, y, None, Noise(0), Limits()).look(x)
    leaf = x.clone().requires_grad_()
    loss = torch.stack([cross_entropy(scale * module(leaf), y) for scale in (0.2, 1.0, 6.0)]).mean(0)
    (grad,) = torch.autograd.grad(loss.sum(), leaf)
    assert torch.allclose(seen.loss, loss.detach())
    assert torch.allclose(seen.grad, grad)
    assert torch.allclose(seen.logits, 2.4 * module(x))
    assert not torch.allclose(seen.loss, cross_entropy(2.4 * module(x), y)), "that is the loss of the mean"


@pytest.mark.parametrize(
    "attack",
    [
        PGD(ball=Linf(0.1), steps=4),
        DeepFool(ball=L2(2.0), steps=5),
        HopSkipJump(steps=2, directions=10),
        NES(ball=Linf(0.1), steps=2, samples=8),
        Restarts(attack=PGD(ball=Linf(0.1), steps=2), times=1),
        Cascade(attacks=[PGD(ball=Linf(0.1), steps=2)]),
        EachTarget(attack=PGD(ball=Linf(0.1), steps=2), classes=1),
    ],
    ids=lambda attack: attack.name,
)
@pytest.mark.parametrize("labels", [True, False])
def test_every_draw_is_counted_for_its_row(attack, labels):
    module, x, y = linear()
    model = Classifier(RandomModel(module, scale=0.01))
    result = EOT(attack=attack, draws=3)(model, x, y if labels else None, limits=Limits(shrink_at=1.0))
    assert model.meter.forwards == result.forwards.sum() + 3 * len(x)
    assert model.meter.backwards == result.backwards.sum()
    assert (result.forwards % 3 == 0).all()


@pytest.mark.parametrize("budget", [2, 3, 10, 31])
def test_the_budget_is_of_single_passes(budget):
    module, x, y = linear()
    model = Classifier(RandomModel(module, scale=0.1))
    for attack in (PGD(ball=Linf(1e-6), steps=50), NES(ball=Linf(1e-6), steps=50, samples=6)):
        result = EOT(attack=attack, draws=3)(model, x, y, limits=Limits(forwards=budget))
        assert (result.forwards <= budget).all()
        assert (result.forwards > budget - 3 * 3).all()


def test_success_is_judged_on_draws_that_the_attack_has_not_seen():
    module, x, y = linear()
    flips = Scaled(module, *[-1.0] * 4, 1.0, 1.0)  # two looks of two draws fool, the verification does not
    attack = PGD(ball=Linf(0.0), steps=1, random_start=False)
    result = EOT(attack=attack, draws=2)(Classifier(flips), x, y)
    assert (result.solved_at == 2).all()
    assert not result.success.any()


def test_a_verdict_is_that_of_the_mean_logits():
    module, x, y = linear()
    model = Classifier(Scaled(module, -3.0, 1.0)).sampled(2)
    assert torch.equal(model.predict(x), (-module(x)).argmax(1))
    attack = PGD(ball=Linf(0.0), steps=0, random_start=False)
    assert EOT(attack=attack, draws=2)(Classifier(Scaled(module, -3.0, 1.0)), x, y).success.all()
    assert not EOT(attack=attack, draws=2)(Classifier(Scaled(module, -1.0, 3.0)), x, y).success.any()


def test_draws_see_through_noise_that_hides_the_gradient():
    module, x, y = linear(rows=60, classes=2)  # so that the margin is linear
    generator = torch.Generator().manual_seed(5)

    class Noisy(nn.Module):
        """The linear model, and noise that follows the input: a draw's gradient is mostly that of the noise."""

        def forward(self, v):
            drawn = torch.randn(len(v), 8, 2, generator=generator, dtype=v.dtype)
            return module(v) + 5 * ((v - 0.5)[:, None] @ drawn).squeeze(1)

    def fall(result):
        return (margin(module(result.x), y) - margin(module(x), y)).mean().item()

    attack = PGD(ball=Linf(0.1), loss=margin, steps=1, random_start=False, keep=Keep.LAST)
    once, often = attack(Classifier(Noisy()), x, y), EOT(attack=attack, draws=100)(Classifier(Noisy()), x, y)
    assert fall(often) > 2 * fall(once)
    assert fall(often) > 0.5 * fall(attack(Classifier(module), x, y))


def test_the_name_and_the_ball_are_those_of_the_attack():
    attack = EOT(attack=PGD(ball=Linf(0.1)))
    assert (attack.name, attack.ball) == ("pgd-eot20", Linf(0.1))


@pytest.mark.parametrize("draws", [0, -1, 2.0, True])
@pytest.mark.usefixtures("unchecked")
def test_draws_are_counted_from_one(draws):
    with pytest.raises(SettingError, match="integer >= 1"):
        EOT(attack=PGD(ball=Linf(0.1)), draws=draws)
    with pytest.raises(SettingError, match="integer >= 1"):
        Classifier(nn.Identity()).sampled(draws)
