import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn.functional import cross_entropy

from saddlepoint import L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import LBFGS
from saddlepoint.attacks._quasi_newton import Memory
from saddlepoint.attacks.lbfgs import escape
from saddlepoint.errors import SettingError
from saddlepoint.losses import margin
from saddlepoint.problem import Problem
from saddlepoint.testing import ConstantModel, LinearModel, contract
from saddlepoint.testing._subject import network

SMALL = {"steps": 8, "search_steps": 3, "memory": 2, "const": 0.3}
test_contract = contract(LBFGS(**SMALL))
test_contract_l2_finite = contract(LBFGS(ball=L2(0.3), **SMALL))


def linear(rows=40, features=20):
    generator = torch.Generator().manual_seed(1)
    module = LinearModel(torch.randn(2, features, generator=generator, dtype=torch.float64))
    x = torch.rand(rows, features, generator=generator, dtype=torch.float64)
    return module, x, module(x).argmax(1)


def net_and_rows(rows=20, features=12):
    """A net, and rows with some features at the edges of the box."""
    net, generator = network(features, torch.float64), torch.Generator().manual_seed(0)
    x = (1.4 * torch.rand(rows, features, generator=generator, dtype=torch.float64) - 0.2).clamp(0, 1)
    return (lambda v: 4 * net(v)), x, net(x).argmax(1)


@pytest.mark.parametrize("targeted", [False, True])
def test_it_finds_the_nearest_boundary_of_a_linear_model(targeted):
    module, x, y = linear()
    result = LBFGS()(Classifier(module), x, y, target=1 - y if targeted else None)
    ratio = result.distance / module.minimal_distance(x, y, L2)
    assert result.success.all()
    assert ratio.min() >= 1
    assert ratio.max() < 1.001
    assert result.forwards.double().mean() < 100


def minimised(attack, model, x, y, target=None):
    """The objective (n,) at the end of one minimisation with the attack's constant, and the looks it took."""
    problem = Problem.open(attack, model, x, y, target, Noise(), Limits())
    state, looks = attack.init(problem), 0
    value = x.new_full((len(x),), math.inf)
    for t in range(attack.length(problem)):
        state = attack.step(problem, state, problem.look(state.x), t)
        value = torch.where(state.round == 0, state.value, value)
        looks += int((state.round == 0).sum())
        if bool(state.done.all()):
            break
    return value, looks / len(x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("const", [0.03, 0.3, 3.0])
def test_at_a_fixed_constant_it_is_as_low_as_scipy(const, targeted):
    module, x, y = net_and_rows()
    target = (y + 1) % 4 if targeted else None

    def objective(row, flat):
        point = torch.from_numpy(flat)[None].requires_grad_()
        loss = escape(module(point), y[row : row + 1], target[row : row + 1] if targeted else None)
        value = (point - x[row]).square().sum() - const * loss.sum()
        (grad,) = torch.autograd.grad(value, point)
        return value.item(), grad.numpy().ravel()

    peers = [
        minimize(
            lambda v, row=row: objective(row, v), x[row].numpy(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 12
        )
        for row in range(len(x))
    ]
    wanted = torch.tensor([peer.fun for peer in peers])
    found, looks = minimised(LBFGS(search_steps=1, const=const), Classifier(module), x, y, target)
    assert (found <= 1.01 * wanted).double().mean() >= 0.95
    assert looks <= 2 * np.mean([peer.nfev for peer in peers])


def test_the_direction_is_that_of_the_dense_matrix():
    generator = torch.Generator().manual_seed(3)
    n, d, size = 6, 7, 3
    memory, pairs = Memory.empty(torch.zeros(n, d, dtype=torch.float64), size), [[] for _ in range(n)]
    for t in range(5):
        s, y = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
        rows = (torch.arange(n) + t) % 3 > 0
        memory = memory.with_pair(rows, s, y)
        for i in rows.nonzero().flatten():
            pairs[i] = [*pairs[i], (s[i], y[i])][-size:]
    forgotten = torch.arange(n) == 4
    memory, pairs[4] = memory.forget(forgotten), []
    grad = torch.randn(n, d, generator=generator, dtype=torch.float64)
    free = (torch.rand(n, d, generator=generator) < 0.7).double()
    found = memory.direction(grad, free, torch.full((n,), 0.5, dtype=torch.float64))
    used = 0
    for i in range(n):
        live, scale = free[i] > 0, 0.5
        kept = [(s[live], y[live]) for s, y in pairs[i] if s[live] @ y[live] > 1e-10 * y[live] @ y[live]]
        if kept:
            scale = kept[-1][0] @ kept[-1][1] / (kept[-1][1] @ kept[-1][1])
        inverse = scale * torch.eye(int(live.sum()), dtype=torch.float64)
        for s, y in kept:
            rho, eye = 1 / (s @ y), torch.eye(len(s), dtype=torch.float64)
            inverse = (eye - rho * torch.outer(s, y)) @ inverse @ (eye - rho * torch.outer(y, s)) + rho * torch.outer(
                s, s
            )
        wanted = -grad[i]
        wanted[live] = -inverse @ grad[i][live]
        torch.testing.assert_close(found[i], wanted)
        used += len(kept)
    assert used >= 5


def test_the_loss_is_the_log_probability_of_every_other_class():
    logits = 20 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, aim = torch.arange(50) % 4, (torch.arange(50) + 1) % 4
    other = logits.softmax(1).scatter(1, y[:, None], 0).sum(1)
    torch.testing.assert_close(escape(logits, y), other.log(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(escape(logits, y, aim), -cross_entropy(logits, aim, reduction="none"))
    torch.testing.assert_close(escape(logits[:, :2], y % 2), escape(logits[:, :2], y, 1 - y % 2))
    assert escape(torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([0])).isfinite().all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("targeted", [False, True])
def test_more_rounds_of_the_search_come_nearer(targeted):
    module, x, y = net_and_rows(rows=40)
    model, target = Classifier(module), (y + 1) % 4 if targeted else None
    result = LBFGS()(model, x, y, target=target)
    assert result.success.all()
    few = LBFGS(search_steps=5)(model, x, y, target=target)
    assert (result.distance <= few.distance + 1e-12).all()
    assert few.forwards.sum() < result.forwards.sum()


def test_a_margin_can_be_asked_for():
    module, x, y = linear()
    result = LBFGS(confidence=0.5)(Classifier(module), x, y)
    assert result.success.all()
    assert (margin(module(result.x), y) >= 0.5).all()
    assert (result.distance > LBFGS()(Classifier(module), x, y).distance).all()


@pytest.mark.usefixtures("unchecked")
def test_a_finite_radius_says_which_points_count():
    module, x, y = linear()
    least = module.minimal_distance(x, y, L2)
    eps = float(least.median())
    for keep in (Keep.MIN_DISTANCE, Keep.FIRST_SUCCESS):
        result = LBFGS(ball=L2(eps), keep=keep, steps=40, search_steps=7)(Classifier(module), x, y)
        assert (result.distance <= eps + 1e-6).all()
        clear = (least - eps).abs() > 0.01 * eps
        assert torch.equal(result.success[clear], least[clear] < eps)


@pytest.mark.usefixtures("unchecked")
def test_lengths_scale_with_the_box():
    module, x, y = net_and_rows()
    wide = Classifier(lambda v: module(v / 255), bounds=(0, 255))
    narrow, scaled = LBFGS()(Classifier(module), x, y), LBFGS()(wide, x * 255, y)
    torch.testing.assert_close(scaled.distance, narrow.distance * 255, rtol=1e-6, atol=0)


def test_rows_that_need_no_search_take_one_look():
    module, x, y = linear()
    model, constant = Classifier(module), Classifier(ConstantModel(torch.tensor([0.0, 1.0])))
    for result in (LBFGS()(model, x, 1 - y), LBFGS()(model, x, y, target=y), LBFGS()(constant, x, y * 0 + 1)):
        assert torch.equal(result.x, x)
        assert (result.distance == 0).all()
        assert (result.forwards == 1).all()
        assert result.success.all() or not result.success.any()


def test_a_model_that_nothing_fools_ends_the_search():
    module, x, y = linear()
    sure = LinearModel(1e-3 * module.weight, torch.tensor([1e3, 0.0], dtype=torch.float64))
    result = LBFGS(search_steps=40)(Classifier(sure), x, y * 0)
    assert not result.success.any()
    assert torch.equal(result.x, x)
    assert result.forwards.max() < 100  # the constant reaches its largest after 12 rounds


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": Linf(0.1)}, "give it L2"),
        ({"const": 0.0}, "const=0.0 must lie in"),
        ({"const": 1e10}, "only where the search starts"),
        ({"steps": 0}, "steps=0"),
        ({"search_steps": 0}, "search_steps=0"),
        ({"memory": 0}, "memory=0 must be >= 1"),
        ({"ftol": 1.0}, "ftol=1.0"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        LBFGS(**settings)
