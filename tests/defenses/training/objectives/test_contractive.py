"""Closed forms against autograd's Jacobian, layer by layer, and the objective that is left where the weight is 0."""

import gc
import weakref

import pytest
import torch
from all_objectives import NOISE, every, grads_of, loss_of, net_of, points_of, rows_of
from torch import nn
from torch.nn import functional

from saddlepoint.balls import Bounds, Linf
from saddlepoint.defenses.training import AWP, ContractivePenalty, Fast, Schedule, Standard, Trades, fit
from saddlepoint.errors import InputError, ModelError, SettingError

PLAIN = sorted(name for name in every(Linf(0.1)) if not name.startswith(("AWP", "ContractivePenalty")))


def penalty_of(net, x, **given):
    """The penalty alone, at weight 1."""
    y = torch.zeros(len(x), dtype=torch.int64)
    objective = ContractivePenalty(objective=Standard(), weight=1.0, **given)
    return objective.loss(net, x, x, y) - Standard().loss(net, x, x, y)


def by_autograd(stages, x, power=2):
    """Sum over stages of the mean over rows of |J|^power / outputs; a stage is one layer, or None for what has none."""
    total = 0.0
    for stage, counted in stages:
        if counted:
            norms = []
            for row in x:
                jacobian = torch.autograd.functional.jacobian(lambda v, stage=stage: stage(v[None])[0], row)
                norms.append(jacobian.square().sum().sqrt() ** power)
            total = total + torch.stack(norms).mean() / stage(x)[0].numel()
        x = stage(x).detach()
    return total


def parts(*layers):
    return nn.Sequential(*layers).double()


CONVOLUTIONS = {
    "plain": nn.Conv2d(2, 3, 3),
    "strided and padded": nn.Conv2d(2, 3, 4, stride=2, padding=1),
    "dilated": nn.Conv2d(2, 3, 3, dilation=2, padding=2),
    "groups": nn.Conv2d(2, 4, 3, padding=1, groups=2),
    "same": nn.Conv2d(2, 3, 3, padding="same", bias=False),
    "uneven": nn.Conv2d(2, 3, (1, 3), stride=(2, 1), padding=(0, 2)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("phi", [nn.ReLU(), nn.Tanh()], ids=str)
@pytest.mark.parametrize("squared", [True, False])
def test_convolutions_have_the_norm_of_autograds_jacobian(name, phi, squared):
    torch.manual_seed(0)
    x = torch.randn(3, 2, 7, 6, dtype=torch.float64)
    conv = CONVOLUTIONS[name].double()
    net = parts(conv, phi, nn.Flatten(), nn.Linear(conv(x)[0].numel(), 3))
    stages = [(net[:2], True), (net[2], False), (net[3], True)]
    assert torch.allclose(penalty_of(net, x, squared=squared), by_autograd(stages, x, 2 if squared else 1))


ACTIVATIONS = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.2), nn.ELU(), nn.GELU(), nn.SiLU(),
    nn.Softplus(), nn.Identity(), nn.PReLU(dtype=torch.float64), nn.PReLU(6, dtype=torch.float64), nn.Threshold(0.1, 0),
    nn.ReLU6(), nn.SELU(), nn.CELU(), nn.Hardtanh(), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardshrink(), nn.Softshrink(),
    nn.Tanhshrink(), nn.Mish(), nn.Softsign(), nn.LogSigmoid(), nn.RReLU(0.2, 0.2),
]  # fmt: skip


@pytest.mark.parametrize("phi", ACTIVATIONS, ids=str)
def test_dense_layers_and_every_activation(phi):
    torch.manual_seed(0)
    x = torch.randn(4, 5, dtype=torch.float64)
    net = parts(nn.Linear(5, 6), phi, nn.Linear(6, 6), phi, nn.Linear(6, 2))
    assert torch.allclose(penalty_of(net, x), by_autograd([(net[:2], True), (net[2:4], True), (net[4], True)], x))


def test_other_ranks():
    torch.manual_seed(0)
    for conv, shape in ((nn.Conv1d(2, 3, 3, 2, 1), (2, 7)), (nn.Conv3d(1, 2, 2, 1, 1), (1, 3, 2, 3))):
        x = torch.randn(2, *shape, dtype=torch.float64)
        net = parts(conv.double(), nn.ReLU(), nn.Flatten(), nn.Linear(conv(x)[0].numel(), 2))
        stages = [(net[:2], True), (net[2], False), (net[3], True)]
        assert torch.allclose(penalty_of(net, x), by_autograd(stages, x))


class Functional(nn.Module):
    """Functions in place of modules, a sum, pooling and padding of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(4 * 9, 3)

    def hidden(self, x):
        return torch.relu(self.bn(self.conv(functional.pad(x, (1, 1, 1, 1)))))

    def forward(self, x):
        return self.fc(functional.max_pool2d(self.hidden(x), 2).flatten(1))


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_is_folded_with_its_running_statistics(training):
    torch.manual_seed(0)
    net, x = Functional().double(), torch.randn(3, 2, 6, 6, dtype=torch.float64)
    nn.init.normal_(net.bn.weight)
    net.bn.running_var.uniform_(0.5, 2.0)
    net.bn.running_mean.normal_()
    net.bn.momentum = 0.0  # the statistics stay
    net.train(training)
    found = penalty_of(net, x)
    kept = net.hidden(x) > 0  # in training mode the slopes are those of the pass itself
    scale = net.bn.weight / (net.bn.running_var + net.bn.eps).sqrt()
    jacobian = torch.autograd.functional.jacobian(
        lambda v: net.conv(functional.pad(v[None], (1, 1, 1, 1)))[0], x[0]
    )  # linear, so the same for every row
    rows = jacobian.square().sum((3, 4, 5)) * scale.square()[:, None, None]
    known = (kept * rows).flatten(1).sum(1).mean() / kept[0].numel() + net.fc.weight.square().sum() / 3
    assert torch.allclose(found, known)
    found.backward()
    assert net.bn.weight.grad.abs().sum() > 0


def test_its_gradient_is_that_of_the_closed_form():
    torch.manual_seed(0)
    net, x = parts(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(5, 3, dtype=torch.float64)

    def penalty(first, bias, second):
        slope = 1 - (x @ first.T + bias).tanh().square()
        return (slope.square() @ first.square().sum(1)).mean() / 4 + second.square().sum() / 2

    weights = (net[0].weight, net[0].bias, net[2].weight)
    known = torch.autograd.grad(penalty(*weights), weights)
    found = torch.autograd.grad(penalty_of(net, x), weights)
    assert all(torch.allclose(*pair) for pair in zip(found, known, strict=True))


@pytest.mark.parametrize("name", PLAIN)
def test_without_weight_it_is_the_objective_bit_for_bit(name):
    x, y = rows_of()
    nets = [net_of(dropout=0.0).train() for _ in range(2)]
    objective = every(Linf(0.1))[name]
    losses = [
        loss_of(ContractivePenalty(objective=objective, weight=0.0), nets[0], x, y),
        loss_of(objective, nets[1], x, y),
    ]
    assert torch.equal(*losses)
    for one, two in zip(grads_of(losses[0], nets[0]), grads_of(losses[1], nets[1]), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", PLAIN)
def test_around_any_objective_it_adds_the_mean_over_its_passes(name):
    x, y = rows_of(dtype=torch.float64)
    net, teacher = net_of(dropout=0.0, dtype=torch.float64).eval(), net_of(dtype=torch.float64, seed=5)
    objective = every(Linf(0.1), teacher=teacher)[name]
    wrapped = ContractivePenalty(objective=objective, weight=1.0)
    points = points_of(wrapped, net, x, y)
    added = (wrapped.loss(net, x, points, y) - objective.loss(net, x, points, y)).item()
    ends = sorted(penalty_of(net, each.detach()).item() for each in (x, points))
    assert ends[0] - 1e-9 <= added <= ends[1] + 1e-9
    assert wrapped.replays == objective.replays


def test_two_passes_are_averaged():
    x, y = rows_of(dtype=torch.float64)
    net = net_of(dropout=0.0, dtype=torch.float64).eval()
    objective = Trades(ball=Linf(0.1), steps=1)
    points = points_of(objective, net, x, y)
    both = ContractivePenalty(objective=objective, weight=1.0).loss(net, x, points, y)
    known = objective.loss(net, x, points, y) + (penalty_of(net, x) + penalty_of(net, points)) / 2
    assert torch.allclose(both, known)


@pytest.mark.parametrize("name", PLAIN)
def test_noise_stands_in_place_of_the_inputs_of_any_objective(name):
    x, y = rows_of(dtype=torch.float64)
    nets = [net_of(dropout=0.0, dtype=torch.float64).eval() for _ in range(3)]
    objective = every(Linf(0.1), teacher=net_of(dtype=torch.float64, seed=5))[name]
    noisy = (x + 0.2 * NOISE.at(torch.arange(len(x))).child("contractive").normal(x)).clamp(0, 1)
    found = loss_of(ContractivePenalty(objective=objective, weight=0.3, sigma=0.2), nets[0], x, y)
    known = loss_of(ContractivePenalty(objective=objective, weight=0.3), nets[1], noisy, y)
    assert torch.equal(found, known)
    assert not torch.equal(found, loss_of(ContractivePenalty(objective=objective, weight=0.3), nets[2], x, y))


def test_noise_has_its_size_stays_in_the_box_and_goes_by_row():
    x, y = torch.full((400, 1, 6, 6), 0.5), torch.zeros(400, dtype=torch.int64)
    net = net_of()
    objective = ContractivePenalty(objective=Standard(), sigma=0.1)
    points = points_of(objective, net, x, y)
    assert (points - x).std().item() == pytest.approx(0.1, rel=0.03)
    assert torch.equal(points_of(objective, net, x[5:8], y[5:8], rows=torch.arange(5, 8)), points[5:8])
    wide = points_of(ContractivePenalty(objective=Standard(), sigma=1.0, bounds=Bounds(-1, 0.75)), net, x, y)
    assert (wide.min().item(), wide.max().item()) == (-1.0, 0.75)
    assert torch.equal(x, torch.full_like(x, 0.5))


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("outer", [False, True])
def test_the_weight_grows_over_the_warm_up(progress, share, outer):
    x, y = rows_of(dtype=torch.float64)
    losses = []
    for given in ({"weight": 0.5, "warmup": 0.4}, {"weight": 0.5 * share}):
        objective = ContractivePenalty(objective=Trades(ball=Linf(0.1), steps=1), **given)
        net = net_of(dropout=0.0, dtype=torch.float64).eval()
        losses.append(loss_of(AWP(objective=objective) if outer else objective, net, x, y, progress=progress))
    assert torch.allclose(*losses, rtol=1e-12)


def test_the_warm_up_begins_without_a_penalty_that_is_not_finite():
    x, y = rows_of()
    net = net_of().eval()
    with torch.no_grad():
        net[1].weight.fill_(1e20)  # whose square is infinite
    objective = ContractivePenalty(objective=Standard(), warmup=0.5)
    assert loss_of(objective, net, x, y, progress=0.0).isfinite()
    assert not loss_of(objective, net, x, y, progress=0.1).isfinite()


@pytest.mark.parametrize("given", [{"sigma": 0.1}, {"warmup": 0.5}])
def test_what_goes_along_with_points_ends_with_them(given):
    x, y = rows_of()
    objective = ContractivePenalty(objective=Standard(), **given)
    points = points_of(objective, net_of(), x, y)
    with pytest.raises(InputError, match="give loss the tensor that points returned"):
        objective.loss(net_of(), x, points.clone(), y)
    alive = weakref.ref(points)
    del points, x
    gc.collect()
    assert alive() is None


def test_training_with_it_contracts(batch, make_net):
    x, y = batch
    found = []
    for weight in (0.0, 0.05):
        net = make_net()
        fit(net, x, y, ContractivePenalty(objective=Standard(), weight=weight), Schedule(epochs=20, batch_size=30))
        v = x.clone().requires_grad_()
        found.append(torch.autograd.grad(net(v)[:, 0].sum(), v)[0].flatten(1).norm(dim=1).mean().item())
    assert found[1] < 0.9 * found[0]


def test_what_has_no_closed_form_is_refused():
    x, y = rows_of(shape=(2, 6, 6))
    objective = ContractivePenalty(objective=Standard())
    for net, message in (
        (nn.Sequential(nn.Flatten()), "has no dense layer or convolution"),
        (
            nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Flatten()),
            "padding by 'circular' has no closed form",
        ),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ELU(inplace=True), nn.Flatten()), "elu changes its input in place"),
        (
            nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()),
            "without running statistics",
        ),
    ):
        with pytest.raises(ModelError, match=message):
            objective.loss(net, x, x, y)
    with pytest.raises(SettingError, match="put AWP around the penalty"):
        ContractivePenalty(objective=AWP(objective=Standard()))
    with pytest.raises(SettingError, match="and the penalty once"):
        ContractivePenalty(objective=objective)
    with pytest.raises(SettingError, match="weight=-1.0 must be a finite number >= 0"):
        ContractivePenalty(objective=Standard(), weight=-1.0)
    with pytest.raises(SettingError, match="sigma=-0.1 must be a finite number >= 0"):
        ContractivePenalty(objective=Standard(), sigma=-0.1)
    with pytest.raises(SettingError, match=r"warmup=1.5 must lie in \[0, 1\]: the share of training"):
        ContractivePenalty(objective=Standard(), warmup=1.5)
    with pytest.raises(SettingError, match="differ from the objective's, .*; give the penalty the same"):
        ContractivePenalty(objective=Fast(ball=Linf(0.1), bounds=Bounds(-1, 1)))
    assert isinstance(AWP(objective=objective).objective, ContractivePenalty)
