"""The examination leaves everything as it was, runs on any input, and tells an evaluation what it must know."""

import copy
import json

import pytest
import torch
from stripes import MEAN, STD, Prepared, levels, normalised, trained
from torch import nn

import saddlepoint as sp
from saddlepoint.evaluation import evaluate
from saddlepoint.evaluation.doctor import examine, glance
from saddlepoint.testing import MaskedModel, RandomModel


def titles(found):
    return [finding.title for finding in found]


@pytest.mark.parametrize("look", [lambda *given: examine(*given, 64).findings, glance], ids=["examine", "glance"])
def test_nothing_is_touched(look, rgb):
    net = nn.Sequential(copy.deepcopy(trained()), nn.Dropout(0.3), nn.BatchNorm1d(8)).train()
    net[0][0].weight.requires_grad_(requires_grad=False)
    net[0][0].eval()
    next(net[2].parameters()).grad = torch.ones(8)
    model = sp.Classifier(net)
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    flags = [(part.training, [p.requires_grad for p in part.parameters(recurse=False)]) for part in net.modules()]
    rng, x, y = torch.get_rng_state(), rgb.x.clone(), rgb.y.clone()

    look("net", model, rgb)

    assert all(torch.equal(tensor, kept[name]) for name, tensor in net.state_dict().items())
    assert flags == [
        (part.training, [p.requires_grad for p in part.parameters(recurse=False)]) for part in net.modules()
    ]
    assert [p.grad is not None for p in net.parameters()].count(True) == 1
    assert torch.equal(next(net[2].parameters()).grad, torch.ones(8))
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(rgb.x, x)
    assert torch.equal(rgb.y, y)
    assert (model.meter.forwards, model.meter.backwards) == (0, 0)


def test_a_buffer_that_every_pass_changes_is_put_back(rgb):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = trained()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.net(x)

    net = Counting().eval()
    assert examine("net", sp.Classifier(net), rgb, 64).findings == []
    assert net.calls == 0


def test_the_same_model_and_rows_give_the_same_findings(rgb):
    model = sp.Classifier(trained(normalised, nn.Identity))
    first, second = (examine("net", model, rgb, 256) for _ in range(2))
    assert first.findings
    assert (first.findings, first.checks, first.rows) == (second.findings, second.checks, second.rows)
    assert glance("net", model, rgb) == glance("net", model, rgb)


def test_rows_are_spread_over_data_that_are_sorted(digits):
    order = digits.y.argsort()
    checkup = examine("net", sp.load_model("zoo:mnist-standard"), digits[order], 64)
    assert (checkup.findings, checkup.rows) == ([], 64)


def test_rows_follow_the_time_that_a_pass_takes(rgb, monkeypatch):
    monkeypatch.setattr("saddlepoint.evaluation.doctor.checkup._SECONDS", 1e9)
    assert examine("net", sp.Classifier(trained()), rgb).rows == 512
    monkeypatch.setattr("saddlepoint.evaluation.doctor.checkup._SECONDS", 0.0)
    assert examine("net", sp.Classifier(trained()), rgb).rows == 64


@pytest.mark.parametrize("rows", [1, 2, 3, 17])
@pytest.mark.parametrize("shape", [(5,), (4, 6), (1, 5, 5), (3, 2, 4, 4)], ids=str)
def test_any_number_of_rows_of_any_rank(rows, shape):
    drawn = torch.Generator().manual_seed(0)
    x = torch.rand(rows, *shape, generator=drawn)
    net = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(net[1].weight.shape, generator=drawn))
    model = sp.Classifier(net.eval())
    data = sp.Dataset(x, model.predict(x), classes=("a", "b", "c"), name="toy")
    found = titles(examine("net", model, data).findings)
    assert [title for title in found if title != "The data fill only a part of the bounds"] == []


def test_a_plain_function_and_a_single_logit():
    x = torch.rand(80, 6, generator=torch.Generator().manual_seed(0))
    checkup = sp.doctor(sp.Classifier(lambda x: 4 * x[:, 0] - 2), (x, (x[:, 0] > 0.5).long()))
    assert checkup.findings == []


def test_a_batch_that_does_not_fit_is_halved(rgb):
    net = trained()  # not in the pass itself, which may be the first to ask, and without gradients

    class Small(nn.Module):
        def forward(self, x):
            if len(x) > 20:
                raise torch.OutOfMemoryError("no room")
            return net(x)

    checkup = examine("net", sp.Classifier(Small().eval()), rgb, 64)
    assert checkup.findings == []


def test_a_model_that_fails_is_told_by_what_it_says(rgb):
    checkup = examine("net", sp.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(5, 8)).eval()), rgb, 64)
    assert titles(checkup.findings) == ["The model fails"]
    assert "shape (64, 3, 16, 16)" in checkup.findings[0].evidence
    assert checkup.checks == ["the model runs"]


def test_a_backward_pass_that_fails_is_told(rgb):
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            raise RuntimeError("no way back")

    (found,) = examine("net", sp.Classifier(Prepared(Broken.apply, trained()).eval()), rgb, 64).findings
    assert found.title == "The backward pass fails"
    assert "no way back" in found.evidence


def test_checks_that_cannot_say_anything_are_not_listed(digits):
    checkup = examine("net", sp.Classifier(RandomModel(sp.load_model("zoo:mnist-standard").module)), digits, 64)
    assert not {"batch", "finite differences", "rounding"} & set(checkup.checks)
    assert "gradients" in checkup.checks


def test_it_is_strict_json(rgb):
    checkup = examine("net", sp.Classifier(trained(levels)), rgb, 64)
    decoded = json.loads(checkup.to_json(), parse_constant=pytest.fail)
    assert decoded["findings"][0]["title"] == "The input range is another one"
    assert decoded["rows"] == 64
    assert not checkup.healthy


def of_run(model, data, attacks=("fgsm",)):
    return evaluate({"net": model}, data, balls=[sp.Linf(0.01)], attacks=attacks, draw=False).record


def test_an_evaluation_names_the_cause_of_a_low_accuracy(rgb):
    found = of_run(sp.Classifier(trained(levels)), rgb).findings
    assert titles(found)[0] == "The input range is another one"
    assert found[0].level == "error"


def test_an_evaluation_does_not_search_where_the_accuracy_is_fair(rgb, monkeypatch):
    def fail(patient):
        raise AssertionError("searched")

    monkeypatch.setattr("saddlepoint.evaluation.doctor.inputs.preparation", fail)
    assert glance("net", sp.Classifier(trained(normalised), mean=MEAN, std=STD), rgb) == []
    with pytest.raises(AssertionError, match="searched"):
        glance("net", sp.Classifier(trained(levels)), rgb)


def test_an_evaluation_sees_dead_gradients(digits):
    net = sp.load_model("zoo:mnist-standard").module
    found = of_run(sp.Classifier(MaskedModel(net)), digits[:40]).findings
    assert "A step has no gradient" in titles(found)
    assert set(titles(of_run(sp.Classifier(net), digits[:40]).findings)) == {"Few rows"}


def test_an_evaluation_has_the_same_numbers_and_random_numbers_with_and_without(rgb, monkeypatch):
    model, state = sp.Classifier(trained()), torch.get_rng_state()
    examined = of_run(model, rgb, ["pgd"])
    monkeypatch.setattr("saddlepoint.evaluation.plan.glance", lambda *given: [])
    plain = of_run(model, rgb, ["pgd"])
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(examined.models[0].threats[0].attacks, plain.models[0].threats[0].attacks, strict=True):
        assert (a.verdicts, a.forwards, a.backwards) == (b.verdicts, b.forwards, b.backwards)
