import math

import pytest
import torch

from saddlepoint import L0, L1, L2, Bounds, Classifier, Keep, Linf
from saddlepoint.attacks import FMN
from saddlepoint.errors import SettingError
from saddlepoint.losses import margin
from saddlepoint.testing import ConstantModel, LinearModel, contract
from saddlepoint.testing._subject import network

BALLS = [L0, L1, L2, Linf]
test_contract = contract(FMN(steps=20), within=1.05)
test_contract_linf = contract(FMN(ball=Linf(math.inf), steps=30), within=1.05)
test_contract_l1 = contract(FMN(ball=L1(math.inf), steps=8))
test_contract_l0 = contract(
    FMN(ball=L0(math.inf), steps=8),
    skip={"nan_inside_ball": "its radius of 0.4 is less than one feature, so that no point around the input is seen"},
)


def linear(rows=40, features=20, classes=5):
    generator = torch.Generator().manual_seed(1)
    module = LinearModel(torch.randn(classes, features, generator=generator, dtype=torch.float64))
    x = torch.rand(rows, features, generator=generator, dtype=torch.float64)
    return module, x, module(x).argmax(1)


def least_sum(module, x, y):
    """The least L1 and the least L0 distance to a tie: features in the order of their slope, and of their gain."""
    sums, counts = [], []
    for j in range(len(module.weight)):
        slope = module.weight[j] - module.weight[y]
        gap = -(slope * x).sum(1)
        room = torch.where(slope > 0, 1 - x, x)
        order = slope.abs().argsort(1, descending=True)
        size, wide = slope.abs().gather(1, order), room.gather(1, order)
        before = (size * wide).cumsum(1) - size * wide
        step = ((gap[:, None] - before) / size).clamp_min(0).minimum(wide)
        sums.append(torch.where((y == j) | ((size * wide).sum(1) < gap), math.inf, step.sum(1)))
        gain = (slope.abs() * room).sort(1, descending=True).values.cumsum(1)
        counts.append(torch.where(y == j, math.inf, 1 + (gain < gap[:, None]).sum(1).double()))
    return torch.stack(sums).amin(0), torch.stack(counts).amin(0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("ball", [L2, Linf])
def test_it_finds_the_nearest_boundary_of_a_linear_model(ball):
    module, x, y = linear()
    result = FMN(ball=ball(math.inf), steps=200)(Classifier(module), x, y)
    ratio = result.distance / module.minimal_distance(x, y, ball)
    assert result.success.all()
    assert ratio.min() >= 1
    assert ratio.median() < 1.0001
    assert ratio.max() < 1.02


@pytest.mark.usefixtures("unchecked")
def test_it_comes_near_the_least_sum_and_number_of_changes():
    module, x, y = linear()
    sums, counts = least_sum(module, x, y)
    dense = FMN(ball=L1(math.inf), steps=200)(Classifier(module), x, y)
    ratio = dense.distance / sums
    assert ratio.min() >= 1 - 1e-12
    assert ratio.median() < 1.0001
    assert ratio.quantile(0.9) < 1.02
    sparse = FMN(ball=L0(math.inf), steps=100)(Classifier(module), x, y)
    assert (sparse.distance >= counts).all()
    assert (sparse.distance == counts).double().mean() > 0.85
    assert (sparse.distance <= counts + 1).all()


def nearest(ball, delta):
    """The nearest point of the ball for perturbations that the box does not stop."""
    size, sign = delta.abs(), delta.sign()
    if ball.norm == "linf":
        return sign * size.minimum(ball.eps[:, None])
    if ball.norm == "l2":
        return delta * (ball.eps / size.norm(dim=1)).clamp_max(1)[:, None]
    low, high = torch.zeros_like(size[:, :1]), size.amax(1, keepdim=True)
    for _ in range(100):
        level = (low + high) / 2
        over = (size - level).clamp_min(0).sum(1, keepdim=True) > ball.eps[:, None]
        low, high = torch.where(over, level, low), torch.where(over, high, level)
    return sign * (size - torch.where(size.sum(1, keepdim=True) > ball.eps[:, None], high, 0)).clamp_min(0)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("ball", "order", "dual"), [(L1, 1, math.inf), (L2, 2, 2), (Linf, math.inf, 1)])
def test_algorithm_1_by_hand(ball, order, dual, targeted):
    # In a box so wide that it never stops a feature, where projecting onto ball and box is projecting onto the ball.
    net, bounds, steps = network(12, torch.float64), Bounds(-50, 50), 25
    x = 4 * torch.rand(30, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 2
    y = net(x).argmax(1)
    target = (y + 1) % 4 if targeted else None
    delta, eps, best = torch.zeros_like(x), x.new_full((30,), math.inf), x.new_full((30,), math.inf)
    for t in range(steps + 1):
        leaf = (x + delta).requires_grad_()
        loss = margin(net(leaf), y, target)
        (grad,) = torch.autograd.grad(loss.sum(), leaf)
        hit, loss, far = loss > 0, loss.detach(), delta.norm(order, dim=1)
        best = torch.where(hit, far.minimum(best), best)
        gamma = 0.001 + 0.049 * (1 + math.cos(math.pi * t / steps)) / 2
        grown = torch.where(best < math.inf, eps, far + loss.abs() / grad.norm(dual, dim=1)) * (1 + gamma)
        eps = torch.where(hit, eps.minimum(best) * (1 - gamma), grown)
        alpha = 0.01 + 0.99 * (1 + math.cos(math.pi * t / steps)) / 2
        delta = nearest(ball(eps), delta + alpha * grad / grad.norm(dim=1, keepdim=True))
    result = FMN(ball=ball(math.inf), steps=steps, step_size=1.0)(Classifier(net, bounds=bounds), x, y, target=target)
    found = best < math.inf
    assert found.double().mean() > 0.9
    assert torch.equal(result.success, found)
    torch.testing.assert_close(result.distance[found], best[found], rtol=1e-6, atol=0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("ball", BALLS)
def test_targets_and_finite_radii(ball):
    module, x, y = linear()
    model, target = Classifier(module), (y + 1) % 5
    free = FMN(ball=ball(math.inf), steps=60)(model, x, y, target=target)
    assert free.success.double().mean() > 0.9
    assert torch.equal(model.predict(free.x) == target, free.success)
    eps = float(free.distance.median())
    for keep in (Keep.MIN_DISTANCE, Keep.FIRST_SUCCESS):
        held = FMN(ball=ball(eps), steps=60, keep=keep)(model, x, y, target=target)
        assert (held.distance <= eps + 1e-6).all()
        assert held.success[free.distance < 0.8 * eps].all()
        assert not held.success.all()


@pytest.mark.parametrize("ball", BALLS)
def test_a_margin_can_be_asked_for(ball):
    module, x, y = linear()
    result = FMN(ball=ball(math.inf), steps=60, confidence=0.5)(Classifier(module), x, y)
    assert result.success.double().mean() > 0.9
    assert (margin(module(result.x), y)[result.success] >= 0.5).all()


@pytest.mark.parametrize("ball", BALLS)
def test_rows_that_need_no_search_take_one_look(ball):
    module, x, y = linear()
    model, attack = Classifier(module), FMN(ball=ball(math.inf))
    constant = Classifier(ConstantModel(torch.tensor([0.0, 1.0])))
    for result in (attack(model, x, (y + 1) % 5), attack(model, x, y, target=y), attack(constant, x, y * 0 + 1)):
        assert torch.equal(result.x, x)
        assert (result.distance == 0).all()
        assert (result.forwards == 1).all()
        assert result.success.all() or not result.success.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": -0.1}, "gamma=-0.1 must lie in"),
        ({"last_gamma": 1.0}, "last_gamma=1.0 must lie in"),
        ({"steps": -1}, "steps=-1"),
        ({"step_size": math.inf}, "step_size=inf"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        FMN(**settings)
