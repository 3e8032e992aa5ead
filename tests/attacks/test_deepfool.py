import math

import pytest
import torch

import saddlepoint as sp
from saddlepoint import L1, L2, Bounds, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import DeepFool, EachTarget
from saddlepoint.balls import L0
from saddlepoint.errors import SettingError
from saddlepoint.testing import ConstantModel, LinearModel, contract
from saddlepoint.testing._subject import network

INF = math.inf
PAPER = {"candidates": None, "nudge": 0.0, "carry_overshoot": False}

test_contract_linf = contract(DeepFool(ball=Linf(INF), steps=10), within=1.03, targeted=False)
test_contract_l2 = contract(DeepFool(steps=10), within=1.03, targeted=False)
test_contract_l2_paper = contract(DeepFool(steps=10, **PAPER), within=1.03, targeted=False)
test_contract_l1 = contract(DeepFool(ball=L1(INF, share=0), steps=10), targeted=False)


def linear(rows=60, features=30, classes=6, bounds=(0, 1)):
    """A linear model, and rows that are far from the box compared to their distance from the boundary."""
    module = LinearModel(Noise(1).normal(torch.empty(classes, features, dtype=torch.float64)))
    x = 0.4 + 0.2 * Noise(2).uniform(torch.empty(rows, features, dtype=torch.float64))
    return Classifier(module, bounds=bounds), x, module(x).argmax(1)


def smooth(rows=30, features=12):
    """A small net of four classes, smooth but curved, and rows well inside the box."""
    x = 0.3 + 0.4 * Noise(4).uniform(torch.empty(rows, features, dtype=torch.float64))
    net = network(features, torch.float64)
    model = Classifier(lambda x: net(8 * x - 4), bounds=(-3, 4))
    return model, x, model.predict(x)


def least_l1(model, x, y):
    """Distance in L1 to the nearest boundary of a linear model, box aside."""
    weight, logits = model.module.weight.detach(), model.module(x).detach()
    slope = (weight - weight[y][:, None]).abs().amax(2)
    gap = logits.gather(1, y[:, None]) - logits
    return (gap / slope).scatter(1, y[:, None], INF).amin(1)


@pytest.mark.parametrize("settings", [{}, PAPER, {"nudge": 0.0}], ids=["default", "paper", "no nudge"])
@pytest.mark.parametrize("ball", [L2(INF), Linf(INF), L1(INF, share=0)], ids=["l2", "linf", "l1"])
def test_one_step_is_exact_on_a_linear_model(ball, settings):
    width = 4 if isinstance(ball, L1) else 1  # one feature that goes all the way needs room
    model, x, y = linear(bounds=(0.5 - width / 2, 0.5 + width / 2))
    attack = DeepFool(ball=ball, **settings)
    result = attack(model, x, y)
    least = least_l1(model, x, y) if isinstance(ball, L1) else model.module.minimal_distance(x, y, ball)
    assert result.success.all()
    assert (result.solved_at == 2).all()
    assert ((result.x > model.bounds.lower) & (result.x < model.bounds.upper)).all()
    torch.testing.assert_close(result.distance / 1.02 - attack.nudge * width, least, rtol=1e-9, atol=1e-12)
    assert ((result.distance / 1.02 - least).abs() <= width * 1e-4 * (1 + 1e-6)).all()


def test_float32_is_exact_to_a_ten_thousandth_too():
    model, x, y = linear()
    model, x = Classifier(model.module.float()), x.float()
    result = DeepFool(nudge=0.0)(model, x, y)
    least = model.module.minimal_distance(x, y, L2)
    assert result.success.all()
    assert ((result.distance / 1.02 - least).abs() <= 1e-4).all()


def by_hand(module, x, y, ball, *, nudge, overshoot=0.02):
    """The loop of the authors' Python code for one row, class by class, in its own words."""
    norm = {"l2": lambda w: w.norm(), "linf": lambda w: w.abs().sum()}[ball.norm]
    unit = {"l2": lambda w: w / w.norm(), "linf": torch.sign}[ball.norm]
    total, point = torch.zeros_like(x), x.clone()
    for _ in range(50):
        point.requires_grad_()
        logits = module(point[None])[0]
        if logits.argmax() != y:
            break
        best = None
        for k in logits.detach().argsort(descending=True)[1:]:
            (w,) = torch.autograd.grad(logits[k] - logits[y], point, retain_graph=True)
            distance = (logits[y] - logits[k]).item() / norm(w)
            if best is None or distance < best[0]:
                best = distance, w
        total = total + (best[0] + nudge) * unit(best[1])
        point = (x + (1 + overshoot) * total).detach()
    return point.detach()


@pytest.mark.parametrize("ball", [L2(INF), Linf(INF)], ids=["l2", "linf"])
def test_equals_a_loop_over_rows_and_classes_away_from_the_box(ball):
    model, x, y = smooth()
    result = DeepFool(ball=ball)(model, x, y)
    hands = [by_hand(model.module, *row, ball, nudge=1e-4 * model.bounds.width) for row in zip(x, y, strict=True)]
    assert result.success.all()
    assert result.forwards.max() > 2, "every row took one step: nothing was iterated"
    torch.testing.assert_close(result.x, torch.stack(hands), rtol=0, atol=1e-9)


def test_matlab_flavour_linearises_before_the_overshoot_and_tests_after_it():
    model, x, y = smooth()
    asked = []

    def spy(x):
        asked.append(x.detach().clone())
        return model.module(x)

    attack = DeepFool(carry_overshoot=False, overshoot=0.3, steps=2, confidence=100)  # no row ends
    attack(Classifier(spy, bounds=(-1e4, 1e4)), x, y)
    start, tested, face = asked[:3]
    assert torch.equal(start, x)
    assert (face != x).flatten(1).any(1).all()
    torch.testing.assert_close(tested - x, 1.3 * (face - x))


def test_a_look_and_a_gradient_per_candidate_are_all_that_a_step_takes():
    model, x, y = smooth()
    for candidates, others in ((10, 3), (3, 2), (2, 1)):
        result = DeepFool(candidates=candidates)(model, x, y)
        assert torch.equal(result.backwards, others * result.forwards)
        assert torch.equal(result.solved_at, result.forwards)
    paper = DeepFool(**PAPER)(model, x, y)
    assert torch.equal(paper.backwards, 3 * (paper.forwards // 2))


def test_only_the_likeliest_classes_are_candidates():
    model, x, y = linear()
    logits = model.module(x).detach()
    second = logits.scatter(1, y[:, None], -INF).argmax(1)
    result = DeepFool(candidates=2, nudge=0.0)(model, x, y)
    slope = (model.module.weight[second] - model.module.weight[y]).norm(dim=1).detach()
    gap = (logits.gather(1, y[:, None]) - logits.gather(1, second[:, None]))[:, 0]
    torch.testing.assert_close(result.distance, 1.02 * gap / slope)
    assert (result.distance > DeepFool(nudge=0.0)(model, x, y).distance * 1.01).any()


def test_classes_are_taken_in_parts_where_there_are_many():
    module = LinearModel(Noise(1).normal(torch.empty(35, 40, dtype=torch.float64)))
    x = 0.45 + 0.1 * Noise(2).uniform(torch.empty(20, 40, dtype=torch.float64))
    y = module(x).argmax(1)
    result = DeepFool(candidates=None, nudge=0.0)(Classifier(module), x, y)
    assert (result.solved_at == 2).all()
    assert (result.backwards == 2 * 34).all()
    torch.testing.assert_close(result.distance / 1.02, module.minimal_distance(x, y, L2))


@pytest.mark.parametrize("name", ["mnist-standard", "mnist-pgd"])
def test_default_limits_leave_no_more_than_one_percent_of_digits_unsolved(name):
    model, data = sp.load_model(f"zoo:{name}"), sp.load_data("mnist10k:test")[:100]
    result = DeepFool()(model, data.x, data.y)
    assert int((~result.success).sum()) <= (0 if name == "mnist-standard" else 1)
    assert torch.equal(result.x[~result.success], data.x[~result.success])


def test_features_that_the_box_stops_are_left_out_once_it_took_most_of_three_steps():
    """The step along w would gain 10 of a unit by the first feature, which cannot move, and little by the second."""
    model = Classifier(LinearModel(torch.tensor([[0.0, 0.0], [10.0, 0.5]]), torch.tensor([10.4, 0.0])))
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    assert not DeepFool(patience=None, steps=20)(model, x, y).success.any()
    result = DeepFool(steps=20)(model, x, y)
    assert result.success.all()
    assert result.forwards <= 6
    assert 0.8 <= result.x[0, 1] <= 0.83


def test_rows_at_corners_without_a_way_out_end():
    model = Classifier(LinearModel(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([3.0, 0.0])))
    result = DeepFool()(model, torch.tensor([[1.0, 1.0]]), torch.tensor([0]))
    assert not result.success
    assert result.distance == 0
    assert result.forwards <= 4


def test_misclassified_rows_stay_where_they_are():
    model, x, y = smooth()
    result = DeepFool()(model, x, (y + 1) % 4)
    assert torch.equal(result.x, x)
    assert result.success.all()
    assert (result.forwards == 1).all()
    assert (result.backwards == 0).all()


def test_models_without_gradient_end_the_row_at_once():
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0, 0.5])))
    result = DeepFool()(model, torch.rand(3, 4), torch.ones(3, dtype=torch.int64))
    assert not result.success.any()
    assert (result.distance == 0).all()
    assert (result.forwards == 1).all()


def test_a_tie_is_left_behind():
    """Two equal logits, the label first: the step has no length but for the push."""
    model = Classifier(LinearModel(torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64)))
    x, y = torch.full((1, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    assert model.predict(x) == 0
    for settings in ({}, PAPER):
        result = DeepFool(**settings)(model, x, y)
        assert result.success.all()
        assert 0 < result.distance < 2e-4


@pytest.mark.parametrize("settings", [{}, PAPER], ids=["default", "paper"])
def test_confidence_is_reached(settings):
    model, x, y = linear()
    result = DeepFool(confidence=0.5, **settings)(model, x, y)
    assert result.success.all()
    assert (result.loss >= 0.5).all()
    assert (result.loss <= 0.6).all()
    assert (result.distance > DeepFool(**settings)(model, x, y).distance).all()


@pytest.mark.parametrize("keep", list(Keep))
def test_points_beyond_eps_do_not_count_and_are_not_returned(keep):
    model, x, y = smooth()
    free = DeepFool()(model, x, y)
    eps = free.distance.median().item()
    result = DeepFool(ball=L2(eps), keep=keep, steps=20)(model, x, y)
    assert (result.distance <= eps + 1e-9).all()
    if keep is not Keep.LAST:
        assert result.success[free.distance <= eps].all()
        assert not result.success.all()


def test_lengths_scale_with_the_box():
    model, x, y = smooth()
    wide = Classifier(lambda x: model.module(x / 255), bounds=(-3 * 255, 4 * 255))
    found, wanted = DeepFool()(wide, x * 255, y), DeepFool()(model, x, y)
    torch.testing.assert_close(found.x / 255, wanted.x)


def test_aims_restrict_it_to_one_class():
    model, x, y = linear(rows=20)
    alone = DeepFool()(model, x, y)
    each = EachTarget(attack=DeepFool(), classes=None)(model, x, y)
    torch.testing.assert_close(each.distance, alone.distance)
    assert (each.backwards >= 5).all()


def test_bounds_hold_where_the_step_leaves_them():
    model, x, y = linear()
    tight = Classifier(model.module, bounds=Bounds(0.39, 0.61))
    result = DeepFool()(tight, x, y)
    assert ((result.x >= 0.39) & (result.x <= 0.61)).all()


def test_targets_are_refused():
    model, x, y = smooth()
    with pytest.raises(SettingError, match="leave target out, or use PGD with your target"):
        DeepFool()(model, x, y, target=(y + 1) % 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": L0(3.0)}, "ball=L0 has a norm that this attack does not minimise; give it L2 or Linf or L1"),
        ({"steps": -1}, "steps=-1 must be an integer >= 0"),
        ({"overshoot": -0.1}, "overshoot=-0.1 must be finite and >= 0"),
        ({"nudge": INF}, "nudge=inf must be finite and >= 0"),
        ({"candidates": 1}, "candidates=1 must be >= 2, the label among them, or None for all"),
        ({"patience": 0}, "patience=0 must be >= 1, or None"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(SettingError, match=message):
        DeepFool(**settings)


def test_slopes_too_small_to_square_count_and_leave_other_rows_alone():
    weight = torch.tensor([[1.0, 2.0], [-1.0, 1.0]])

    def net(x):
        return x @ weight.T

    x = torch.tensor([[0.9, 0.3], [0.2, 0.7]])
    y = net(x).argmax(1)
    scales = torch.tensor([[1e-25], [1.0]])
    both = DeepFool()(Classifier(lambda v: net(v) * scales[: len(v)]), x, y, limits=Limits(shrink_at=0))
    plain = DeepFool()(Classifier(net), x, y)
    alone = DeepFool()(Classifier(net), x[1:], y[1:])
    assert both.success.tolist() == plain.success.tolist()
    torch.testing.assert_close(both.x[0], plain.x[0])
    assert torch.equal(both.x[1:], alone.x)
