import pytest
import torch

from saddlepoint import L2, Bounds, Classifier, Limits, Linf, Noise
from saddlepoint.attacks import CWL2
from saddlepoint.attacks.cw_l2 import Search
from saddlepoint.errors import SettingError
from saddlepoint.losses import cross_entropy, margin
from saddlepoint.testing import ConstantModel, LinearModel, contract

test_contract_l2 = contract(CWL2(steps=10, search_steps=3, step_size=0.2, const=1.0))


def linear(classes=4, low=0.0, high=1.0, edges=False):
    """A linear model on a box, and rows of some distance from its boundary, inside the box or in its corners."""
    weight = Noise(1).normal(torch.empty(classes, 12, dtype=torch.float64)) / (high - low)
    module = LinearModel(weight, -weight.sum(1) * (low + high) / 2)
    x = Noise(2).uniform(torch.empty(24, 12, dtype=torch.float64)) * 0.8 + 0.1
    x = low + (high - low) * (x.round() if edges else x)
    y = module(x).argmax(1)
    far = module.minimal_distance(x, y, L2, Bounds(low, high)) > 0.12 * (high - low)
    return Classifier(module, bounds=(low, high)), x[far][:6], y[far][:6]


def small(**settings):
    return CWL2(**{"steps": 200, "search_steps": 5, "step_size": 0.02, "const": 0.1, **settings})


@pytest.mark.parametrize("settings", [{}, {"full_search": True, "step_size": 0.03}], ids=["default", "full"])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-3.0, 5.0)], ids=str)
@pytest.mark.usefixtures("unchecked")
def test_within_one_percent_of_the_least_distance(bounds, settings):
    model, x, y = linear(low=bounds[0], high=bounds[1])
    result = small(**settings)(model, x, y)
    least = model.module.minimal_distance(x, y, L2, model.bounds)
    assert result.success.all()
    assert (result.distance >= least * (1 - 1e-9)).all()
    assert (result.distance <= 1.01 * least).all()


@pytest.mark.usefixtures("unchecked")
def test_a_c_is_left_once_its_outcome_is_known():
    model, x, y = linear()
    quick, full = small()(model, x, y), small(full_search=True)(model, x, y)
    assert quick.forwards.sum() < 0.8 * full.forwards.sum()
    assert (quick.distance <= 1.01 * full.distance).all()


@pytest.mark.usefixtures("unchecked")
def test_targets_are_reached_at_the_least_distance():
    model, x, y = linear(classes=2)
    result = small()(model, x, y, target=1 - y)
    assert (model.module(result.x).argmax(1) == 1 - y).all()
    assert (result.distance <= 1.01 * model.module.minimal_distance(x, y, L2)).all()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.usefixtures("unchecked")
def test_confidence_is_reached_by_every_success(targeted):
    model, x, y = linear()
    target = (y + 1) % 4 if targeted else None
    result = small(confidence=0.5)(model, x, y, target=target)
    assert result.success.all()
    assert (margin(model.module(result.x), y, target) >= 0.5).all()
    assert (result.distance > small()(model, x, y, target=target).distance).all()


@pytest.mark.usefixtures("unchecked")
def test_features_on_the_edges_of_the_box_move():
    model, x, y = linear(edges=True)
    result = small(step_size=0.05)(model, x, y)
    assert result.success.all()
    assert (result.distance <= 1.5 * model.module.minimal_distance(x, y, L2)).all()


def test_a_constant_model_ends_the_search():
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0])))
    result = CWL2(steps=50)(model, x, torch.ones(3, dtype=torch.int64))
    assert not result.success.any()
    assert torch.equal(result.x, x)
    assert (result.forwards == 1 + 8 * 5 + 50).all()  # a tenth of the steps at all c but the last


def test_a_row_already_wrong_is_returned_after_one_look():
    model, x, y = linear()
    result = small()(model, x, (y + 1) % 4)
    assert (result.forwards == 1).all()
    assert torch.equal(result.x, x)


@pytest.mark.usefixtures("unchecked")
def test_rows_that_are_done_leave():
    model, x, y = linear()
    result = small()(model, x, y)
    assert len(result.forwards.unique()) > 1
    alone = [small()(model, x[i : i + 1], y[i : i + 1]) for i in range(0, 6, 3)]
    assert [int(r.forwards) for r in alone] == result.forwards[::3].tolist()
    torch.testing.assert_close(torch.cat([r.x for r in alone]), result.x[::3], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("unchecked")
def test_shifted_logits_change_nothing():
    model, x, y = linear()
    shifted = Classifier(lambda v: model.module(v) - 300)
    assert small()(shifted, x, y).forwards.tolist() == small()(model, x, y).forwards.tolist()


def after(search, fooled, turns=9, full=True):
    return search.after(torch.ones(len(fooled), dtype=torch.bool), torch.tensor(fooled), turns, full)


def test_the_constant_rises_tenfold_then_the_interval_is_halved():
    search = Search.start(torch.zeros(2, 1), 1e-3)
    assert search.const.dtype == torch.float64
    search = after(search, [False, True])
    assert search.const.tolist() == [0.01, 0.0005]
    search = after(search, [True, False])
    torch.testing.assert_close(search.const, torch.tensor([0.0055, 0.00075], dtype=torch.float64))


def at(const, low, high, turn):
    ends = (torch.tensor([value], dtype=torch.float64) for value in (const, low, high))
    return Search(*ends, torch.tensor([turn]))


@pytest.mark.parametrize(("turns", "full", "const"), [(9, False, 6.0), (10, True, 4.0), (9, True, 3.0)])
def test_the_last_search_step_goes_back_to_a_constant_that_fooled(turns, full, const):
    assert after(at(2.0, 0.0, 4.0, turns - 2), [False], turns, full).const.item() == const


def test_close_ends_lead_straight_to_the_last_search_step():
    search = after(at(2.5, 0.0, 4.0, 2), [False], full=False)
    assert (search.turn.item(), search.const.item()) == (8, 6.0)
    assert after(at(2.5, 0.0, 4.0, 2), [False]).turn.item() == 3


def test_the_constant_stays_finite():
    search = Search.start(torch.zeros(1, 1), 1e9)
    for _ in range(4):
        search = after(search, [False])
    assert search.const.item() == 1e10


def test_a_budget_ends_it_with_the_best_so_far():
    model, x, y = linear()
    result = small()(model, x, y, limits=Limits(forwards=200))
    assert (result.forwards <= 200).all()
    assert result.success.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 must be an integer >= 1"),
        ({"search_steps": 0}, "search_steps=0 must be an integer >= 1"),
        ({"step_size": 0.0}, "step_size=0.0 must be finite and > 0"),
        ({"const": float("nan")}, "const=nan must be finite and > 0"),
        ({"ball": Linf(0.1)}, "ball=Linf has a norm that this attack does not minimise; give it L2"),
        ({"loss": cross_entropy}, "loss must be saddlepoint.losses.margin"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        CWL2(**settings)
