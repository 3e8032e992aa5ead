"""Digits, models with a known fault around the same net, and what was measured of them, once for all tests."""

import functools

import pytest
import torch
from torch import nn

from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.data import load_data
from saddlepoint.evaluation.diagnostics import battery, measure
from saddlepoint.models import load_model
from saddlepoint.testing.models import MaskedModel, RandomModel


class Wrapped(nn.Module):
    """A net between a function of its input and one of its logits."""

    def __init__(self, net, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


def noisy(x):
    return x + 0.1 * torch.randn_like(x)


FAULTS = {
    "none": lambda net: net,
    "masked": MaskedModel,
    "shattered": lambda net: MaskedModel(net, shattered=True),
    "saturated": lambda net: Wrapped(net, after=lambda z: 100 * z),
    "quantised": lambda net: Wrapped(net, before=lambda x: (7 * x).round() / 7),
    "straight-through": lambda net: Wrapped(net, before=lambda x: x + ((7 * x).round() / 7 - x).detach()),
    "noise on the logits": RandomModel,
    "noise on the input": lambda net: Wrapped(net, before=noisy),
    "noise too small to matter": lambda net: RandomModel(net, scale=1e-3),
}
ROWS = 32


@pytest.fixture(scope="session")
def quick():
    """The probes with fewer steps and queries: the faults that are planted here are seen all the same."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "QUERIES": 100,
            "MORE": 20,
            "STEPS": 20,
            "DRAWS": 10,
            "RESTARTS": 2,
            "RUNG_STEPS": 10,
        }.items():
            patch.setattr(battery, name, value)
        yield


@functools.cache
def _digits():
    return load_data("mnist10k:test")


@pytest.fixture(scope="session")
def digits():
    return _digits()


@pytest.fixture(scope="session")
def faulty():
    """The undefended digit net with that fault."""

    def make(fault, spec="zoo:mnist-standard"):
        return Classifier(FAULTS[fault](load_model(spec).module))

    return make


@pytest.fixture(scope="session")
def measured(faulty, quick):
    """What is measured of that net at that radius."""

    @functools.cache
    def found(fault, eps=0.3):
        return measure(faulty(fault), _digits(), Linf(eps), rows=ROWS, seed=0)

    return found
