import math

import pytest
import torch

from saddlepoint import L0, L1, L2, Bounds, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import APGD, EachTarget
from saddlepoint.attacks._halving import Halving, higher, since_checkpoint
from saddlepoint.attacks._sparse import Thinning, sparse_step
from saddlepoint.errors import SettingError
from saddlepoint.losses import cross_entropy, difference_of_logits_ratio, margin
from saddlepoint.problem import Problem
from saddlepoint.testing import ConstantModel, LinearModel, contract
from saddlepoint.testing._subject import network

DLR = difference_of_logits_ratio
test_contract = contract(APGD(ball=Linf(0.1), steps=6), within=1 - 1e-6)
test_contract_l2 = contract(APGD(ball=L2(0.4), steps=8, loss=DLR), within=0.95)
test_contract_l1 = contract(APGD(ball=L1(1.0), steps=25), within=0.85)
test_contract_l1_wide = contract(APGD(ball=L1(0.13), steps=6, wide_start=True, loss=DLR))


def linear(rows=50, features=20):
    weight = Noise(1).normal(torch.empty(2, features, dtype=torch.float64))
    weight[:, -1] = 1.0
    module = LinearModel(weight, -weight.sum(1) / 2)
    x = (Noise(2).uniform(torch.empty(rows, features, dtype=torch.float64)) * 1.4 - 0.2).clamp(0, 1)
    return Classifier(module), x, module(x).argmax(1)


def smooth(rows=30, features=12, classes=5):
    net = network(features, torch.float64, classes=classes)
    x = Noise(3).uniform(torch.empty(rows, features, dtype=torch.float64))
    return Classifier(net), x, net(x).argmax(1).detach()


def walked(attack, model, x, y):
    """Every state of a run, and what was seen there."""
    problem = Problem.open(attack, model, x, y, None, Noise(0), Limits(shrink_at=0))
    state, states = attack.init(problem), []
    for t in range(attack.length(problem)):
        seen = problem.look(state.x, free=state.roams)
        states.append((state, seen))
        state = attack.step(problem, state, seen, t)
    return problem, [*states, (state, problem.look(state.x, free=state.roams))]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("ball", "atol"),
    [(Linf(0.05), 1e-6), (Linf(0.9), 1e-6), (L2(0.1), 1e-4), (L2(0.7), 1e-4), (L2(2.0), 1e-4), (L1(0.02), 1e-2)],
    ids=str,
)
@pytest.mark.parametrize("loss", [margin, cross_entropy, DLR])
def test_the_analytic_optimum_over_ball_and_box_is_reached(ball, atol, loss):
    model, x, y = linear()
    result = APGD(ball=ball, loss=loss)(model, x, y)
    found = margin(model.module(result.x).detach(), y)
    torch.testing.assert_close(found, model.module.optimum(x, y, ball).margin, rtol=0, atol=atol)
    assert (ball.distance(result.x, x) <= ball.eps + 1e-9).all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("eps", [0.3, 2.0, 7.0])
def test_l1_comes_near_the_analytic_optimum(eps, wide):
    model, x, y = linear()
    result = APGD(ball=L1(eps), loss=margin, wide_start=wide)(model, x, y)
    clean = margin(model.module(x).detach(), y)
    share = (result.loss - clean) / (model.module.optimum(x, y, L1(eps)).margin - clean)
    assert share.median() > 0.99
    assert share.min() > 0.94
    assert (result.distance <= eps + 1e-9).all()


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.5), L1(1.0)], ids=str)
def test_the_best_loss_never_falls_and_is_that_of_the_best_point(ball):
    model, x, y = smooth()
    _, states = walked(APGD(ball=ball, steps=50), model, x, y)
    best = torch.stack([state.peak.loss for state, _ in states[1:]])
    assert (best.diff(dim=0) >= 0).all()
    assert (best[-1] > best[0]).any()
    seen = torch.stack([seen.loss for _, seen in states[:-1]])
    torch.testing.assert_close(best[-1], seen.amax(0))
    torch.testing.assert_close(cross_entropy(model.logits(states[-1][0].peak.x), y).detach(), best[-1])


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.5)], ids=str)
def test_algorithm_1_by_hand(ball):
    """The paper's algorithm, a row at a time, in a box that stops nothing; the start is that of the attack."""
    net = network(12, torch.float64)
    model, steps = Classifier(net, bounds=Bounds(-50, 50)), 40
    x0 = Noise(3).uniform(torch.empty(8, 12, dtype=torch.float64))
    y = net(x0).argmax(1).detach()
    _, states = walked(APGD(ball=ball, steps=steps), model, x0, y)
    marks = [9, 17, 23, 28, 32, 35, 38, 40]  # ceil(.22 N), ceil(.41 N), ...
    for i in range(8):
        path = by_hand(net, ball, states[0][0].x[i], x0[i], y[i : i + 1], steps, marks)
        found = torch.stack([state.x[i] for state, _ in states])
        torch.testing.assert_close(found, torch.stack(path), rtol=0, atol=1e-6)


def by_hand(net, ball, x, x0, y, steps, marks):
    """x_0, x_1, ... of one row."""

    def value(at):
        leaf = at.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(net(leaf[None]), y)
        return loss.item(), torch.autograd.grad(loss, leaf)[0]

    def project(at):
        delta = at - x0
        if ball.norm == "linf":
            return x0 + delta.clamp(-ball.eps, ball.eps)
        return x0 + delta * min(1, ball.eps / delta.norm().item())

    size, path, before = 2 * ball.eps, [x], x
    loss, grad = value(x)
    best, losses, tops = (loss, x, grad), [loss], [loss]
    last_mark, halved = 0, False
    for k in range(steps):
        direction = grad.sign() if ball.norm == "linf" else grad / grad.norm()
        z = project(x + size * direction)
        after = z if k == 0 else project(x + 0.75 * (z - x) + 0.25 * (x - before))
        before, x = x, after
        path.append(x)
        loss, grad = value(x)
        losses.append(loss)
        if loss > best[0]:
            best = (loss, x, grad)
        tops.append(best[0])
        if k + 1 in marks:
            rises = sum(losses[i + 1] > losses[i] for i in range(last_mark, k + 1))
            stuck = not halved and tops[k + 1] == tops[last_mark]
            halved = rises < 0.75 * (k + 1 - last_mark) or stuck
            last_mark = k + 1
            if halved:
                size, x, grad = size / 2, best[1], best[2]
    return path


def test_checkpoints_are_those_of_the_paper():
    marks = [t for t in range(1, 100) if since_checkpoint(t, 100)]
    assert marks == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [since_checkpoint(t, 100) for t in marks] == [22, 19, 16, 13, 10, 7, 6, 6]
    assert not any(since_checkpoint(t, 1) for t in range(1))


def test_a_step_is_halved_for_too_few_rises_or_no_better_loss():
    f = torch.tensor
    control = Halving(
        f([1.0] * 4), f([16.0, 15.0, 21.0, 21.0]), f([2.0, 0.0, 1.5, 1.5]), f([False, False, False, True])
    )
    loss, best, size = f([2.0, 2.0, 1.0, 1.0]), f([3.0, 3.0, 1.5, 1.5]), f([1.0] * 4)
    after, found, back = control.next(loss, best, size, 0.75, 22, 100)
    assert back.tolist() == [False, True, True, False]  # 17 of 22 rises; 16; no better loss; the same, but just halved
    assert found.tolist() == [1.0, 0.5, 0.5, 1.0]
    assert torch.equal(after.rises, torch.zeros(4))
    assert torch.equal(after.checked, best)
    assert torch.equal(after.halved, back)
    _, found, back = control.next(loss, best, size, 0.75, 21, 100)
    assert not back.any()
    assert torch.equal(found, size)


def test_rounding_is_no_rise():
    old = torch.tensor([1.0, -1.0, 0.0, 1e-20])
    assert higher(old + torch.tensor([1e-7, 1e-7, 0.0, 0.0]), old).tolist() == [False] * 4
    assert higher(old + torch.tensor([1e-5, 1e-5, 1e-30, 1e-22]), old).tolist() == [True] * 4


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.5)], ids=str)
def test_the_start_touches_the_ball(ball):
    model, x, y = smooth()
    x = 0.4 + x / 5
    start = APGD(ball=ball, steps=0)(Classifier(model.module, bounds=Bounds(-9, 9)), x, y)
    torch.testing.assert_close(start.distance, torch.full((30,), ball.eps).double())
    assert not torch.equal(start.x, APGD(ball=ball, steps=0)(model, x, y, noise=Noise(1)).x)


def test_a_sparse_step_moves_the_largest_slopes_alike():
    grad = torch.tensor([[3.0, -1.0, 2.0, 0.5], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [3.0, -2.0, 1.0, 0.0]])
    x = torch.full_like(grad, 0.5)
    x[3] = torch.tensor([1.0, 0.0, 1.0, 0.0])  # the first two features would leave the box, and so would the third
    step = sparse_step(grad, torch.tensor([0.7, 0.5, 0.0, 0.5]), x, Bounds())
    assert step.tolist() == [[0.5, 0.0, 0.5, 0.0], [0.0] * 4, [0.5, 0.5, 0.0, 0.0], [0.0] * 4]
    x[3] = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert sparse_step(grad, torch.full((4,), 0.5), x, Bounds())[3].tolist() == [0.0, -0.5, 0.5, 0.0]


def test_the_sparsity_follows_the_best_point():
    x0 = torch.zeros(3, 10)
    best = x0.clone()
    best[0, :6], best[1, :9] = 1, 1
    control = Thinning(torch.full((3,), 0.2), torch.tensor([10.0, 9.0, 0.0]))
    size, eps = torch.tensor([0.5, 0.12, 1.0]), torch.ones(3)
    after, found, back = control.next(best, x0, size, eps, 4, 100)
    torch.testing.assert_close(after.share, torch.tensor([0.4, 0.6, 0.0]))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.1, 1 / 1.5]))  # from anew; the shortest; shorter
    assert back.tolist() == [True, False, False]
    assert control.next(best, x0, size, eps, 5, 100)[1] is size


@pytest.mark.parametrize("wanted", [[9, 9, 12], [1, 1, 1]])
def test_a_wide_start_tightens_around_its_best_points(wanted):
    model, x, y = smooth()
    attack = APGD(ball=L1(0.4), steps=sum(wanted), wide_start=True)
    problem, states = walked(attack, model, x, y)
    wide = [state.phase.wide for state, _ in states]
    assert [wide.count(value) for value in (3, 2, 1)] == [steps + 1 for steps in wanted]
    for state, _ in states:
        assert (L1(0.4).distance(state.x, x) <= 0.4 * state.phase.wide + 1e-9).all()
    assert any((L1(0.4).distance(state.x, x) > 0.5).any() for state, _ in states)
    assert (L1(0.4).distance(problem.record.x, x) <= 0.4 + 1e-9).all()
    assert problem.record.forwards == sum(wanted) + 3


@pytest.mark.parametrize("keep", list(Keep))
@pytest.mark.parametrize("budget", [5, 20, math.inf])
def test_points_of_a_wider_ball_are_not_returned(keep, budget):
    model, x, y = smooth()
    attack = APGD(ball=L1(0.3), steps=30, wide_start=True, keep=keep)
    result = attack(model, x, y, limits=Limits(forwards=budget))
    assert (result.distance <= 0.3 + 1e-9).all()
    assert torch.equal(result.success, model.predict(result.x) != y)
    if budget < 10:
        assert torch.equal(result.x, x)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("loss", [cross_entropy, DLR])
@pytest.mark.parametrize("ball", [Linf(0.3), L2(0.8), L1(2.0)], ids=str)
def test_few_classes_aims_and_targets(ball, loss, classes):
    model, x, y = smooth(classes=classes)
    attack = APGD(ball=ball, steps=20, loss=loss, keep=Keep.FIRST_SUCCESS)
    plain, each = attack(model, x, y), EachTarget(attack=attack)(model, x, y)
    assert plain.success.any()
    assert (each.success >= plain.success).double().mean() > 0.9
    target = (y + 1) % classes
    goal = attack(model, x, y, target=target)
    assert torch.equal(goal.success, model.predict(goal.x) == target)
    assert goal.success.any()


@pytest.mark.parametrize("loss", [cross_entropy, DLR])
@pytest.mark.parametrize("ball", [Linf(0.3), L2(0.8), L1(2.0)], ids=str)
def test_a_constant_model_stays_finite(ball, loss):
    for logits in ([0.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0]):
        model, x = Classifier(ConstantModel(torch.tensor(logits))), torch.full((3, 6), 0.5)
        y = torch.full((3,), len(logits) - 1 if logits[0] == 0 else 0)
        result = APGD(ball=ball, steps=10, loss=loss)(model, x, y)
        assert result.x.isfinite().all()
        assert result.loss.isfinite().all()
        assert not result.success.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": L0(3.0)}, "ball=L0 has no step of a chosen size; give Auto-PGD Linf or L2 or L1"),
        ({"steps": -1}, "steps=-1 must be an integer >= 0"),
        ({"rho": 1.5}, r"rho=1.5 must lie in \[0, 1\]"),
        ({"alpha": 0}, r"alpha=0 must lie in \(0, 1\]"),
        ({"wide_start": True}, "wide_start=True is for L1 alone"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        APGD(**{"ball": Linf(0.1), **settings})


def test_rows_without_a_gradient_leave_at_once_and_others_are_not_touched():
    x, y = torch.rand(6, 8, generator=torch.Generator().manual_seed(3)), torch.zeros(6, dtype=torch.int64)
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(4))
    weight[0] += 3  # class 0 leads by far

    def half_dead(v):
        alive = (v[:, :1] > 0.5).to(v)  # rows by their first feature, which the ball leaves on its side
        return alive * (v @ weight.T) + (1 - alive) * (v.detach() @ weight.T)

    x[:, 0] = torch.tensor([0.9, 0.1, 0.9, 0.1, 0.9, 0.1])
    for ball in (Linf(0.05), L2(0.05), L1(0.05)):
        plain, leaving = (APGD(ball=ball, steps=10, leave_flat=leave) for leave in (False, True))
        stayed, left = (attack(Classifier(half_dead), x, y) for attack in (plain, leaving))
        assert left.forwards.tolist() == [11, 1] * 3
        assert stayed.forwards.tolist() == [11] * 6
        assert torch.equal(left.x[::2], stayed.x[::2])
