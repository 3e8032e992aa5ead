import math

import pytest
import torch

from saddlepoint import L2, Classifier, Noise
from saddlepoint.attacks import JSMA, EachTarget
from saddlepoint.balls import L0
from saddlepoint.errors import SettingError
from saddlepoint.testing import ConstantModel, LinearModel, contract
from saddlepoint.testing._subject import network

VARIANTS = {
    "logits": {},
    "softmax": {"softmax": True},
    "down": {"theta": -1.0},
    "down softmax": {"theta": -0.5, "softmax": True},
    "small steps": {"theta": 0.3},
    "single": {"pairs": False},
    "single softmax": {"pairs": False, "softmax": True, "theta": -1.0},
}

SKIP = {"nan_inside_ball": "its radius, 0.4, lets no feature change; see test_nan_around_a_row below"}
test_contract_l0 = contract(JSMA(ball=L0(6.0), gamma=1.0), skip=SKIP)
test_contract_l1_maximal = contract(JSMA(ball=L0(6.0), gamma=1.0, maximal=True, theta=0.5), skip=SKIP)
test_contract_l1_softmax = contract(JSMA(ball=L0(6.0), gamma=1.0, softmax=True, theta=-1.0), skip=SKIP)


def two_classes(weight, bias):
    """z = (bias - w x, w x): both slopes of a feature are as its weight says."""
    weight = torch.tensor([weight])
    return Classifier(LinearModel(torch.cat([-weight, weight]), torch.tensor([bias, 0.0])))


def case(rows=12, features=14):
    net = network(features, torch.float64)
    x = Noise(4).uniform(torch.empty(rows, features, dtype=torch.float64))
    x[:, ::5] = x[:, ::5].round()
    model = Classifier(lambda x: net(4 * x - 2))
    return model, x, model.predict(x)


def slopes(model, x, softmax):
    """The whole Jacobian (k, d) of the logits or the softmax at one point."""

    def outputs(x):
        logits = model.module(x[None])[0]
        return logits.softmax(0) if softmax else logits

    return torch.autograd.functional.jacobian(outputs, x)


def best_by_hand(a, b, pairs):
    """The first pair, or feature, of the largest product of a and b, both positive."""
    best, found = 0.0, None
    for p in range(len(a)):
        for q in range(p + 1, len(a)) if pairs else [p]:
            alpha, beta = (a[p] + a[q], b[p] + b[q]) if pairs else (a[p], b[p])
            if alpha > 0 and beta > 0 and alpha * beta > best * (1 + 1e-12):  # equal but for rounding
                best, found = alpha * beta, (p, q)
    return found, best


def by_hand(model, x0, y, target, *, theta=1.0, gamma=0.145, softmax=False, maximal=False, pairs=True, room=0.01):
    """The attack on one row from the whole Jacobian and all pairs: the point where it ends."""
    x = x0.clone()
    for _ in range(int(gamma * len(x) / (2 if pairs else 1) + 1e-9)):
        predicted = model.predict(x[None])[0]
        if (predicted != y) if target is None else (predicted == target):
            break
        jacobian = slopes(model, x, softmax)
        classes = range(len(jacobian)) if maximal and target is None else [y if target is None else target]
        best, move = 0.0, None
        for k in classes:
            a = jacobian[k]
            b = -a if softmax else jacobian.sum(0) - a
            for sign in (1, -1):
                way = -sign if (target is None and k == y) else sign
                if not maximal and way * theta < 0:
                    continue
                left = (1 - x if way > 0 else x) >= room
                fresh = (x >= x0) if way > 0 else (x <= x0)
                shut = torch.where(left & fresh, 0, -torch.inf)
                found, score = best_by_hand((sign * a + shut).tolist(), (-sign * b + shut).tolist(), pairs)
                if found is not None and score > best * (1 + 1e-12):
                    best, move = score, (found, way)
        if move is None:
            break
        features, way = move
        x[list(features)] = (x[list(features)] + way * abs(theta)).clamp(0, 1)
    return x


@pytest.mark.parametrize("aimed", [True, False], ids=["targeted", "untargeted"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_whole_jacobian_and_all_pairs(variant, aimed):
    model, x, y = case()
    settings = {"gamma": 0.8, **VARIANTS[variant]}
    target = (y + 1 + torch.arange(len(y)) % 3) % 4 if aimed else None
    result = JSMA(**settings)(model, x, y, target=target)
    check(result, model, x, y, target, settings)


@pytest.mark.parametrize("variant", ["logits", "softmax", "small steps", "single", "single softmax"])
def test_maximal_equals_all_classes_and_both_ways(variant):
    model, x, y = case()
    settings = {"gamma": 0.8, **VARIANTS[variant], "maximal": True}
    check(JSMA(**settings)(model, x, y), model, x, y, None, settings)


def check(result, model, x, y, target, settings):
    """Where it fools, the point by hand; where the loop by hand fails, failure and the input."""
    goals = [None] * len(x) if target is None else target.tolist()
    hand = torch.stack([by_hand(model, *row, goal, **settings) for *row, goal in zip(x, y, goals, strict=True)])
    predicted = model.predict(hand)
    fools = predicted != y if target is None else predicted == target
    assert result.success.any()
    assert result.distance.max() > 2
    assert torch.equal(result.success, fools)
    torch.testing.assert_close(result.x, torch.where(fools[:, None], hand, x), rtol=0, atol=1e-12)


def test_saturated_softmax_still_has_an_order():
    """The net is so sure that its softmax is 1 and 0 in float32: the plain gradient is 0 everywhere."""
    module = LinearModel(torch.tensor([[300.0, 200.0, 400.0, 0.0], [0.0] * 4]), torch.tensor([-100.0, 0.0]))
    x, y = torch.tensor([[1.0, 1.0, 1.0, 0.5]]), torch.tensor([0])
    assert torch.autograd.functional.jacobian(lambda x: module(x).softmax(1), x).abs().max() == 0
    result = JSMA(theta=-1.0, softmax=True, gamma=1.0)(Classifier(module), x, y)
    assert result.success
    assert result.x.tolist() == [[0, 0, 0, 0]]
    assert result.forwards == 3


@pytest.mark.parametrize("softmax", [False, True])
def test_gradients_of_any_size_will_do(softmax):
    model, x, y = case()
    target = (y + 1) % 4
    wanted = JSMA(gamma=0.8, softmax=softmax)(model, x, y, target=target)
    for scale in (1e-30, 1e30) if not softmax else (1.0,):
        found = JSMA(gamma=0.8, softmax=softmax)(
            Classifier(lambda x, scale=scale: scale * model.module(x)), x, y, target=target
        )
        assert torch.equal(found.x, wanted.x)


@pytest.mark.parametrize(
    "settings", [{}, {"theta": -1.0}, {"pairs": False}, {"theta": 0.2}, {"maximal": True}], ids=str
)
def test_no_more_than_gamma_of_the_features_change(settings):
    model, x, y = case(features=40)
    for gamma in (0.0, 0.049, 0.145, 0.3):
        result = JSMA(gamma=gamma, **settings)(model, x, y)
        assert (result.distance <= gamma * 40).all()
        size = 1 if settings.get("pairs") is False else 2
        steps = math.floor(gamma * 40 / size)
        assert result.forwards.max() <= steps + 1
        if steps == 0:
            assert torch.equal(result.x, x)
            assert (result.forwards == 1).all()
            assert (result.backwards == 0).all()


def test_passes_of_a_step():
    model, x, y = case()
    for settings, per_step in (({}, 2), ({"softmax": True}, 1), ({"maximal": True}, 4)):
        result = JSMA(gamma=0.8, **settings)(model, x, y)
        ended_by_length = result.forwards == 6
        assert torch.equal(result.backwards, per_step * (result.forwards - ended_by_length.long()))


def test_features_without_room_rest():
    """The steepest feature is at .995: by default it rests; with less room asked for, it is used up."""
    model = two_classes([9.0, 3.0, 2.0, 1.0], 22.0)
    x, y = torch.tensor([[0.995, 0.0, 0.0, 0.0]]), torch.tensor([0])
    assert JSMA(gamma=1.0)(model, x, y).x.tolist() == [[pytest.approx(0.995), 1, 1, 0]]
    assert JSMA(gamma=1.0, room=0.001)(model, x, y).x.tolist() == [[1, 1, 0, 0]]


def test_lengths_scale_with_the_box():
    model, x, y = case()
    wide = Classifier(lambda x: model.module(x / 255 + 1), bounds=(-255, 0))
    for theta in (0.4, -0.4):
        found = JSMA(theta=theta, gamma=0.8)(wide, (x - 1) * 255, y)
        wanted = JSMA(theta=theta, gamma=0.8)(model, x, y)
        torch.testing.assert_close(found.x / 255 + 1, wanted.x)


def test_features_are_chosen_again_until_the_bound():
    """Three steps of .3 on the first two features are enough, two are not; gamma d / 2 is the number of steps."""
    for features, solved in ((4, False), (6, True)):
        model = two_classes([5.0, 4.0, 1.0, *[0.5] * (features - 3)], 14.0)
        result = JSMA(theta=0.3, gamma=1.0)(model, torch.zeros(1, features), torch.tensor([0]))
        assert bool(result.success) is solved
        assert result.distance == (2 if solved else 0)


def test_maximal_never_turns_a_feature_back():
    model, x, y = case(rows=40)
    result = JSMA(maximal=True, theta=0.1, gamma=1.0)(model, x, y)
    assert (result.x > x).any()
    assert (result.x < x).any()
    moved = (result.x - x).abs()
    inner = moved[(result.x > 0) & (result.x < 1) & (moved > 0)]
    torch.testing.assert_close(inner, (inner / 0.1).round() * 0.1)


def test_maximal_with_a_target_goes_to_the_target():
    model, x, y = case()
    target = (y + 1) % 4
    found = JSMA(maximal=True, gamma=0.8)(model, x, y, target=target)
    assert torch.equal(found.x, JSMA(gamma=0.8)(model, x, y, target=target).x)


def test_every_target_in_turn_changes_least():
    model, x, y = case()
    each = EachTarget(attack=JSMA(gamma=0.8), classes=None)(model, x, y)
    parts = [JSMA(gamma=0.8)(model, x, y, target=(y + i) % 4) for i in (1, 2, 3)]
    fewest = torch.stack([torch.where(part.success, part.distance, torch.inf) for part in parts]).amin(0)
    assert each.success[fewest.isfinite()].all()
    assert (each.distance <= fewest)[fewest.isfinite()].all()


def test_rows_that_need_nothing_get_nothing():
    model, x, y = case()
    reached = JSMA(gamma=0.8)(model, x, y, target=y)
    wrong = JSMA(gamma=0.8)(model, x, (y + 1) % 4)
    for result in (reached, wrong):
        assert result.success.all()
        assert torch.equal(result.x, x)
        assert (result.distance == 0).all()
        assert (result.forwards == 1).all()


@pytest.mark.parametrize("settings", [{}, {"softmax": True}, {"maximal": True}, {"maximal": True, "softmax": True}])
def test_models_without_gradient_end_the_row_at_once(settings):
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0, 0.5])))
    result = JSMA(gamma=1.0, **settings)(model, torch.rand(3, 8), torch.ones(3, dtype=torch.int64))
    assert not result.success.any()
    assert (result.distance == 0).all()
    assert (result.forwards == 1).all()


@pytest.mark.parametrize("free", [0, 1])
def test_corners_leave_no_pair(free):
    model, x = two_classes([1.0] * 4, 9.0), torch.ones(2, 4)
    x[0, :free] = 0
    x[1, :2] = 0
    result = JSMA(gamma=1.0)(model, x, torch.tensor([0, 0]))
    assert not result.success.any()
    assert (result.distance == 0).all()
    assert result.forwards.tolist() == [1, 2]  # the second row has one pair


@pytest.mark.parametrize("settings", [{}, {"softmax": True}, {"maximal": True}, {"maximal": True, "softmax": True}])
def test_nan_around_a_row(settings):
    """Rows that are NaN wherever they go are undefined, and their neighbours are as without them."""
    model, x, y = case()
    rows = torch.arange(len(x)) % 3 == 0

    def module(x_now):
        same = (x_now[:, None] == x[rows]).sum(2)
        near = ((same > 7) & (same < 14)).any(1)  # some features of a row to be spoiled have changed
        return model.module(x_now) * torch.where(near, torch.nan, 1.0)[:, None].to(x_now)

    wanted = JSMA(gamma=0.8, **settings)(model, x, y)
    found = JSMA(gamma=0.8, **settings)(Classifier(module), x, y)
    assert found.undefined[rows].all()
    assert not found.success[rows].any()
    assert (wanted.distance > 0)[~rows].all()
    torch.testing.assert_close(found.x[~rows], wanted.x[~rows], rtol=0, atol=1e-12)
    assert torch.equal(found.success[~rows], wanted.success[~rows])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": L2(1.0)}, "ball=L2 has a norm that this attack does not minimise; give it L0"),
        ({"theta": 0.0}, "theta=0.0 must lie in \\[-1, 1\\] and not be 0"),
        ({"theta": math.nan}, "theta=nan"),
        ({"theta": -1.5}, "theta=-1.5"),
        ({"gamma": 14.5}, "gamma=14.5 must lie in \\[0, 1\\]: a share of the features"),
        ({"room": 0.0}, "room=0.0 must lie in \\(0, 1\\]"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        JSMA(**settings)
