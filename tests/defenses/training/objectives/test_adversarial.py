import pytest
import torch
from torch import nn
from torch.nn import functional

from saddlepoint.attacks import APGD, FGSM, PGD
from saddlepoint.balls import L0, L2, Bounds, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training import Adversarial, Standard
from saddlepoint.errors import ArgumentTypeError, RadiusError, SettingError
from saddlepoint.noise import Noise
from saddlepoint.result import Keep

NOISE = Noise(3)


def loss_of(objective, net, batch, progress=1.0):
    x, y = batch
    points = objective.points(net, x, y, noise=NOISE.at(torch.arange(len(x))), progress=progress, memory={})
    return objective.loss(net, x, points, y)


class Spy(nn.Module):
    """Remembers of every forward pass the points, the mode of the module, and which parameters have gradients."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls = inner, []

    def forward(self, x):
        modes = {part.training for part in self.modules()}
        trained = {parameter.requires_grad for parameter in self.parameters()}
        self.calls.append((x.detach().clone(), modes, trained))
        return self.inner(x)


@pytest.mark.parametrize("ball", [Linf(0.0), L2(0.0)])
def test_radius_zero_is_standard_training_bit_for_bit(make_net, batch, ball):
    net, other = make_net(), make_net()
    loss = loss_of(Adversarial(attack=PGD(ball=ball, steps=3)), net, batch)
    known = loss_of(Standard(), other, batch)
    assert torch.equal(loss, known)
    loss.backward()
    known.backward()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)])
def test_the_loss_is_that_of_the_attacks_last_point(make_net, batch, ball):
    net = make_net()
    attack = PGD(ball=ball, steps=4)
    loss = loss_of(Adversarial(attack=attack), net, batch)
    last = PGD(ball=ball, steps=4, keep=Keep.LAST)(Classifier(net), *batch, noise=NOISE).x
    assert torch.equal(loss, functional.cross_entropy(net(last), batch[1]))
    assert loss.item() > loss_of(Standard(), net, batch).item()


def test_parameters_get_their_gradient_from_the_outer_loss_only(make_net, batch):
    net, other = make_net(), make_net()
    loss_of(Adversarial(attack=PGD(ball=Linf(0.1), steps=4)), net, batch).backward()
    points = PGD(ball=Linf(0.1), steps=4, keep=Keep.LAST)(Classifier(other), *batch, noise=NOISE).x
    functional.cross_entropy(other(points), batch[1]).backward()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)


def test_a_gradient_that_is_there_already_is_not_touched_by_the_attack(make_net, batch):
    net = make_net()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    loss_of(Adversarial(attack=PGD(ball=Linf(0.1), steps=4)), net, batch)
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in net.parameters())


def test_the_attack_runs_in_evaluation_mode_and_the_loss_in_training_mode(make_net, batch):
    net = Spy(make_net(dropout=0.5)).train()
    loss_of(Adversarial(attack=PGD(ball=Linf(0.1), steps=4)), net, batch)
    modes = [modes for _, modes, _ in net.calls]
    assert modes == [{False}] * 4 + [{True}]
    assert [trained for _, _, trained in net.calls] == [{False}] * 4 + [{True}]


def test_every_mode_and_flag_is_as_it_was(make_net, batch):
    net = make_net(dropout=0.5).train()
    net[1].eval()
    net[1].weight.requires_grad_(False)
    before = [part.training for part in net.modules()], [p.requires_grad for p in net.parameters()]
    loss_of(Adversarial(attack=PGD(ball=Linf(0.1), steps=2)), net, batch).backward()
    assert before == ([part.training for part in net.modules()], [p.requires_grad for p in net.parameters()])
    assert net[1].weight.grad is None
    assert net[1].bias.grad is not None


@pytest.mark.parametrize(
    ("warmup", "progress", "share"), [(0.2, 0.0, 0), (0.2, 0.1, 0.5), (0.2, 0.2, 1), (0.2, 0.9, 1), (0.0, 0.0, 1)]
)
def test_eps_grows_over_the_warm_up(make_net, batch, warmup, progress, share):
    net = Spy(make_net())
    loss_of(Adversarial(attack=PGD(ball=Linf(0.1), steps=4), warmup=warmup), net, batch, progress)
    points, _, _ = net.calls[-1]
    reach = (points - batch[0]).abs().amax()
    assert reach.item() == pytest.approx(0.1 * share, abs=1e-6)
    known = PGD(ball=Linf(0.1 * share), steps=4, keep=Keep.LAST)(Classifier(net.inner), *batch, noise=NOISE).x
    assert torch.allclose(points, known, atol=1e-6)


def test_points_stay_in_the_bounds(make_net, batch):
    for bounds in (Bounds(), Bounds(-1.0, 1.0)):
        net = Spy(make_net())
        inside = batch[0].clamp(0.02, 0.98)
        objective = Adversarial(attack=PGD(ball=Linf(0.1), steps=4), bounds=bounds)
        loss_of(objective, net, (inside, batch[1]))
        points = net.calls[-1][0]
        assert bounds.lower <= points.min() <= points.max() <= bounds.upper
        assert (points.min() < 0) == (bounds.lower < 0)


def test_noise_is_the_rows_own(make_net, batch):
    net, (x, y) = make_net(), batch
    found = []
    for rows in (torch.arange(60), torch.arange(60).flip(0)):
        objective = Adversarial(attack=PGD(ball=Linf(0.1), steps=0))
        found.append(objective.points(net, x[rows], y[rows], noise=NOISE.at(rows), progress=1.0, memory={}))
    assert torch.equal(found[0], found[1].flip(0))
    assert not torch.equal(found[0], x)


@pytest.mark.parametrize("warmup", [-0.1, 1.1, float("nan")])
def test_a_warm_up_outside_the_training_is_refused(warmup):
    with pytest.raises(SettingError, match=r"warmup=.* must lie in \[0, 1\]"):
        Adversarial(attack=PGD(ball=Linf(0.1)), warmup=warmup)


def test_a_radius_per_row_is_refused():
    with pytest.raises(SettingError, match="needs one eps"):
        Adversarial(attack=PGD(ball=Linf(torch.tensor([0.1, 0.2]))))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("attack", [APGD(ball=L2(0.5)), FGSM(ball=Linf(0.1)), "pgd", None, PGD])
def test_another_attack_is_refused(attack):
    with pytest.raises(SettingError, match="attack=.* must be PGD with its ball, or LSPGA or DGA"):
        Adversarial(attack=attack)


@pytest.mark.parametrize(
    ("ball", "error", "told"),
    [
        (L2(float("inf")), RadiusError, "eps=inf is for minimum-norm attacks"),
        (L0(3.0), ArgumentTypeError, "must be Linf, L2 or L1"),
    ],
    ids=str,
)
def test_a_ball_that_training_cannot_use_is_refused(ball, error, told):
    with pytest.raises(error, match=told):
        Adversarial(attack=PGD(ball=ball))
