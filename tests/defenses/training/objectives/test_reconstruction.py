"""Noise and adversarial examples as inputs, pixels and logits as measures, and a training that denoises."""

import pytest
import torch
from all_objectives import NOISE, net_of, points_of, rows_of
from torch import nn
from torch.nn import functional

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.balls import Bounds, Linf
from saddlepoint.defenses.training import Checkpoint, Reconstruction, Schedule, Standard, fit
from saddlepoint.defenses.transforms import DenoisingAutoencoder
from saddlepoint.errors import ModelError, SettingError
from saddlepoint.result import Keep

MADE, Y = nn.Identity(), torch.zeros(400, dtype=torch.int64)  # what is not asked
ATTACK = PGD(ball=Linf(0.1), steps=3)


def test_noise_is_normal_clipped_and_by_row():
    x = torch.full((400, 1, 6, 6), 0.5)
    points = points_of(Reconstruction(sigma=0.2), MADE, x, Y)
    assert (points - x).std().item() == pytest.approx(0.2, rel=0.05)
    assert points.min() == 0
    assert points.max() == 1
    part = points_of(Reconstruction(sigma=0.2), MADE, x[5:8], Y[5:8], rows=torch.arange(5, 8))
    assert torch.equal(part, points[5:8])
    assert torch.equal(points_of(Reconstruction(sigma=0.0), MADE, x, Y), x)


def test_adversarial_points_are_those_of_the_classifier_as_it_was():
    x, y = rows_of()
    net = net_of().train()
    points = points_of(Reconstruction(attack=ATTACK, classifiers=(net,)), MADE, x, y)
    known = PGD(ball=Linf(0.1), steps=3, keep=Keep.LAST)(sp.Classifier(net), x, y, noise=NOISE)
    assert torch.equal(points, known.x)
    assert net.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_each_row_is_attacked_on_one_of_several():
    x, y = rows_of(40)
    nets = tuple(net_of(seed=seed) for seed in range(3))
    alone = [points_of(Reconstruction(attack=ATTACK, classifiers=(net,)), MADE, x, y) for net in nets]
    mixed = points_of(Reconstruction(attack=ATTACK, classifiers=nets), MADE, x, y)
    same = torch.stack([(mixed - each).flatten(1).abs().amax(1) == 0 for each in alone])
    assert same.any(0).all()
    assert (same.sum(1) > 5).all()
    rows = torch.arange(7, 15)
    part = points_of(Reconstruction(attack=ATTACK, classifiers=nets), MADE, x[rows], y[rows], rows=rows)
    assert torch.allclose(part, mixed[rows], atol=1e-6)


def test_losses_by_hand():
    x, y = rows_of()
    nets, made = (net_of(seed=1), net_of(seed=2)), DenoisingAutoencoder((1, 6, 6), hidden=(8,))
    points = x.flip(0)
    pixel = Reconstruction(sigma=0.1).loss(made, x, points, y)
    assert torch.allclose(pixel, (made(points) - x).square().mean())
    logit = Reconstruction(classifiers=nets, measure="logit").loss(made, x, points, y)
    known = [(net.eval()(made(points)) - net(x)).abs().sum(1).mean() for net in nets]
    assert torch.allclose(logit, (known[0] + known[1]) / 2)
    logit.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in made.parameters())
    assert all(parameter.grad is None for net in nets for parameter in net.parameters())


def images():
    x = torch.rand(200, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return functional.avg_pool2d(functional.pad(x, [2] * 4, mode="reflect"), 5, 1)  # smooth


@pytest.mark.parametrize("form", ["dense", "conv"])
def test_training_takes_noise_away(form):
    x, y = images(), torch.zeros(200, dtype=torch.int64)
    torch.manual_seed(0)
    made = DenoisingAutoencoder((1, 6, 6), form=form, hidden=(24, 12))
    fit(made, x, y, Reconstruction(sigma=0.2), Schedule(epochs=30, batch_size=50, peak=1e-2))
    noisy = (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    assert (made(noisy) - x).square().mean() < 0.4 * (noisy - x).square().mean()


def test_a_killed_training_goes_on(tmp_path):
    x, y = images(), torch.zeros(200, dtype=torch.int64)

    class Killed(Exception):  # noqa: N818
        pass

    def kill(done, _):
        if done == 5:
            raise Killed

    def made():
        torch.manual_seed(0)
        return DenoisingAutoencoder((1, 6, 6), hidden=(8,))

    whole, cut, again = made(), made(), made()
    given = (x, y, Reconstruction(), Schedule(epochs=2, batch_size=50))
    fit(whole, *given)
    keep = Checkpoint(tmp_path / "file", {})
    keep.due = lambda: True
    with pytest.raises(Killed):
        fit(cut, *given, watch=kill, checkpoint=keep)
    fit(again, *given, checkpoint=Checkpoint(tmp_path / "file", {}))
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), again.parameters(), strict=True))


def test_guided_by_logits_the_classifier_sees_what_it_saw():
    x, y = images(), None
    y = (x[:, 0, :3].mean((1, 2)) > x[:, 0, 3:].mean((1, 2))).long()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 2))
    fit(net, x, y, Standard(), Schedule(epochs=30, batch_size=50, peak=2e-2))
    made = DenoisingAutoencoder((1, 6, 6), hidden=(24, 12))
    objective = Reconstruction(attack=ATTACK, classifiers=(net,), measure="logit")
    fit(made, x, y, objective, Schedule(epochs=30, batch_size=50, peak=1e-2))
    attacked = ATTACK(sp.Classifier(net), x, y).x
    apart = [(net(each) - net(x)).abs().sum(1).mean() for each in (made(attacked), attacked)]
    assert apart[0] < 0.5 * apart[1]


def test_what_means_nothing_is_refused():
    with pytest.raises(SettingError, match="sigma=-1.0 must be a finite number >= 0"):
        Reconstruction(sigma=-1.0)
    with pytest.raises(SettingError, match="need classifiers"):
        Reconstruction(attack=ATTACK)
    with pytest.raises(SettingError, match="need classifiers"):
        Reconstruction(measure="logit")
    with pytest.raises(SettingError, match="measure='features' must be 'pixel' or 'logit'"):
        Reconstruction(measure="features")
    x, y = rows_of()
    with pytest.raises(ModelError, match=r"the module returned \(8, 3\) for inputs \(8, 1, 6, 6\)"):
        Reconstruction(bounds=Bounds()).loss(net_of(), x, x, y)
