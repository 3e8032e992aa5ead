import gc
import weakref

import pytest
import torch
from all_objectives import net_of, points_of, rows_of, twin
from torch.nn import functional

from saddlepoint.balls import L2, Bounds, Linf
from saddlepoint.defenses.training import Free, Schedule, fit
from saddlepoint.errors import SettingError


@pytest.fixture
def net():
    return net_of(dropout=0.0, dtype=torch.float64).eval()


def slope(net, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(functional.cross_entropy(net(x), y), x)[0]


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)], ids=str)
def test_one_replay_is_one_step_on_x_plus_what_is_kept(net, ball):
    x, y = rows_of(dtype=torch.float64)
    other, memory, delta = twin(net), {}, torch.zeros_like(x)
    objective = Free(ball=ball, replays=1)
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.5) for one in (net, other)]
    for seed in (1, 2, 3):
        x, y = rows_of(dtype=torch.float64, seed=seed)
        points = points_of(objective, net, x, y, memory=memory)
        loss = objective.loss(net, x, points, y)
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()

        start = ball.project(x + delta, x, Bounds())
        assert torch.allclose(points.detach(), start, atol=1e-12)
        delta = ball.project(start + ball.eps * ball.steepest_step(slope(other, start, y)), x, Bounds()) - x
        optimizers[1].zero_grad()
        functional.cross_entropy(other(start), y).backward()
        optimizers[1].step()
        assert torch.allclose(memory["delta"], delta, atol=1e-12)
        for one, two in zip(net.parameters(), other.parameters(), strict=True):
            assert torch.allclose(one, two, atol=1e-12)
    assert delta.abs().amax() > 0


def test_the_first_step_is_that_of_standard_training(net):
    x, y = rows_of(dtype=torch.float64)
    assert torch.equal(points_of(Free(ball=Linf(0.1)), net, x, y).detach(), x)


def test_a_smaller_batch_takes_and_moves_the_first_rows_only(net):
    memory, objective = {}, Free(ball=Linf(0.1))
    for n in (8, 5):
        before = memory.get("delta")
        x, y = rows_of(n, dtype=torch.float64, seed=n)
        points = points_of(objective, net, x, y, memory=memory)
        objective.loss(net, x, points, y).backward()
    assert torch.equal(memory["delta"][5:], before[5:])
    assert not torch.equal(memory["delta"][:5], before[:5])
    assert memory["delta"].shape == (8, 1, 6, 6)


def test_without_a_backward_pass_nothing_is_kept(net):
    memory, objective = {}, Free(ball=Linf(0.1))
    x, y = rows_of(dtype=torch.float64)
    objective.loss(net, x, points_of(objective, net, x, y, memory=memory), y)
    assert not memory


def test_points_are_freed_at_once(net):
    x, y = rows_of(dtype=torch.float64)
    gc.collect()
    gc.disable()
    try:
        objective = Free(ball=Linf(0.1))
        points = points_of(objective, net, x, y)
        objective.loss(net, x, points, y).backward()
        gone = weakref.ref(points)
        del points
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("replays", [1, 3])
def test_each_batch_is_trained_on_as_often_as_it_says(make_net, batch, replays):
    net, seen = make_net(), []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    told, steps = [], []
    schedule = Schedule(epochs=2, batch_size=25)
    objective = Free(ball=Linf(0.05), replays=replays)
    record = fit(net, *batch, objective, schedule, watch=lambda done, total: (told.append(total), steps.append(done)))
    assert len(seen.pop(0)) == 2, "the look before the first step"
    assert [len(x) for x in seen] == [size for _ in range(2) for size in (25, 25, 10) for _ in range(replays)]
    assert steps == list(range(1, 6 * replays + 1))
    assert set(told) == {6 * replays}
    assert len(record.epochs) == 2
    for first in range(0, len(seen), replays):
        for i in range(1, replays):  # the same rows, by ever other perturbations
            assert 0 < (seen[first + i] - seen[first]).abs().amax() <= 0.1 + 1e-6


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("replays", [0, -1, 2.0, True])
def test_replays_that_cannot_be_counted_are_refused(replays):
    with pytest.raises(SettingError, match=f"replays={replays} must be an integer >= 1"):
        Free(ball=Linf(0.1), replays=replays)
