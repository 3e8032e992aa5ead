"""The judge sees through every way in which a point can miss ball or box, and asks the module as the user would."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ModelError
from saddlepoint.evaluation.verify import judge


class Moved(nn.Module):
    """Class 1 as soon as the features add up to more than 2."""

    def forward(self, x):
        total = x.flatten(1).sum(1)
        return torch.stack([torch.full_like(total, 2.0), total], 1)


X0 = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
X = torch.tensor([[0.75, 0.625, 0.5, 0.5]])
ZERO = torch.tensor([0])
REACH = {"linf": 0.25, "l2": (0.25**2 + 0.125**2) ** 0.5, "l1": 0.375, "l0": 2.0}


@pytest.mark.parametrize("norm", REACH)
def test_a_point_at_the_border_counts(norm):
    verdict = judge(Classifier(Moved()), X0, X, ZERO, None, norm=norm, eps=REACH[norm])
    assert verdict.fooled.tolist() == [True]
    assert not bool(verdict.undefined | verdict.outside)
    assert verdict.predicted.tolist() == [1]
    assert verdict.distance.item() == pytest.approx(REACH[norm], rel=1e-12)


@pytest.mark.parametrize("norm", REACH)
def test_a_point_beyond_the_border_is_undefined_though_it_fools(norm):
    verdict = judge(Classifier(Moved()), X0, X, ZERO, None, norm=norm, eps=0.999 * REACH[norm])
    assert verdict.predicted.tolist() == [1]
    assert verdict.fooled.tolist() == [False]
    assert bool(verdict.undefined & verdict.outside)


@pytest.mark.parametrize(("by", "outside"), [(2e-6, True), (1e-7, False)])
@pytest.mark.parametrize("bounds", [(0.0, 0.75), (0.51, 1.0)])
def test_a_point_outside_the_box_is_undefined(bounds, by, outside):
    point = X0.clone()
    point[0, 0] = bounds[1] + by if bounds[0] == 0 else bounds[0] - by
    start = X0.clamp(*bounds)
    point[0, 1:] = 0.7
    verdict = judge(Classifier(Moved(), bounds=Bounds(*bounds)), start, point, ZERO, None, norm="linf", eps=0.5)
    assert verdict.predicted.tolist() == [1]
    assert verdict.outside.tolist() == verdict.undefined.tolist() == [outside]
    assert verdict.fooled.tolist() == [not outside]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("norm", REACH)
def test_a_point_that_is_not_finite_is_outside(norm, value):
    point = X.clone()
    point[0, 3] = value
    verdict = judge(Classifier(Moved()), X0, point, ZERO, None, norm=norm, eps=4.0)
    assert bool(verdict.undefined & verdict.outside)
    assert not bool(verdict.fooled)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_an_output_that_is_not_finite_is_undefined_and_leaves_its_neighbours_alone(value):
    def module(x):
        logits = Moved()(x)
        logits[1, 0] = value
        return logits

    rows = X.repeat(3, 1)
    verdict = judge(Classifier(module), X0.repeat(3, 1), rows, ZERO.repeat(3), None, norm="linf", eps=0.3)
    assert verdict.undefined.tolist() == [False, True, False]
    assert verdict.fooled.tolist() == [True, False, True]
    assert not bool(verdict.outside.any())


def test_a_target_must_be_reached_exactly():
    model = Classifier(Moved())
    for target, fooled in ((1, True), (0, False)):
        verdict = judge(model, X0, X, ZERO, torch.tensor([target]), norm="linf", eps=0.3)
        assert verdict.fooled.tolist() == [fooled]
        assert verdict.undefined.tolist() == [False]


def test_clean_inputs_are_judged_in_place():
    verdict = judge(Classifier(Moved()), X, X, torch.tensor([1]), None, norm=None, eps=0.0)
    assert verdict.fooled.tolist() == verdict.undefined.tolist() == [False]
    assert verdict.distance.tolist() == [0.0]


def test_the_meter_does_not_count_the_judge():
    model = Classifier(Moved())
    judge(model, X0, X, ZERO, None, norm="linf", eps=0.3)
    assert (model.meter.forwards, model.meter.backwards) == (0, 0)


class Fragile(nn.Module):
    """Fails on demand, in the midst of a module in which training and evaluation mode are mixed."""

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.fail = False

    def forward(self, x):
        if self.fail:
            raise RuntimeError("out of order")
        return self.parts(x)


@pytest.mark.parametrize("fail", [False, True])
def test_every_module_gets_its_own_mode_back(fail):
    module = Fragile().train()
    module.parts[1].eval()
    module.fail = fail
    before = [part.training for part in module.modules()]
    assert before.count(True) not in (0, len(before))
    buffers = [buffer.clone() for buffer in module.buffers()]
    with pytest.raises(ModelError, match="out of order") if fail else nullcontext():
        judge(Classifier(module), X0, X, ZERO, None, norm="linf", eps=0.3)
    assert [part.training for part in module.modules()] == before
    assert all(torch.equal(a, b) for a, b in zip(buffers, module.buffers(), strict=True))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())


def test_the_module_is_asked_in_evaluation_mode():
    module = Fragile().train()
    rows = torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
    said = judge(Classifier(module), rows, rows, torch.zeros(64, dtype=torch.int64), None, norm=None, eps=0.0).predicted
    with torch.no_grad():
        assert torch.equal(said, module.eval()(rows).argmax(1))
        assert not torch.equal(said, module.train()(rows).argmax(1))


@pytest.mark.parametrize(
    ("shape", "mean", "std"),
    [
        ((3, 2, 2), [0.2, 0.5, 0.9], [0.1, 0.7, 0.3]),
        ((3,), [0.2, 0.5, 0.9], [0.1, 0.7, 0.3]),
        ((3, 2, 2), 0.5, 0.25),
        ((3, 5), [0.2, 0.5, 0.9], None),
        ((3, 5), None, [0.1, 0.7, 0.3]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_normalises_as_the_classifier_does(shape, mean, std, dtype):
    drawn = torch.Generator().manual_seed(3)
    x = torch.rand(200, *shape, generator=drawn)
    module = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 5)).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=drawn, dtype=dtype))
    model = Classifier(module, mean=mean, std=std)
    said = judge(model, x, x, torch.zeros(200, dtype=torch.int64), None, norm=None, eps=0.0).predicted
    assert torch.equal(said, model.predict(x))
    assert not torch.equal(said, Classifier(module).predict(x))


@pytest.mark.parametrize("wide", [True, False])
def test_one_logit_means_two_classes(wide):
    x = torch.tensor([[0.1], [0.9]])
    model = Classifier(lambda x: x - 0.5 if wide else x[:, 0] - 0.5)
    verdict = judge(model, x, x, torch.tensor([0, 0]), None, norm=None, eps=0.0)
    assert verdict.predicted.tolist() == model.predict(x).tolist() == [0, 1]
    assert verdict.fooled.tolist() == [False, True]


def test_outputs_may_carry_their_logits():
    model = Classifier(lambda x: SimpleNamespace(logits=Moved()(x)))
    assert judge(model, X0, X, ZERO, None, norm="linf", eps=0.3).fooled.tolist() == [True]


class Fixed(nn.Module):
    """Three logits for every row."""

    def forward(self, x):
        return torch.tensor([[5.0, 2.0, 3.5]]).expand(len(x), -1)


@pytest.mark.parametrize(
    ("y", "target", "room"), [(0, None, 1.5), (1, None, -3.0), (2, None, -1.5), (0, 2, 1.5), (0, 1, 3.0), (1, 0, -1.5)]
)
def test_room_is_what_is_left_until_the_row_is_fooled(y, target, room):
    goal = None if target is None else torch.tensor([target])
    verdict = judge(Classifier(Fixed()), X0, X0, torch.tensor([y]), goal, norm="linf", eps=0.1)
    assert verdict.room.tolist() == [room]
    assert verdict.fooled.tolist() == [room < 0]


def test_the_room_of_two_classes_in_one_logit_is_measured_too():
    single = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        single[1].weight.fill_(1.0)
    verdict = judge(Classifier(single), X0, X0, torch.tensor([1]), None, norm="linf", eps=0.1)
    assert verdict.room.tolist() == [2.0]


def pixels(*shades):
    """One image of a row of grey pixels, and its channels."""
    return torch.tensor(shades).expand(1, 3, 1, -1).clone()


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0)])
@pytest.mark.parametrize(("share", "fooled"), [(1.0001, True), (0.999, False)])
def test_colour_differences_are_added_over_the_pixels(bounds, share, fooled):
    """White and black differ by 100 on the scale of CIEDE2000, so two such pixels by 100 sqrt(2) in all."""
    low, high = bounds
    x0, x = (low + (high - low) * pixels(*shades) for shades in ([0.0, 0.0, 0.5], [1.0, 1.0, 0.5]))
    whole = 100 * 2**0.5
    model = Classifier(lambda x: torch.stack([torch.zeros(len(x)), torch.ones(len(x))], 1), bounds=Bounds(*bounds))
    verdict = judge(model, x0, x, ZERO, None, norm="ciede2000", eps=share * whole)
    assert verdict.distance.item() == pytest.approx(whole, rel=1e-4)
    assert verdict.fooled.tolist() == [fooled]
    assert verdict.outside.tolist() == verdict.undefined.tolist() == [not fooled]
