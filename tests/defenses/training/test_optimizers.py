from itertools import pairwise

import pytest
import torch
from torch import nn

from saddlepoint.defenses.training import SGD, Adam
from saddlepoint.defenses.training.optimizers import groups
from saddlepoint.errors import SettingError


def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))


def test_norms_and_biases_do_not_decay():
    module = net()
    decaying, rest = groups(module, 0.1)
    assert [p is q for p, q in zip(decaying["params"], (module[0].weight, module[3].weight), strict=True)] == [True] * 2
    assert {id(p) for p in rest["params"]} == {
        id(p) for p in (module[0].bias, module[1].weight, module[1].bias, module[3].bias)
    }
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.0, weight_decay=0.5), Adam(weight_decay=0.5)])
def test_without_a_gradient_only_weights_shrink(optimizer):
    module = net()
    before = [p.detach().clone() for p in module.parameters()]
    made = optimizer.make(module, 0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    for parameter, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, old) == (parameter.dim() == 1)
        if parameter.dim() > 1 and isinstance(optimizer, SGD):
            assert torch.allclose(parameter, old * (1 - 0.1 * 0.5))


def test_momentum_adds_up_and_nesterov_looks_ahead():
    for nesterov, steps in ((False, [1.0, 1.9, 2.71]), (True, [1.9, 2.71, 3.439])):
        module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(module.weight)
        made, at = SGD(momentum=0.9, nesterov=nesterov).make(module, 1.0), [0.0]
        for _ in range(3):
            module.weight.grad = torch.ones(1, 1)
            made.step()
            at.append(module.weight.item())
        assert [a - b for a, b in pairwise(at)] == pytest.approx(steps, rel=1e-5)


def test_frozen_parameters_stay_out():
    module = net()
    module[0].requires_grad_(False)
    (only,) = groups(module, 0.0)
    assert len(only["params"]) == 4


@pytest.mark.parametrize(
    ("cls", "changes", "rule"),
    [
        (SGD, {"momentum": 1.0}, r"momentum=1.0 must lie in \[0, 1\)"),
        (SGD, {"momentum": 0.0, "nesterov": True}, "needs a momentum above 0"),
        (SGD, {"weight_decay": -1e-4}, "weight_decay=-0.0001 must be a finite number >= 0"),
        (Adam, {"weight_decay": float("nan")}, "weight_decay=nan must be a finite number >= 0"),
    ],
)
def test_what_makes_no_sense_is_refused(cls, changes, rule):
    with pytest.raises(SettingError, match=rule):
        cls(**changes)
