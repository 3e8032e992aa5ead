import pytest
import torch
from all_objectives import every, grads_of, loss_of, net_of, points_of, rows_of, twin
from torch.nn import functional

from saddlepoint.balls import L2, Linf
from saddlepoint.defenses.training import AWP, Free, Schedule, Standard, fit
from saddlepoint.errors import InputError, SettingError

INNER = sorted(name for name in every(Linf(0.1)) if not name.startswith("AWP"))


def inner(name):
    return every(Linf(0.1))[name]


def by_hand(objective, net, x, points, y, gamma):
    """The gradient at w + v, with v put into the weights of a copy of the net; and the buffers after that one pass."""
    proxy = twin(net)
    weights = [parameter for parameter in proxy.parameters() if parameter.dim() > 1]
    slopes = torch.autograd.grad(objective.loss(proxy, x, points if points is x else points.detach(), y), weights)
    there = twin(net)
    with torch.no_grad():
        moved = [parameter for parameter in there.parameters() if parameter.dim() > 1]
        for weight, slope in zip(moved, slopes, strict=True):
            weight += gamma * weight.norm() * slope / slope.norm()
    loss = objective.loss(there, x, points, y)
    return loss, grads_of(loss, there), dict(there.named_buffers())


@pytest.mark.parametrize("name", INNER)
def test_the_gradient_is_that_at_w_plus_v_and_w_does_not_move(name):
    x, y = rows_of(dtype=torch.float64)
    net = net_of(dropout=0.0, dtype=torch.float64).train()
    teacher = net_of(dtype=torch.float64, seed=5)
    objective = every(Linf(0.1), teacher=teacher)[name]
    wrapped = AWP(objective=objective, gamma=0.05)
    points = points_of(wrapped, net, x, y)
    assert torch.equal(points.detach(), points_of(objective, net, x, y).detach())  # found at w
    before = [parameter.clone() for parameter in net.parameters()]
    known, slopes, buffers = by_hand(objective, net, x, points, y, 0.05)
    loss = wrapped.loss(net, x, points, y)
    assert loss.item() == pytest.approx(known.item(), rel=1e-12)
    loss.backward()
    for parameter, was, slope in zip(net.parameters(), before, slopes, strict=True):
        assert torch.equal(parameter, was)
        assert torch.allclose(parameter.grad, slope, atol=1e-12)
    for key, buffer in net.named_buffers():  # those of the pass at w + v alone
        assert torch.allclose(buffer, buffers[key], atol=1e-12)
    plain = objective.loss(twin(net), x, points, y)
    assert abs(plain.item() - known.item()) > 1e-4


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("given", [{"gamma": 0.0}, {"warmup": 0.5}], ids=str)
def test_without_gamma_and_in_the_warm_up_it_is_the_objective_bit_for_bit(name, given):
    x, y = rows_of()
    nets = [net_of(dropout=0.0).train() for _ in range(2)]
    objective = inner(name)
    losses = [
        loss_of(AWP(objective=objective, **given), nets[0], x, y, progress=0.4),
        loss_of(objective, nets[1], x, y, progress=0.4),
    ]
    assert torch.equal(*losses)
    for one, two in zip(grads_of(losses[0], nets[0]), grads_of(losses[1], nets[1]), strict=True):
        assert torch.equal(one, two)
    for one, two in zip(nets[0].buffers(), nets[1].buffers(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("warmup", "progress", "on"), [(0.5, 0.49, False), (0.5, 0.5, True), (0.0, 0.0, True), (1.0, 0.99, False)]
)
def test_it_begins_after_the_warm_up(warmup, progress, on):
    x, y = rows_of()
    net = net_of(dropout=0.0).eval()
    loss = loss_of(AWP(objective=Standard(), gamma=0.05, warmup=warmup), net, x, y, progress=progress)
    assert (loss > loss_of(Standard(), net, x, y) + 1e-4) == on


def test_the_warm_up_holds_in_a_training(make_net, batch):
    first = []
    for objective in (
        Standard(),
        AWP(objective=Standard(), gamma=0.1, warmup=0.5),
        AWP(objective=Standard(), gamma=0.1),
    ):
        means = [epoch.loss for epoch in fit(make_net(), *batch, objective, Schedule(epochs=2, batch_size=30)).epochs]
        first.append(means)
    assert first[0][0] == first[1][0] < first[2][0]
    assert first[0][1] < first[1][1]


def test_points_of_somebody_else_are_refused_where_the_warm_up_must_be_known():
    x, y = rows_of()
    with pytest.raises(InputError, match="AWP with a warm-up does not know these points"):
        AWP(objective=Standard(), warmup=0.5).loss(net_of(), x, x.clone(), y)


def test_biases_and_what_is_frozen_stay():
    x, y = rows_of(dtype=torch.float64)
    net = net_of(dropout=0.0, dtype=torch.float64).eval()
    net[1].weight.requires_grad_(False)
    loss = loss_of(AWP(objective=Standard(), gamma=0.05), net, x, y)
    slope = torch.autograd.grad(functional.cross_entropy(net(x), y), net[5].weight)[0]
    there = twin(net)
    with torch.no_grad():
        there[5].weight += 0.05 * there[5].weight.norm() * slope / slope.norm()
    assert loss.item() == pytest.approx(functional.cross_entropy(there(x), y).item(), rel=1e-12)


def test_the_perturbation_of_free_training_moves_once_by_the_gradient_at_w_plus_v():
    x, y = rows_of(dtype=torch.float64)
    net = net_of(dropout=0.0, dtype=torch.float64).eval()
    memory, objective = {}, Free(ball=L2(0.5))
    points = points_of(AWP(objective=objective, gamma=0.1), net, x, y, memory=memory)
    loss = AWP(objective=objective, gamma=0.1).loss(net, x, points, y)
    assert not memory  # the pass that looks for v leaves it alone
    loss.backward()
    slope = points.grad
    known = L2(0.5).project(x + 0.5 * L2(0.5).steepest_step(slope), x, objective.bounds) - x
    assert torch.allclose(memory["delta"], known, atol=1e-12)
    plain = x.clone().requires_grad_()
    functional.cross_entropy(net(plain), y).backward()
    assert not torch.allclose(plain.grad, slope, atol=1e-5)


def test_a_weight_used_twice_is_one_weight():
    x, y = rows_of(shape=(3,), dtype=torch.float64)
    net = net_of((3,), 3, dropout=0.0, dtype=torch.float64).eval()
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3)).double()
    tied[2].weight = tied[0].weight
    for one in (net, tied):
        objective = AWP(objective=Standard(), gamma=0.05)
        known, slopes, _ = by_hand(Standard(), one, x, x, y, 0.05)
        loss = loss_of(objective, one, x, y)
        assert loss.item() == pytest.approx(known.item(), rel=1e-12)
        assert all(torch.allclose(a, b) for a, b in zip(grads_of(loss, one), slopes, strict=True))


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(SettingError, match="the objective is AWP itself"):
        AWP(objective=AWP(objective=Standard()))
    with pytest.raises(SettingError, match="gamma=-0.1 must be a finite number >= 0"):
        AWP(objective=Standard(), gamma=-0.1)
    with pytest.raises(SettingError, match=r"warmup=2.0 must lie in \[0, 1\]: the share of training before weights"):
        AWP(objective=Standard(), warmup=2.0)
