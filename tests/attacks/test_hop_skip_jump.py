import math

import pytest
import torch

from saddlepoint import L1, L2, Classifier, Limits, Linf, Noise
from saddlepoint.attacks import Cascade, HopSkipJump, Restarts
from saddlepoint.errors import InputError, SettingError
from saddlepoint.testing import ConstantModel, LinearModel, NaNModel, contract
from saddlepoint.testing._subject import network

OUTSIDE = dict.fromkeys(
    ("nan_rows", "nan_inside_ball", "zero_gradient"),
    "it asks about points in the whole box, where every row of this check can be spoiled; tested below",
)
test_contract = contract(HopSkipJump(steps=5, directions=60, tries=30), within=1.15, skip=OUTSIDE)
test_contract_linf = contract(
    HopSkipJump(ball=Linf(math.inf), steps=5, directions=60, tries=30), within=1.35, skip=OUTSIDE
)


def linear(rows=20, features=20, classes=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    module = LinearModel(torch.randn(classes, features, generator=generator, dtype=dtype))
    x = torch.rand(rows, features, generator=generator, dtype=dtype)
    return module, x, module(x).argmax(1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("ball", [L2, Linf])
def test_it_finds_the_nearest_boundary_of_a_linear_model(ball):
    module, x, y = linear()
    result = HopSkipJump(ball=ball(math.inf), steps=30)(Classifier(module), x, y)
    ratio = result.distance / module.minimal_distance(x, y, ball)
    assert result.success.all()
    assert ratio.min() >= 1
    assert ratio.median() < (1.01 if ball is L2 else 1.05)
    assert ratio.quantile(0.9) < (1.03 if ball is L2 else 1.15)


@pytest.mark.usefixtures("unchecked")
def test_a_larger_budget_never_loses_and_no_budget_is_exceeded():
    module, x, y = linear()
    last = None
    for budget in (1, 2, 15, 100, 400, 1600, 6400):
        model = Classifier(module)
        result = HopSkipJump(steps=1000)(model, x, y, limits=Limits(forwards=budget, shrink_at=1.0))
        assert (result.forwards <= budget).all()
        assert model.meter.forwards == result.forwards.sum() + len(x)
        assert model.meter.backwards == 0
        if last is not None:
            assert (~last.success | (result.distance <= last.distance)).all()
        if budget in (15, 100):
            assert result.success.double().mean() > 0.8, "what was found is lost with the budget"
        if budget >= 400:
            assert result.success.all()
            assert (result.forwards > budget - 50).all(), "a budget is left unused"
        last = result


@pytest.mark.usefixtures("unchecked")
def test_a_budget_of_each_row():
    module, x, y = linear()
    budget = torch.tensor([3, 60, 300, 900] * 5)
    mixed = HopSkipJump(steps=1000)(Classifier(module), x, y, noise=Noise(2), limits=Limits(forwards=budget))
    assert (mixed.forwards <= budget).all()
    for limit in budget.unique():
        rows = (budget == limit).nonzero().flatten()
        alone = HopSkipJump(steps=1000)(
            Classifier(module), x[rows], y[rows], noise=Noise(2, rows), limits=Limits(forwards=float(limit))
        )
        torch.testing.assert_close(alone.x, mixed.x[rows], rtol=0, atol=1e-9)
        assert torch.equal(alone.forwards, mixed.forwards[rows])


@pytest.mark.usefixtures("unchecked")
def test_decisions_are_all_that_it_uses():
    module, x, y = linear()
    found = HopSkipJump(steps=4)(Classifier(module), x, y)

    def decided(v):
        return torch.nn.functional.one_hot(module(v).argmax(1), 5).to(v.dtype)

    assert torch.equal(HopSkipJump(steps=4)(Classifier(decided), x, y).x, found.x)


@pytest.mark.usefixtures("unchecked")
def test_targets_with_starting_points():
    module, x, y = linear()
    model, target = Classifier(module), (y + 1) % 5
    pool = torch.randint(0, 2, (20_000, 20), generator=torch.Generator().manual_seed(0)).to(x)
    start = pool[(module(pool).argmax(1) == target[:, None]).int().argmax(1)]
    fools = module(start).argmax(1) == target
    assert fools.double().mean() > 0.5
    attack = HopSkipJump(steps=10, tries=1, start=start)
    result = attack(model, x, y, target=target)
    assert result.success[fools].all()
    assert torch.equal(model.predict(result.x) == target, result.success)
    assert (result.distance < 0.8 * L2(1.0).distance(start, x))[fools].all()
    around = Restarts(attack=Cascade(attacks=[attack, attack]), times=1)(model, x, y, target=target)
    assert torch.equal(around.success[fools], result.success[fools])


@pytest.mark.usefixtures("unchecked")
def test_a_start_that_does_not_fool_is_followed_by_random_images():
    module, x, y = linear()
    found = HopSkipJump(steps=3, start=x)(Classifier(module), x, y)
    plain = HopSkipJump(steps=3)(Classifier(module), x, y)
    assert torch.equal(found.x, plain.x)
    assert torch.equal(found.forwards, plain.forwards + 1)


def test_a_start_of_another_shape_is_refused():
    module, x, y = linear()
    with pytest.raises(InputError, match=r"start is \(3, 20\); it must be a float tensor like x, \(20, 20\)"):
        HopSkipJump(start=x[:3])(Classifier(module), x, y)


def test_a_row_that_nothing_fools_is_held():
    x, y = torch.rand(3, 6, generator=torch.Generator().manual_seed(0)), torch.ones(3, dtype=torch.int64)
    result = HopSkipJump(tries=20)(Classifier(ConstantModel(torch.tensor([0.0, 1.0]))), x, y)
    assert torch.equal(result.x, x)
    assert not result.success.any()
    assert not result.undefined.any()
    assert (result.forwards == 22).all(), "the input, 20 tries, and the last of them as the one that is shown"


def test_rows_that_are_wrong_already_take_one_look():
    module, x, y = linear()
    result = HopSkipJump()(Classifier(module), x, (y + 1) % 5)
    assert torch.equal(result.x, x)
    assert (result.forwards == 1).all()


def test_outputs_that_are_not_finite():
    # Undefined at the input: the row is undefined, whatever its neighbours do, and they do not notice.
    net = network(6, torch.float64)
    x = torch.rand(12, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x[:, 0] = 0.1
    y = net(x).argmax(1)
    x[::3, 0] = 0.9
    model, attack, good = (
        Classifier(NaNModel(net, lambda v: v[:, 0] > 0.8)),
        HopSkipJump(steps=4),
        torch.arange(12) % 3 > 0,
    )
    result = attack(model, x, y)
    assert result.undefined[~good].all()
    assert not result.undefined[good].any()
    assert result.success[good].any()
    rows = good.nonzero().flatten()
    alone = attack(model, x[rows], y[rows], noise=Noise(0, rows))
    torch.testing.assert_close(alone.x, result.x[rows], rtol=0, atol=1e-9)
    # Undefined everywhere but at the input: nothing was found, and nothing is claimed.
    inputs = {tuple(row) for row in x.tolist()}
    only = NaNModel(net, lambda v: torch.tensor([tuple(row) not in inputs for row in v.tolist()]))
    result = HopSkipJump(tries=5)(Classifier(only), x, net(x).argmax(1))
    assert result.undefined.all()
    assert not result.success.any()


@pytest.mark.usefixtures("unchecked")
def test_a_finite_radius_bounds_what_counts():
    module, x, y = linear()
    free = HopSkipJump(steps=6)(Classifier(module), x, y)
    eps = float(free.distance.median())
    held = HopSkipJump(ball=L2(eps), steps=6)(Classifier(module), x, y)
    assert torch.equal(held.success, free.distance <= eps * (1 + 1e-6))
    assert (held.distance <= eps * (1 + 1e-6)).all()


@pytest.mark.usefixtures("unchecked")
def test_single_precision_and_other_bounds():
    module, x, y = linear(dtype=torch.float32)
    wide = HopSkipJump(steps=8)(Classifier(lambda v: module((v + 1) / 4), bounds=(-1.0, 3.0)), 4 * x - 1, y)
    plain = HopSkipJump(steps=8)(Classifier(module), x, y)
    assert plain.success.all()
    assert ((wide.distance / 4 / plain.distance).log().abs() < 0.2).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": L1(1.0)}, "ball=L1"),
        ({"steps": -1}, "steps=-1"),
        ({"directions": 0}, "directions=0 must be an integer >= 1"),
        ({"most_directions": -2}, "most_directions=-2 must be an integer >= 1"),
        ({"tries": True}, "tries=True must be an integer >= 1"),
        ({"gamma": 0.0}, "gamma=0.0 must be finite and > 0"),
        ({"memory": 1.5}, "memory=1.5 must lie in"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        HopSkipJump(**settings)
