"""LS-PGA and DGA: buckets within reach, steps by hand, and what the driver promises of every attack."""

import itertools

import pytest
import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.defenses.training import Adversarial, Schedule, fit
from saddlepoint.defenses.transforms import DGA, LSPGA, Thermometer
from saddlepoint.errors import ModelError, SettingError
from saddlepoint.losses import cross_entropy

EPS = 0.13


def defended(mode="thermometer", levels=8, shape=(1, 3, 3), dtype=torch.float64, seed=0, fitted=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, d = Thermometer(levels, mode), torch.Size(shape).numel()
        if fitted:  # narrow buckets near 0
            encoder = Thermometer(levels, mode, centroids=torch.linspace(0.05, 1, levels, dtype=dtype).square())
        net = nn.Sequential(encoder, nn.Flatten(), nn.Linear(levels * d, 12), nn.Tanh(), nn.Linear(12, 3)).to(dtype)
        x = torch.rand(30, *shape, dtype=dtype)
    model = sp.Classifier(net)
    return encoder, model, x, model.predict(x)


def both(encoder, eps=EPS, **given):
    return [LSPGA(ball=sp.Linf(eps), encoder=encoder, **given), DGA(ball=sp.Linf(eps), encoder=encoder, **given)]


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize(("mode", "levels"), [("thermometer", 4), ("thermometer", 16), ("one-hot", 8)])
def test_they_break_what_a_gradient_does_not(mode, levels, fitted):
    encoder, model, x, y = defended(mode, levels, fitted=fitted)
    naive = sp.attacks.PGD(ball=sp.Linf(EPS), steps=20, random_start=False)(model, x, y)
    assert not naive.success.any()
    chance = torch.stack([sp.Linf(EPS).random_start(x, model.bounds, sp.Noise(i)) for i in range(20)])
    lucky = torch.stack([cross_entropy(model.logits(each), y).detach() for each in chance]).amax(0)
    for attack in both(encoder, steps=20):
        found = attack(model, x, y)
        assert found.success.sum() >= 4
        assert (found.loss >= lucky).float().mean() > 0.8
        assert (found.distance <= EPS).all()
        assert found.x.min() >= 0
        assert found.x.max() <= 1
        assert torch.equal(found.success, model.predict(found.x) != y)
        assert torch.equal(found.loss, cross_entropy(model.logits(found.x), y).detach())


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("mode", ["thermometer", "one-hot"])
def test_on_a_linear_net_one_step_of_dga_is_the_best_of_all_codes(mode, fitted):
    encoder, _, x, _ = defended(mode, 6, shape=(3,), fitted=fitted)
    model = sp.Classifier(nn.Sequential(encoder, nn.Linear(18, 2, dtype=torch.float64)))
    y = model.predict(x)
    loss = sp.losses.margin
    found = DGA(ball=sp.Linf(EPS), encoder=encoder, steps=1, loss=loss, keep=sp.Keep.LAST)(model, x, y)
    grid = torch.linspace(-EPS, EPS, 7, dtype=x.dtype)  # closer than a bucket is wide
    choices = [[(x[:, i] + step).clamp(0, 1) for step in grid] for i in range(3)]
    best = torch.stack(
        [loss(model.logits(torch.stack(each, 1)), y).detach() for each in itertools.product(*choices)]
    ).amax(0)
    assert torch.allclose(found.loss, best)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_step_of_ls_pga_by_hand(fitted):
    encoder, model, x, y = defended(fitted=fitted)
    attack = LSPGA(ball=sp.Linf(EPS), encoder=encoder, steps=2, step_size=0.3, start="zero")
    low, high = encoder.buckets((x - EPS).clamp(0, 1)), encoder.buckets((x + EPS).clamp(0, 1))
    k = torch.arange(8).view(1, 1, 8, 1, 1)
    allowed = (k >= low.unsqueeze(2)) & (k <= high.unsqueeze(2))
    u = torch.zeros_like(allowed, dtype=x.dtype)
    for beta in (1.0, 1.2):
        u.requires_grad_()
        shares = (beta * (u * allowed - 999999 * ~allowed)).softmax(2)
        code = torch.stack([shares[:, :, j:].sum(2) for j in range(8)], 2).flatten(1, 2)
        loss = cross_entropy(model.module[1:](code), y).sum()
        u = (u + 0.3 * torch.autograd.grad(loss, u)[0].sign()).detach()
    known = (u * allowed - 999999 * ~allowed).argmax(2)
    found = attack(model, x, y)
    assert torch.equal(encoder.buckets(found.x), known)
    assert (known != encoder.buckets(x)).any()
    assert found.forwards.unique().tolist() == [2]
    assert found.backwards.unique().tolist() == [2]


def test_a_feature_without_gradient_stays():
    encoder, _, x, y = defended()
    flat = sp.Classifier(lambda x: (encoder(x).flatten(1)[:, :3] * 0).double())
    assert torch.equal(DGA(ball=sp.Linf(EPS), encoder=encoder, random_start=False)(flat, x, y % 3).x, x)


def test_within_a_bucket_nothing_is_to_be_reached():
    encoder, model, _, _ = defended()
    x = (torch.randint(0, 8, (20, 1, 3, 3)).double() + 0.5) / 8
    for attack in both(encoder, eps=0.05):
        assert torch.equal(encoder(attack(model, x, None).x), encoder(x))
    for attack in both(encoder, eps=0.0):
        assert torch.equal(attack(model, x, None).x, x)


def test_what_the_driver_promises():
    encoder, model, x, y = defended()
    eps = torch.linspace(0.01, 0.2, len(x), dtype=x.dtype)
    for attack in both(encoder, steps=9):
        before = model.meter.forwards
        whole = attack(model, x, y, noise=sp.Noise(1))
        assert model.meter.forwards - before >= int(whole.forwards.sum()) + len(x)  # verification, and fillers
        rows = torch.tensor([4, 9, 11])
        part = attack(model, x[rows], y[rows], noise=sp.Noise(1, rows))
        assert torch.equal(part.x, whole.x[rows])
        bounded = attack(model, x, y, limits=sp.Limits(forwards=3))
        assert (bounded.forwards <= 3).all()
        targeted = attack(model, x, y, target=(y + 1) % 3)
        assert torch.equal(targeted.success, model.predict(targeted.x) == (y + 1) % 3)
        each = type(attack)(ball=sp.Linf(eps), encoder=encoder)(model, x, y)
        assert (each.distance <= eps).all()
        assert len(attack(model, x[:0], y[:0]).x) == 0
        assert not encoder._forward_hooks


def test_dga_keeps_the_first_success_and_drops_the_row():
    encoder, model, x, y = defended()
    attack = DGA(ball=sp.Linf(EPS), encoder=encoder, steps=30, keep=sp.Keep.FIRST_SUCCESS)
    found = attack(model, x, y)
    assert torch.equal(found.forwards[found.success], found.solved_at[found.success])
    assert (found.forwards[found.success] < 31).any()


def test_an_encoder_that_the_model_does_not_call_is_refused():
    encoder, model, x, y = defended()
    for attack in both(Thermometer(8)):
        with pytest.raises(ModelError, match="no gradient came back to the encoder"):
            attack(model, x, y)
    with pytest.raises(SettingError, match="mode='quantised' has no codes"):
        DGA(ball=sp.Linf(0.1), encoder=Thermometer(4, "quantised"))
    with pytest.raises(SettingError, match="growth=0.5 must be a finite number >= 1"):
        LSPGA(ball=sp.Linf(0.1), encoder=encoder, growth=0.5)
    with pytest.raises(SettingError, match="start='ones' must be 'normal' or 'zero'"):
        LSPGA(ball=sp.Linf(0.1), encoder=encoder, start="ones")


@pytest.mark.parametrize("kind", [LSPGA, DGA])
def test_training_with_them_holds_against_them(kind):
    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y = x[:, 0, :3].sum(2).argmax(1)
    held = []
    for eps in (0.0, 0.1):
        torch.manual_seed(0)
        encoder = Thermometer(8)
        net = nn.Sequential(encoder, nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU(), nn.Linear(16, 3))
        objective = Adversarial(attack=kind(ball=sp.Linf(eps), encoder=encoder, steps=3), warmup=0.2)
        points = objective.points(net.train(), x, y, noise=sp.Noise(0), progress=1.0, memory={})
        assert ((points - x).abs() <= eps).all()
        assert net.training
        fit(net, x, y, objective, Schedule(epochs=25, batch_size=30))
        found = kind(ball=sp.Linf(0.1), encoder=encoder, steps=10)(sp.Classifier(net), x, y)
        held.append((~found.success).float().mean().item())
    assert held[1] > held[0] + 0.1
