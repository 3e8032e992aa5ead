"""Faults that were planted are found, under their name; what is sound is called sound."""

import pytest
import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.balls import L2, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset, load_data
from saddlepoint.errors import DataError
from saddlepoint.evaluation.diagnostics import conclude, measure
from saddlepoint.models import load_model
from saddlepoint.testing.models import ConstantModel, NaNModel

PLANTED = [
    ("masked", "masked gradients"),
    ("shattered", "masked gradients"),
    ("saturated", "saturated logits"),
    ("quantised", "quantised input"),
    ("noise on the logits", "random output"),
    ("noise on the input", "random output"),
]


def loaded(spec):
    """A data set; the test is skipped where it is not installed."""
    try:
        return load_data(spec)
    except DataError as error:
        pytest.skip(str(error))


def named(diagnosis):
    return {probe.name: probe for probe in diagnosis.probes}


@pytest.mark.parametrize(("fault", "cause"), PLANTED)
def test_a_planted_fault_has_its_name(measured, fault, cause):
    found = conclude(measured(fault))
    assert (found.verdict, found.causes, found.compared) == ("do not cite", [cause], False)


@pytest.mark.parametrize("fault", ["none", "straight-through"])
def test_a_net_that_is_fooled_on_every_row_has_nothing_to_hide(measured, fault):
    found = conclude(measured(fault))
    assert (found.verdict, found.causes, found.rows) == ("trust", [], 32)
    assert [probe.concern for probe in found.probes] == ["none"] * len(found.probes)


def test_steps_that_do_nothing_are_seen_where_gradients_pass_them_by(measured):
    pieces = named(conclude(measured("straight-through")))["small steps change nothing"]
    assert pieces.numbers["stepped"] == pieces.numbers["rows"] == 32
    assert pieces.concern == "none"
    assert named(conclude(measured("none")))["small steps change nothing"].numbers["stepped"] == 0


def test_a_masked_net_fails_every_probe_that_it_must(measured):
    found = named(conclude(measured("masked")))
    assert found["gradient-free beats gradients"].numbers["alone"] >= 14
    assert found["the whole box is not enough"].numbers["held"] == 32
    assert found["rows whose loss never moved"].numbers["still"] == 32
    assert found["gradients of exactly zero"].numbers["margin"] == 32
    assert found["the loss does not rise with eps"].numbers["rise"] == 0
    assert found["small steps change nothing"].concern == "none"  # the net itself is smooth


def test_shattered_gradients_are_beaten_by_one_step(measured):
    assert named(conclude(measured("shattered")))["one step beats many"].cause == "masked gradients"


def test_saturation_is_told_from_masking_by_the_margin(measured):
    found = named(conclude(measured("saturated")))
    duel = found["cross-entropy falls behind"]
    assert duel.numbers["dead"] >= 0.9 * duel.numbers["left"] > 0
    assert "margin" in duel.remedy
    assert [probe.name for probe in found.values() if probe.concern != "none"] == [duel.name]


def test_noise_that_changes_no_answer_is_a_doubt(measured):
    found = conclude(measured("noise too small to matter"))
    assert (found.verdict, found.causes) == ("doubt", ["random output"])


def test_a_net_that_never_answers_otherwise_hides_nothing(quick):
    data = Dataset(torch.rand(40, 1, 6, 6), torch.ones(40, dtype=torch.int64), classes=("a", "b"), name="toy")
    found = conclude(measure(Classifier(ConstantModel(torch.tensor([0.0, 1.0]))), data, Linf(0.2), rows=40, seed=0))
    assert found.verdict == "trust", found.probes
    assert named(found)["rows whose loss never moved"].numbers["constant"] == 32
    assert named(found)["gradients of exactly zero"].numbers["rows"] == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_linear_net_hides_nothing_even_where_it_knows_one_answer_only(seed, quick):
    drawn = torch.Generator().manual_seed(seed)
    weight, bias, x = (torch.rand(shape, generator=drawn) - 0.5 for shape in ((4, 3), (3,), (80, 4)))
    net = Classifier(lambda v: v @ weight + bias)
    data = Dataset(x + 0.5, net.predict(x + 0.5), classes=("a", "b", "c"), name="toy")
    found = conclude(measure(net, data, Linf(0.05), rows=60, seed=0))
    assert (found.verdict, found.causes) == ("trust", []), [each for each in found.probes if each.concern != "none"]


class Plateau(nn.Module):
    """Right by the mean of the input, and the same everywhere within 0.2 of where the tests put it."""

    def forward(self, x):
        step = (x.flatten(1).mean(1, keepdim=True) > 0.5).to(x) + 0 * x.flatten(1).sum(1, keepdim=True)
        return torch.cat([1 - step, step], 1)


def test_a_plateau_as_wide_as_the_ball_hides_nothing(quick):
    x = torch.full((40, 1, 6, 6), 0.2) + 0.6 * (torch.arange(40) % 2).view(-1, 1, 1, 1)
    data = Dataset(x, torch.arange(40) % 2, classes=("low", "high"), name="toy")
    found = conclude(measure(Classifier(Plateau()), data, Linf(0.1), rows=40, seed=0))
    assert (found.verdict, found.causes) == ("trust", [])


def test_rows_without_a_finite_output_are_said(faulty, digits, quick):
    spoiled = Classifier(NaNModel(faulty("none").module, lambda x: x.flatten(1).amax(1) < 0.9))
    found = conclude(measure(spoiled, digits, Linf(0.3), rows=32, seed=0))
    assert found.verdict == "do not cite"
    assert "undefined rows" in found.causes


def test_few_rows_are_no_ground_for_trust(faulty, digits, quick):
    found = conclude(measure(faulty("none"), digits[:5], Linf(0.3), rows=32, seed=0))
    assert (found.verdict, found.causes, found.rows) == ("doubt", [], 5)
    assert found.probes[0].name == "too few rows"


def test_no_row_that_is_right_leaves_nothing_to_ask(digits, quick):
    wrong = Classifier(ConstantModel(torch.eye(10)[3]))
    data = Dataset(digits.x[:20], torch.zeros(20, dtype=torch.int64), classes=digits.classes, name="wrong")
    found = conclude(measure(wrong, data, Linf(0.3), rows=32, seed=0))
    assert (found.verdict, found.rows, found.forwards, found.rungs) == ("doubt", 0, 0, [])


def test_a_twin_betrays_masked_gradients(faulty, digits, quick):
    found = measure(faulty("masked"), digits, Linf(0.3), rows=20, seed=0, twin=faulty("none"))
    transfer = named(conclude(found))["transfer beats gradients"]
    assert (transfer.concern, transfer.cause, transfer.numbers["alone"]) == ("do not cite", "masked gradients", 20)


@pytest.mark.data
def test_a_robust_net_is_trusted(quick):
    found = conclude(measure(load_model("zoo:fashion-pgd"), loaded("fashion-mnist:test"), Linf(0.1), rows=40, seed=0))
    assert (found.verdict, found.causes) == ("trust", [])


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.1, 0.3])
@pytest.mark.parametrize(("fault", "cause"), PLANTED)
def test_a_planted_fault_has_its_name_at_full_strength(faulty, digits, fault, cause, eps):
    found = sp.diagnose(faulty(fault), digits, ball=Linf(eps), rows=60)
    assert (found.verdict, found.causes) == ("do not cite", [cause])


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    ("spec", "data", "eps"),
    [
        ("zoo:mnist-standard", "mnist10k:test", 0.3),
        ("zoo:mnist-standard", "mnist10k:test", 0.1),
        ("zoo:mnist-pgd", "mnist10k:test", 0.1),
        ("zoo:fashion-pgd", "fashion-mnist:test", 0.1),
        ("zoo:photopatch-pgd", "photopatch10:test", 8 / 255),
    ],
)
def test_a_sound_number_raises_no_alarm_at_full_strength(spec, data, eps):
    found = sp.diagnose(load_model(spec), loaded(data), ball=Linf(eps), rows=100)
    assert (found.verdict, found.causes) == ("trust", [])


@pytest.mark.slow
def test_adversarial_training_in_linf_masks_gradients_in_l2(digits):
    found = conclude(measure(load_model("zoo:mnist-pgd"), digits, L2(2.0), rows=60, seed=0))
    assert (found.verdict, found.causes) == ("do not cite", ["masked gradients"])
