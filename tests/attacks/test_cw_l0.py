import pytest
import torch

from saddlepoint import L0, L2, Classifier, Noise
from saddlepoint.attacks import CWL0
from saddlepoint.errors import SettingError
from saddlepoint.losses import cross_entropy, margin
from saddlepoint.testing import ConstantModel, LinearModel, contract

SETTINGS = {"steps": 10, "step_size": 0.5, "const": 1.0, "largest_const": 20.0}

test_contract_l2 = contract(CWL0(**SETTINGS, per_feature=True))  # named so that annotations are checked only below
test_contract_pixels = contract(CWL0(**SETTINGS), ranks=(3, 4))


def small(**settings):
    return CWL0(**{"steps": 50, "step_size": 0.1, "const": 1.0, "largest_const": 1e3, **settings})


def linear(shape=(12,), rows=8):
    """A linear model of two classes, and rows inside the box; bias and weights ask for more than one feature."""
    size = torch.Size(shape).numel()
    weight = Noise(1).normal(torch.empty(2, size, dtype=torch.float64))
    module = LinearModel(weight, -weight.sum(1) / 2)
    x = Noise(2).uniform(torch.empty(rows, *shape, dtype=torch.float64)) * 0.8 + 0.1
    return Classifier(module), x, module(x).argmax(1)


def least_pixels(model, x, y, channels=1):
    """How many pixels must go to their best edge of the box before the other class wins."""
    slope = (model.module.weight[1 - y] - model.module.weight[y]).detach()
    start, logits = x.flatten(1), model.module(x).detach()
    gain = torch.maximum(slope * (1 - start), -slope * start).view(len(x), channels, -1).sum(1)
    reach = gain.sort(1, descending=True).values.cumsum(1)
    short = logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None])
    return (reach <= short).sum(1) + 1


@pytest.mark.parametrize("reference_compat", [False, True])
@pytest.mark.usefixtures("unchecked")
def test_at_most_one_feature_more_than_the_least(reference_compat):
    model, x, y = linear()
    result = small(reference_compat=reference_compat)(model, x, y)
    assert result.success.all()
    assert (result.distance >= least_pixels(model, x, y)).all()
    if not reference_compat:
        assert (result.distance <= least_pixels(model, x, y) + 1).all()
        assert (result.distance == least_pixels(model, x, y)).double().mean() >= 0.5


@pytest.mark.usefixtures("unchecked")
def test_the_channels_of_a_pixel_are_one():
    model, x, y = linear(shape=(3, 2, 3))
    changed = small()(model, x, y).x != x
    pixels = changed.flatten(2)
    assert (pixels.any(1) == pixels.all(1)).double().mean() > 0.9
    assert (pixels.any(1).sum(1) <= least_pixels(model, x, y, channels=3) + 1).all()
    apart = small(per_feature=True)(model, x, y)
    assert (apart.distance <= changed.flatten(1).sum(1)).all()
    assert (apart.distance < changed.flatten(1).sum(1)).any()


@pytest.mark.usefixtures("unchecked")
def test_targets_and_confidence():
    model, x, y = linear()
    result = small(confidence=0.2)(model, x, y, target=1 - y)
    assert result.success.all()
    assert (margin(model.module(result.x), y, 1 - y) >= 0.2).all()
    assert (result.distance >= small()(model, x, y).distance).all()


@pytest.mark.usefixtures("unchecked")
def test_features_on_the_edges_of_the_box_move():
    model, x, _ = linear()
    corner = x.round()
    y = model.module(corner).argmax(1)
    result = small(step_size=0.5)(model, corner, y)
    assert result.success.all()
    assert (result.distance < 12).all()


@pytest.mark.usefixtures("unchecked")
def test_a_feature_without_weight_is_put_back():
    model, x, _ = linear()
    with torch.no_grad():
        model.module.weight[:, 3] = 0.7
    result = small()(model, x, model.module(x).argmax(1))
    assert result.success.all()
    assert torch.equal(result.x[:, 3], x[:, 3])


@pytest.mark.parametrize("full_search", [False, True])
def test_a_constant_model_ends_once_c_is_too_large(full_search):
    x = torch.full((2, 1, 2, 2), 0.5)
    attack = CWL0(steps=20, const=1.0, largest_const=8.0, full_search=full_search)
    result = attack(Classifier(ConstantModel(torch.tensor([0.0, 1.0]))), x, torch.ones(2, dtype=torch.int64))
    assert not result.success.any()
    assert torch.equal(result.x, x)
    assert (result.forwards == (60 if full_search else 2 * 2 + 2 + 2)).all()


@pytest.mark.usefixtures("unchecked")
def test_a_row_alone_takes_the_same_way():
    model, x, y = linear()
    result, alone = small()(model, x, y), small()(model, x[2:3], y[2:3])
    assert len(result.forwards.unique()) > 1
    assert alone.forwards.item() == result.forwards[2].item()
    torch.testing.assert_close(alone.x[0], result.x[2], rtol=0, atol=1e-9)


def fixed(attack, change, grad, free=None):
    """Indices that are fixed first."""
    change, grad = (torch.tensor([values]) for values in (change, grad))
    free = torch.ones_like(change, dtype=torch.bool) if free is None else torch.tensor([free])
    return attack._least(change, grad, grad, free)[0].nonzero().flatten().tolist()


def test_features_that_hinder_and_those_worth_least_are_fixed_first():
    assert fixed(CWL0(), [0.5] * 4, [1.0, 0.004, 2.0, 3.0]) == [1]  # 0.3 sqrt(4), rounded up, is one
    assert fixed(CWL0(), [0.5] * 4, [1.0, 0.004, -2.0, 3.0]) == [2]
    assert fixed(CWL0(), [0.5] * 16, [1.0] * 16) == [0]  # the first is worth more than 0.01
    assert fixed(CWL0(), [0.5] * 16, [1.0] * 10 + [0.0] * 6) == [10, 11]  # 0.3 sqrt(16), rounded up, is two
    assert fixed(CWL0(), [0.5] * 4, [1.0, 0.0, 2.0, 3.0], [True, False, True, True]) == [0]


def test_the_released_code_ranks_by_size():
    assert fixed(CWL0(reference_compat=True), [0.5] * 4, [1.0, 0.9, -2.0, 3.0]) == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 must be an integer >= 1"),
        ({"step_size": 0.0}, "step_size=0.0 must be finite and > 0"),
        ({"largest_const": 1e-4}, "const=0.001 must be less than largest_const=0.0001"),
        ({"ball": L2(0.1)}, "ball=L2 has a norm that this attack does not minimise; give it L0"),
        ({"loss": cross_entropy}, "loss must be saddlepoint.losses.margin"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        CWL0(**settings)


def test_the_ball_limits_the_number_of_features():
    model, x, y = linear()
    result = small(ball=L0(2.0))(model, x, y)
    assert (result.distance <= 2).all()
