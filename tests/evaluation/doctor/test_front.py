"""Transforms that leave clean inputs what they are, spoil them, or make them all the same."""

import pytest
import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.defenses.transforms import DenoisingAutoencoder, GaussianNoise, Median, Thermometer
from saddlepoint.evaluation import evaluate
from saddlepoint.evaluation.doctor import examine, glance
from saddlepoint.models import SmallCNN

COLLAPSED, SPOILT = "All inputs look the same behind the transforms", "The transforms spoil clean inputs"


@pytest.fixture
def net():
    return sp.load_model("zoo:mnist-standard")


def collapsed(share=0.0):
    """An autoencoder whose output is a picture of its own, and hardly of the input."""
    torch.manual_seed(0)
    front = DenoisingAutoencoder((1, 28, 28))
    with torch.no_grad():
        front.layers[-1].weight.mul_(share)
    return front.eval()


def told(model, data):
    return [found for found in glance("m", model, data) if found.title in (COLLAPSED, SPOILT)]


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_collapsed_autoencoder_is_told_with_both_accuracies(net, digits, share):
    model = net.prepend(collapsed(share))
    (found,) = told(model, digits)
    (whole,) = [each for each in examine("m", model, digits, 200).findings if each.title == COLLAPSED]
    assert (found.level, found.title) == (whole.level, whole.title) == ("warning", COLLAPSED)
    rows = torch.randperm(512, generator=torch.Generator().manual_seed(0))[:200].sort().values
    x, y = digits.x[rows], digits.y[rows]
    behind, without = (int((each.predict(x) == y).sum()) for each in (model, net))
    assert whole.evidence.startswith(f"of 200 clean rows {behind} are right behind them and {without} without them; ")
    assert (model.meter.forwards, net.meter.forwards) == (200, 200)  # those of predict


def test_the_variance_that_is_left_is_told(net, digits):
    (found,) = told(net.prepend(lambda x: 0.5 - 0.3 * x), digits)  # 0.3 squared
    assert found.title == SPOILT
    assert found.evidence.endswith("; 9 % of the variance between the rows is left")
    (found,) = told(net.prepend(lambda x: 0.5 - 0.2 * x), digits)
    assert found.title == COLLAPSED
    assert "; 4 % of the variance" in found.evidence


def test_what_spoils_nothing_is_not_told(net, digits):
    assert "accuracy behind transforms" not in examine("m", net, digits, 64).checks  # there are none
    assert "accuracy behind transforms" in examine("m", net.prepend(Median(2)), digits, 64).checks
    for mild in (Median(2), GaussianNoise(0.05), lambda x: x):
        assert told(net.prepend(mild), digits) == []
    wrong = sp.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    assert told(wrong.prepend(collapsed()), digits) == []  # there was nothing to spoil


def test_a_net_that_takes_codes_alone_is_not_asked_without_them(digits):
    torch.manual_seed(0)
    model = sp.Classifier(SmallCNN(channels=4)).prepend(Thermometer(4))
    for found in (glance("m", model, digits), examine("m", model, digits, 64).findings):
        assert not {COLLAPSED, SPOILT, "The model fails"} & {each.title for each in found}


def test_an_evaluation_tells_it(net, digits):
    models = {"net": net.prepend(collapsed())}
    run = evaluate(models, digits[:70], balls=[sp.Linf(0.1)], attacks=["fgsm"], draw=False)
    assert COLLAPSED in [found.title for found in run.record.findings]
