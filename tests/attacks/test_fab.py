import math

import pytest
import torch

from saddlepoint import L0, L1, L2, Bounds, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import FAB, EachTarget
from saddlepoint.errors import SettingError
from saddlepoint.losses import margin
from saddlepoint.problem import Problem
from saddlepoint.testing import ConstantModel, LinearModel, contract
from saddlepoint.testing._subject import network

INF = math.inf
BALLS = [Linf, L2, L1]
test_contract = contract(FAB(ball=Linf(INF), steps=8), within=1.02)
test_contract_l2 = contract(
    FAB(ball=L2(0.3), steps=6, keep=Keep.FIRST_SUCCESS, random_start=True),
    skip={"true_counts": "a row that is fooled at a look is still in the batch whose gradients follow"},
)
test_contract_l1 = contract(FAB(ball=L1(INF), steps=8), within=1.02)


def linear(rows=20, features=20, classes=5):
    generator = torch.Generator().manual_seed(1)
    module = LinearModel(torch.randn(classes, features, generator=generator, dtype=torch.float64))
    x = torch.rand(rows, features, generator=generator, dtype=torch.float64)
    x[:, ::7] = x[:, ::7].round()  # at faces of the box
    return Classifier(module), x, module(x).argmax(1)


def smooth(rows=20, features=12, classes=5):
    net = network(features, torch.float64, classes=classes)
    x = Noise(3).uniform(torch.empty(rows, features, dtype=torch.float64))
    return Classifier(net), x, net(x).argmax(1).detach()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("ball", BALLS)
def test_the_least_distance_of_a_linear_model_is_reached(ball):
    model, x, y = linear()
    least = model.module.minimal_distance(x, y, ball)
    alone, each = FAB(ball=ball(INF))(model, x, y), EachTarget(attack=FAB(ball=ball(INF)))(model, x, y)
    assert alone.success.all()
    assert (alone.distance >= least).all()
    assert (each.distance <= 1.01 * least).all()
    assert (alone.distance <= 1.01 * least).double().mean() > 0.9  # it chooses the class as if there were no box


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("ball", BALLS)
def test_two_classes(ball):
    model, x, y = linear(classes=2)
    least = model.module.minimal_distance(x, y, ball)
    result = FAB(ball=ball(INF))(model, x, y)
    assert (result.distance <= 1.01 * least).all()
    single = Classifier(lambda x: model.module(x)[:, 1:] - model.module(x)[:, :1])
    torch.testing.assert_close(FAB(ball=ball(INF))(single, x, y).distance, result.distance)


@pytest.mark.parametrize("aimed", [False, True])
def test_algorithm_1_by_hand(aimed):
    """L2, in a box that stops nothing, where both projections have a closed form; a row at a time."""
    net, steps = network(12, torch.float64), 15
    model = Classifier(net, bounds=Bounds(-50, 50))
    x0 = Noise(3).uniform(torch.empty(12, 12, dtype=torch.float64))
    y = net(x0).argmax(1).detach()
    attack = FAB(ball=L2(INF), steps=steps)
    aim = (y + 1) % 4 if aimed else None
    problem = Problem.open(attack, model, x0, y, None, Noise(0), Limits(shrink_at=0), aim)
    state = attack.init(problem)
    for _ in range(2 * steps):
        seen = problem.look(state.x, gradient=False, graph=True)
        state = attack.step(problem, state, seen, 0)
    problem.look(state.x)
    for i in range(12):
        wanted = by_hand(net, x0[i], int(y[i]), None if aim is None else int(aim[i]), steps)
        assert -problem.record.rank[i].item() == pytest.approx(wanted, rel=1e-6)


def by_hand(net, x0, y, aim, steps):
    """The least distance at which one row is fooled, points that were drawn back included."""
    x, best = x0, INF
    for k in range(steps + 1):
        z = net(x[None])[0]
        if z.argmax() != y:
            best = min(best, (x - x0).norm().item())
            if k:
                x = x0 + 0.9 * (x - x0)
                z = net(x[None])[0]
                best = min(best, (x - x0).norm().item()) if z.argmax() != y else best
        if k == steps:
            break
        jacobian = torch.autograd.functional.jacobian(lambda v: net(v[None])[0], x)
        planes = [(z[j] - z[y], jacobian[j] - jacobian[y]) for j in range(4) if j != y and aim in (None, j)]
        gap, w = min(planes, key=lambda plane: (plane[0].abs() / plane[1].norm()).item())
        d1 = -gap * w / w.square().sum()
        d2 = -(gap + w @ (x0 - x)) * w / w.square().sum()
        a = min((d1.norm() / (d1.norm() + d2.norm())).item(), 0.1)
        x = ((1 - a) * (x + 1.05 * d1) + a * (x0 + 1.05 * d2)).detach()
    return best


@pytest.mark.parametrize("ball", BALLS)
def test_a_fooling_point_beyond_eps_is_no_success_and_not_returned(ball):
    model, x, y = smooth()
    free = FAB(ball=ball(INF), steps=20)(model, x, y)
    eps = free.distance.median().item()
    for keep in Keep:
        result = FAB(ball=ball(eps), keep=keep, steps=20)(model, x, y)
        assert (result.distance <= eps + 1e-6).all()
        assert torch.equal(result.success, model.predict(result.x) != y)
        if keep is not Keep.LAST:
            assert result.success[free.distance <= 0.999 * eps].all()
            assert not result.success.all()


@pytest.mark.parametrize("ball", BALLS)
def test_a_row_leaves_at_its_first_success_within_eps(ball):
    model, x, y = smooth()
    eps = FAB(ball=ball(INF), steps=20)(model, x, y).distance.median().item()
    nearest = FAB(ball=ball(eps), steps=20)(model, x, y)
    first = FAB(ball=ball(eps), steps=20, keep=Keep.FIRST_SUCCESS)(model, x, y)
    assert torch.equal(first.success, nearest.success)
    assert torch.equal(first.solved_at, nearest.solved_at)
    assert torch.equal(first.forwards[first.success], first.solved_at[first.success])
    assert first.forwards.sum() < 0.7 * nearest.forwards.sum()
    each = EachTarget(attack=FAB(ball=ball(eps), steps=20, keep=Keep.FIRST_SUCCESS))(model, x, y)
    assert (each.success >= first.success).double().mean() > 0.9
    assert (each.distance <= eps + 1e-6).all()


def test_passes_are_one_of_each_kind_a_step_and_a_draw():
    model, x, y = smooth()
    steps = 10
    aimed = EachTarget(attack=FAB(ball=L2(INF), steps=steps), classes=1)(model, x, y)
    draws = aimed.forwards - 1 - (steps + 1)
    assert ((draws >= 1) & (draws <= steps)).all()
    whole = FAB(ball=L2(INF), steps=steps)(model, x, y)
    assert (whole.backwards <= 4 * whole.forwards).all()
    assert (whole.backwards >= 4 * (whole.forwards - 1)).all()


@pytest.mark.parametrize("ball", BALLS)
def test_targets(ball):
    model, x, y = smooth()
    target = (y + 2) % 5
    result = FAB(ball=ball(INF), steps=20)(model, x, y, target=target)
    assert torch.equal(result.success, model.predict(result.x) == target)
    assert result.success.double().mean() > 0.8
    assert (result.distance[result.success] > 0).all()
    again = FAB(ball=ball(INF))(model, x, (y + 1) % 5, target=y)
    assert (again.distance == 0).all()


def test_a_margin_can_be_asked_for():
    model, x, y = linear()
    result = FAB(confidence=0.5)(model, x, y)
    assert result.success.all()
    assert (margin(model.module(result.x), y) >= 0.5).all()
    assert (result.distance > FAB()(model, x, y).distance).all()


@pytest.mark.parametrize("ball", BALLS)
def test_a_random_start_lies_half_way(ball):
    model, x, y = smooth()
    x = 0.4 + x / 5
    attack = FAB(ball=ball(0.3), random_start=True, steps=20)
    problem = Problem.open(attack, model, x, y, None, Noise(1), Limits())
    torch.testing.assert_close(ball(0.3).distance(attack.init(problem).x, x), torch.full((20,), 0.15).double())
    plain = FAB(ball=ball(0.3), steps=20)(model, x, y)
    other = attack(model, x, y)
    assert (other.success == plain.success).double().mean() > 0.9
    assert not torch.equal(other.x, plain.x)


@pytest.mark.parametrize("ball", BALLS)
def test_rows_that_need_no_search_take_one_look(ball):
    model, x, y = linear()
    wrong = FAB(ball=ball(INF))(model, x, (y + 1) % 5)
    assert torch.equal(wrong.x, x)
    assert wrong.success.all()
    constant = FAB(ball=ball(INF))(Classifier(ConstantModel(torch.tensor([0.0, 1.0, 0.0]))), x, y * 0 + 1)
    assert torch.equal(constant.x, x)
    assert not constant.success.any()
    assert (wrong.forwards == 1).all()
    assert (constant.forwards == 1).all()


def test_lengths_scale_with_the_box():
    model, x, y = smooth()
    wide = Classifier(lambda x: model.module(x / 255), bounds=(0, 255))
    for ball in BALLS:
        found = FAB(ball=ball(INF), steps=10)(wide, x * 255, y).distance / 255
        torch.testing.assert_close(found, FAB(ball=ball(INF), steps=10)(model, x, y).distance, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": L0(3.0)}, "ball=L0 has a norm that this attack does not minimise; give it L2 or Linf or L1"),
        ({"steps": -1}, "steps=-1 must be an integer >= 0"),
        ({"alpha_max": 1.5}, r"alpha_max=1.5 must lie in \[0, 1\]"),
        ({"eta": 0.9}, "eta=0.9 must be finite and >= 1"),
        ({"beta": 1.0}, r"beta=1.0 must lie in \(0, 1\)"),
        ({"random_start": True}, "give the ball a finite eps"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        FAB(**settings)
