"""Planted faults: each is found and named, with no other finding beside it; healthy models have none."""

import copy
import dataclasses

import pytest
import torch
from stripes import MEAN, STD, Prepared, as_is, levels, normalised, symmetric, trained
from torch import nn

import saddlepoint as sp
from saddlepoint.evaluation.doctor import CHECKS, examine, glance
from saddlepoint.testing import ConstantModel, MaskedModel, NaNModel, RandomModel


class Behind(nn.Module):
    """A net whose logits pass through a function."""

    def __init__(self, net, after):
        super().__init__()
        self.net, self.after = net, after

    def forward(self, x):
        return self.after(self.net(x))


class Normalise(nn.Module):
    """A first layer as model zoos have it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std


class StraightThrough(torch.autograd.Function):
    """Rounded to sixteenths, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return (16 * x).round() / 16

    @staticmethod
    def backward(ctx, grad):
        return grad


def zoo(name):
    return copy.deepcopy(sp.load_model(f"zoo:{name}").module)


def given(module, **settings):
    """As people give it: in evaluation mode."""
    return sp.Classifier(module.eval(), **settings)


def digits_net():
    return zoo("mnist-standard")


def batch_statistics():
    """The healthy net, whose batch normalisation takes the statistics of the batch."""
    net = copy.deepcopy(trained())
    net[1].track_running_stats, net[1].running_mean, net[1].running_var = False, None, None
    return net


def dropout():
    return nn.Sequential(copy.deepcopy(trained()), nn.Dropout(0.5)).train()


def labelled(data, change, k=None):
    classes = data.classes if k is None else tuple(map(str, range(k)))
    return dataclasses.replace(data, y=change(data.y), classes=classes)


def moved(data, change, bounds=(0.0, 1.0)):
    return dataclasses.replace(data, x=change(data.x), bounds=bounds)


def swapped(z):
    return z[:, [1, 0, *range(2, z.shape[1])]]


FAULTS = {
    # name: (model, change of the data or None, titles)
    "rgb: normalisation missing": (
        lambda: given(trained(normalised, nn.Identity)), None, "The normalisation is missing",
    ),
    "rgb: normalisation of others": (
        lambda: given(trained(normalised), mean=0.9, std=0.05), None, "The normalisation is another one",
    ),
    "rgb: levels doubled": (
        lambda: given(Prepared(lambda x: x / 255, trained()), bounds=(0, 255), std=255),
        lambda data: moved(data, levels, (0.0, 255.0)), "The normalisation is doubled",
    ),
    "rgb: normalisation doubled": (
        lambda: given(nn.Sequential(Normalise(), trained(normalised)), mean=MEAN, std=STD),
        None, "The normalisation is doubled",
    ),
    "rgb: trained on levels": (lambda: given(trained(levels)), None, "The input range is another one"),
    "rgb: trained on [-1, 1]": (lambda: given(trained(symmetric)), None, "The input range is another one"),
    "digits: trained on levels": (
        lambda: given(Prepared(lambda x: x / 255, nn.Sequential(digits_net()))), None,
        "The input range is another one",
    ),
    "digits: inverted": (
        lambda: given(Prepared(lambda x: 1 - x, digits_net())), None, "Light and dark are swapped",
    ),
    "rgb: channels swapped": (
        lambda: given(Prepared(lambda x: x.flip(1), trained())), None, "The channels are in another order",
    ),
    "rgb: channels rotated behind a normalisation": (
        lambda: given(trained(normalised), mean=MEAN, std=STD),
        lambda data: moved(data, lambda x: x.roll(1, 1)), "The channels are in another order",
    ),
    "rgb: height and width exchanged": (
        lambda: given(trained()), lambda data: moved(data, lambda x: x.transpose(2, 3)),
        "The layout of the inputs is another one",
    ),
    "digits: height and width exchanged": (
        lambda: given(digits_net()), lambda data: moved(data, lambda x: x.transpose(2, 3)),
        "The layout of the inputs is another one",
    ),
    "rgb: channels last": (
        lambda: given(trained()), lambda data: moved(data, lambda x: x.permute(0, 2, 3, 1)),
        "The layout of the inputs is another one",
    ),
    "rgb: reshaped, not permuted": (
        lambda: given(trained()),
        lambda data: moved(data, lambda x: x.permute(0, 2, 3, 1).reshape(x.shape)),
        "The layout of the inputs is another one",
    ),
    "digits: upside down": (
        lambda: given(digits_net()), lambda data: moved(data, lambda x: x.flip(2)),
        "The layout of the inputs is another one",
    ),
    "digits: bounds of levels": (
        lambda: given(digits_net(), bounds=(0, 255)), lambda data: moved(data, as_is, (0.0, 255.0)),
        "The data do not fill the bounds",
    ),
    "digits: inputs beyond the bounds": (
        lambda: given(Prepared(lambda x: x / 255, digits_net())),
        lambda data: moved(data, levels, (0.0, 255.0)), "The inputs leave the bounds",
    ),
    "rgb: inputs normalised before": (
        lambda: given(trained(normalised), bounds=(-2.2, 2.7)),
        lambda data: moved(data, normalised, (-2.2, 2.7)), "The inputs look normalised",
    ),
    "digits: probabilities": (
        lambda: given(nn.Sequential(digits_net(), nn.Softmax(1))), None, "The outputs look like probabilities",
    ),
    "rgb: log-probabilities": (
        lambda: given(nn.Sequential(trained(), nn.LogSoftmax(1))), None,
        "The outputs look like log-probabilities",
    ),
    "digits: sigmoid": (
        lambda: given(nn.Sequential(digits_net(), nn.Sigmoid())), None, "The outputs are squashed",
    ),
    "rgb: training mode": (lambda: sp.Classifier(dropout()), None, "The model was given in training mode"),
    "digits: random": (lambda: given(RandomModel(digits_net(), scale=0.1)), None, "The model is random"),
    "rgb: statistics of the batch": (
        lambda: given(batch_statistics()), None, "Rows depend on who shares the batch",
    ),
    "digits: squeezed": (
        lambda: given(Behind(digits_net(), torch.squeeze)), None, "The model fails on a single row",
    ),
    "rgb: changed in place": (
        lambda: given(Prepared(lambda x: x.sub_(0.1).add_(0.1 + 1e-4), trained())), None,
        "The model changes its input in place",
    ),
    "digits: detached": (
        lambda: given(Prepared(torch.detach, digits_net())), None, "The gradient is cut off",
    ),
    "digits: rounded": (
        lambda: given(Prepared(lambda x: (4 * x).round() / 4, digits_net())), None, "A step has no gradient",
    ),
    "rgb: threshold": (
        lambda: given(Prepared(lambda x: (x > 0.5).float(), trained(lambda x: (x > 0.5).float()))), None,
        "The gradient is cut off",
    ),
    "digits: masked": (lambda: given(MaskedModel(digits_net())), None, "A step has no gradient"),
    "rgb: straight through": (
        lambda: given(Prepared(StraightThrough.apply, trained())), None, "The logits are constant in pieces",
    ),
    "digits: shattered": (
        lambda: given(MaskedModel(digits_net(), shattered=True)), None, "The gradients are wrong",
    ),
    "rgb: detached in part": (
        lambda: given(Prepared(lambda x: 0.2 * x + 0.8 * x.detach(), trained())), None,
        "The gradients are wrong",
    ),
    "digits: columns detached": (
        lambda: given(Prepared(lambda x: torch.cat([x[..., :20].detach(), x[..., 20:]], 3), digits_net())), None,
        "Features have no gradient",
    ),
    "rgb: a channel detached": (
        lambda: given(Prepared(lambda x: torch.cat([x[:, :1].detach(), x[:, 1:]], 1), trained())), None,
        "Features have no gradient",
    ),
    "digits: infinite slope": (
        lambda: given(Prepared(lambda x: x.sqrt().square(), digits_net())), None, "Gradients are not finite",
    ),
    "rgb: undefined rows": (
        lambda: given(NaNModel(trained(), lambda x: x[:, 0, 0, 0] > 0.9)), None, "The outputs are not finite",
    ),
    "digits: logits times 100": (
        lambda: given(Behind(digits_net(), lambda z: 100 * z)), None, "The logits saturate",
    ),
    "rgb: logits times 100": (
        lambda: given(Behind(trained(), lambda z: 100 * z)), None, "The logits saturate",
    ),
    "rgb: constant": (
        lambda: given(ConstantModel(torch.arange(8.0))), None, "The logits do not depend on the input",
    ),
    "digits: labels shifted": (
        lambda: given(digits_net()), lambda data: labelled(data, lambda y: (y + 1) % 10),
        "The labels are shifted",
    ),
    "rgb: labels counted from one": (
        lambda: given(trained()), lambda data: labelled(data, lambda y: y + 1, 9), "The labels are shifted",
    ),
    "rgb: a class for the background": (
        lambda: given(Behind(trained(), lambda z: torch.cat([z[:, :1] - 50, z], 1))), None,
        "The labels are shifted",
    ),
    "digits: labels beyond": (
        lambda: given(digits_net()), lambda data: labelled(data, lambda y: y.where(y < 9, 12), 13),
        "Labels of classes that the model does not have",
    ),
    "digits: two classes exchanged": (
        lambda: given(Behind(digits_net(), swapped)), None, "The classes are in another order",
    ),
    "rgb: classes sorted otherwise": (
        lambda: given(trained()),
        lambda data: labelled(data, lambda y: torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])[y]),
        "The classes are in another order",
    ),
    "digits: the first rows of sorted ones": (
        lambda: given(digits_net()), lambda data: data[data.y.argsort(stable=True)][:100], "Classes are missing",
    ),
    "digits: labels of nobody": (
        lambda: given(digits_net()),
        lambda data: labelled(data, lambda y: y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]),
        "Clean accuracy is close to chance",
    ),
    "digits: bfloat16": (lambda: given(digits_net().bfloat16()), None, "The model computes in 16 bits"),
    "rgb: half inside": (
        lambda: given(Behind(trained(), lambda z: z.half().float())), None, "The model computes in 16 bits",
    ),
    "digits: autocast": (
        lambda: given(digits_net(), autocast=torch.bfloat16), None, "The model computes in 16 bits",
    ),
    "digits: cancelled": (
        lambda: given(Behind(digits_net(), lambda z: (0.3 * z + 6e7) - 6e7)), None,
        "Rounding decides predictions", "The logits are constant in pieces",
    ),
}  # fmt: skip


NAMED = {
    "rgb: trained on levels": "inputs from 0 to 255",
    "rgb: trained on [-1, 1]": "inputs from -1 to 1",
    "rgb: normalisation missing": "the statistics of ImageNet (mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))",
    "rgb: levels doubled": "no normalisation by the Classifier",
    "rgb: channels swapped": "the channels as BGR",
    "rgb: channels rotated behind a normalisation": "the channels as GBR",
    "rgb: reshaped, not permuted": "the values read as (height, width, channels)",
    "rgb: channels last": "the channels on axis 1, not the last",
    "digits: upside down": "upside down",
    "digits: labels shifted": "with the labels y - 1",
    "digits: two classes exchanged": "where the model says class 0 means 1, 1 means 0;",
    "digits: rounded": "64 of 64 rows",
    "digits: the first rows of sorted ones": "100 rows hold 2 of the model's 10 classes: 0, 1; they stand sorted",
    "digits: bounds of levels": "the inputs run from 0 to 1, the bounds from 0 to 255",
}
"""What the evidence says of some: not only that there is another way, but which."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_and_nothing_else(fault, rgb, digits):
    model, change, *titles = FAULTS[fault]
    data = rgb if fault.startswith("rgb") else digits
    found = examine("net", model(), data if change is None else change(data), rows=256).findings
    assert sorted(finding.title for finding in found) == sorted(titles), found
    assert all(finding.evidence and finding.consequence and finding.remedy for finding in found)
    assert found[0].model == "net"
    assert NAMED.get(fault, "") in found[0].evidence


def healthy(kind, rgb, digits):
    """A sound model with its rows."""
    if kind.startswith("zoo:mnist"):
        return sp.load_model(kind), digits
    weights = trained(*{"levels": (levels, nn.Identity), "tanh": (symmetric, nn.BatchNorm2d, nn.Tanh)}.get(kind, ()))
    if kind == "levels":
        return given(weights, bounds=(0, 255)), moved(rgb, levels, (0.0, 255.0))
    if kind == "tanh":
        return given(weights, mean=0.5, std=0.5), rgb
    if kind == "weak":  # a quarter of the rows are right
        return given(trained(normalised, steps=12), mean=MEAN, std=STD), rgb
    return given(trained(normalised), mean=MEAN, std=STD) if kind == "normalised" else given(weights), rgb


HEALTHY = [
    "zoo:mnist-standard", "zoo:mnist-pgd", "zoo:mnist-lenet", "as is", "normalised", "levels", "tanh", "weak",
]  # fmt: skip


@pytest.mark.parametrize("kind", HEALTHY)
@pytest.mark.parametrize("rows", [64, 512])
def test_a_healthy_model_has_no_finding(kind, rows, rgb, digits):
    model, data = healthy(kind, rgb, digits)
    checkup = examine(kind, model, data, rows)
    assert checkup.findings == []
    assert checkup.healthy
    asked_of_others = {"TF32", "accuracy behind transforms"}  # of a GPU, and of what has something in front
    assert set(CHECKS) - set(checkup.checks) <= asked_of_others
    assert glance(kind, model, data) == []


def _cropped(x):
    return nn.functional.pad(x[..., 3:-3, 3:-3], (3, 3, 3, 3))


def _rests(x):
    return (x - 0.25).relu()  # in the edges of digits, which are dark, it never wakes


@pytest.mark.parametrize("change", [_cropped, _rests])
def test_features_without_a_gradient_that_do_nothing_are_no_fault(change, digits):
    model = given(Prepared(change, digits_net()))
    x = digits.x[:64].clone().requires_grad_()
    (grad,) = torch.autograd.grad(model.logits(x).logsumexp(1).sum(), x)
    assert (grad == 0).all(0).any()
    assert "Features have no gradient" not in [finding.title for finding in examine("net", model, digits, 256).findings]


@pytest.mark.data
@pytest.mark.parametrize("kind", ["fashion-standard", "fashion-pgd"])
def test_healthy_models_of_clothes_have_none_either(kind):
    try:
        data = sp.load_data("fashion-mnist:test")
    except sp.errors.DataError:
        pytest.skip("fashion-mnist is not installed")
    assert examine(kind, sp.load_model(f"zoo:{kind}"), data, 512).findings == []


def test_a_remedy_heals(rgb):
    """What the finding says to do leaves nothing to be found."""
    net = trained(normalised, nn.Identity)
    (found,) = examine("net", given(net), rgb, 512).findings
    assert found.remedy == (
        "Give them to the Classifier: Classifier(model, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))."
    )
    assert examine("net", given(net, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), rgb, 512).findings == []
