import pytest
import torch

from saddlepoint import L2, Bounds, Classifier, Linf, Noise
from saddlepoint.attacks import CWLinf
from saddlepoint.errors import SettingError
from saddlepoint.losses import cross_entropy, margin
from saddlepoint.testing import ConstantModel, LinearModel, contract

SMALL = CWLinf(steps=10, step_size=0.1, const=0.01, largest_const=1.0, decrease=0.5)

test_contract_linf = contract(SMALL)


def linear(classes=4, low=0.0, high=1.0, edges=False):
    """A linear model on a box, and rows of some distance from its boundary, inside the box or in its corners."""
    weight = Noise(1).normal(torch.empty(classes, 12, dtype=torch.float64)) / (high - low)
    module = LinearModel(weight, -weight.sum(1) * (low + high) / 2)
    x = Noise(2).uniform(torch.empty(24, 12, dtype=torch.float64)) * 0.8 + 0.1
    x = low + (high - low) * (x.round() if edges else x)
    y = module(x).argmax(1)
    far = module.minimal_distance(x, y, Linf, Bounds(low, high)) > 0.03 * (high - low)
    return Classifier(module, bounds=(low, high)), x[far][:6], y[far][:6]


def small(**settings):
    return CWLinf(**{"steps": 100, "step_size": 0.01, "const": 1e-3, "decrease": 0.97, **settings})


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-3.0, 5.0)], ids=str)
@pytest.mark.usefixtures("unchecked")
def test_near_the_least_distance(bounds):
    model, x, y = linear(low=bounds[0], high=bounds[1])
    result = small()(model, x, y)
    least = model.module.minimal_distance(x, y, Linf, model.bounds)
    assert result.success.all()
    assert (result.distance >= least * (1 - 1e-9)).all()
    assert (result.distance <= 1.05 * least).all()


@pytest.mark.usefixtures("unchecked")
def test_targets_are_reached():
    model, x, y = linear(classes=2)
    result = small()(model, x, y, target=1 - y)
    assert (model.module(result.x).argmax(1) == 1 - y).all()
    assert (result.distance <= 1.05 * model.module.minimal_distance(x, y, Linf)).all()


@pytest.mark.usefixtures("unchecked")
def test_confidence_is_reached_by_every_success():
    model, x, y = linear()
    result = small(confidence=0.5)(model, x, y)
    assert result.success.all()
    assert (margin(model.module(result.x), y) >= 0.5).all()


@pytest.mark.usefixtures("unchecked")
def test_features_on_the_edges_of_the_box_move():
    model, x, y = linear(edges=True)
    result = small(step_size=0.05)(model, x, y)
    assert result.success.all()
    assert (result.distance <= 1.1 * model.module.minimal_distance(x, y, Linf)).all()


@pytest.mark.usefixtures("unchecked")
def test_all_steps_before_c_doubles_take_longer():
    model, x, y = linear()
    quick, full = small(decrease=0.8)(model, x, y), small(decrease=0.8, full_search=True)(model, x, y)
    assert quick.success.all()
    assert full.success.all()
    assert quick.forwards.sum() < 0.6 * full.forwards.sum()


@pytest.mark.parametrize("full_search", [False, True])
def test_a_constant_model_ends_once_c_is_too_large(full_search):
    x = torch.full((2, 3), 0.5)
    attack = CWLinf(steps=20, const=1.0, largest_const=8.0, full_search=full_search)
    result = attack(Classifier(ConstantModel(torch.tensor([0.0, 1.0]))), x, torch.ones(2, dtype=torch.int64))
    assert not result.success.any()
    assert torch.equal(result.x, x)
    # c = 1, 2, 4. A tenth of the steps tells that nothing moves, at the first c two, since nothing came before it.
    assert (result.forwards == (60 if full_search else 2 * 2 + 2 + 2)).all()


@pytest.mark.usefixtures("unchecked")
def test_a_cap_of_one_part_in_256_ends_a_row():
    model = Classifier(
        LinearModel(torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.tensor([0.0, -0.5]).double())
    )
    x = torch.tensor([[0.4999], [0.4]], dtype=torch.float64)
    result = small(decrease=0.5)(model, x, torch.zeros(2, dtype=torch.int64))
    assert result.success.all()
    assert result.distance[0] <= 2 / 256  # half of it is the next cap
    assert result.forwards[0] < result.forwards[1]


@pytest.mark.usefixtures("unchecked")
def test_a_row_alone_takes_the_same_way():
    model, x, y = linear()
    result = small(decrease=0.8)(model, x, y)
    alone = small(decrease=0.8)(model, x[2:3], y[2:3])
    assert alone.forwards.item() == result.forwards[2].item()
    torch.testing.assert_close(alone.x[0], result.x[2], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 must be an integer >= 1"),
        ({"step_size": -1.0}, "step_size=-1.0 must be finite and > 0"),
        ({"const": 0.0}, "const=0.0 must be finite and > 0"),
        ({"const": 30.0}, "const=30.0 must be less than largest_const=20.0"),
        ({"decrease": 1.0}, r"decrease=1.0 must lie in \(0, 1\)"),
        ({"ball": L2(0.1)}, "ball=L2 has a norm that this attack does not minimise; give it Linf"),
        ({"loss": cross_entropy}, "loss must be saddlepoint.losses.margin"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        CWLinf(**settings)
