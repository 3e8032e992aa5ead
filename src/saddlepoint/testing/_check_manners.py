"""Checks that an attack leaves everything of the caller as it was."""

import random

import numpy as np
import torch
from torch import nn

from saddlepoint.classifier import Classifier
from saddlepoint.testing._subject import CLASSES, Case, Subject
from saddlepoint.testing._suite import expect, expect_close, named


def inputs_untouched(subject: Subject) -> None:
    """The caller's tensors are neither changed nor handed back."""
    case = subject.case()
    x, y = case.x.clone(), case.y.clone()
    result = subject.run(Case(case.model, x, y))
    expect(x == case.x, "the attack changed x")
    expect(y == case.y, "the attack changed y")
    expect(not x.requires_grad and x.grad is None, "x requires a gradient now")
    result.x.add_(1)
    expect(x == case.x, "the result shares memory with the inputs")


def flags_untouched(subject: Subject) -> None:
    """Every submodule keeps its training flag, every parameter its requires_grad, and the attack runs in eval mode."""
    case, net = _delicate(subject)
    before = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    modes: list[bool] = []
    handle = net[0].register_forward_pre_hook(lambda module, _: modes.append(module.training))
    subject.run(case)
    handle.remove()
    expect([m.training for m in net.modules()] == before[0], "the attack changed the training flag of a submodule")
    expect([p.requires_grad for p in net.parameters()] == before[1], "the attack changed requires_grad of a parameter")
    expect(not any(modes), "the model ran in training mode")


def gradients_untouched(subject: Subject) -> None:
    """The gradients of the parameters are those of before."""
    case, net = _delicate(subject)
    parameters = list(net.parameters())
    parameters[0].grad = torch.full_like(parameters[0], 3)
    subject.run(case)
    expect(parameters[0].grad == 3, "the attack changed the gradient of a parameter")
    expect(all(p.grad is None for p in parameters[1:]), "the attack left gradients in the parameters")


def model_untouched(subject: Subject) -> None:
    """Weights, running statistics and hooks are those of before."""
    case, net = _delicate(subject)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    hooks = _hooks(net)
    subject.run(case)
    for name, value in net.state_dict().items():
        expect(value == state[name], f"the attack changed {name}")
    expect(_hooks(net) == hooks, "the attack left hooks on the model, or removed some")


def generators_untouched(subject: Subject) -> None:
    """The global random generators of torch, numpy and Python are not used."""
    case = subject.case()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    subject.run(case)
    expect(torch.get_rng_state() == before[0], "the attack drew from torch's generator")
    state = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    expect(state == before[1], "the attack drew from numpy's generator")
    expect(random.getstate() == before[2], "the attack drew from Python's generator")


def repeatable(subject: Subject) -> None:
    """The same call gives the same tensors, also where the caller has switched gradients off."""
    case = subject.case()
    first, second = subject.run(case), subject.run(case)
    expect(first.x == second.x, "the same call gave other points")
    with torch.no_grad():
        third = subject.run(case)
    expect_close(third.x, first.x, 0, "the points under torch.no_grad() are others")


def _delicate(subject: Subject) -> tuple[Case, nn.Sequential]:
    """A net with batch statistics, dropout, a frozen part, mixed flags and hooks."""
    case = subject.case()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(subject.features, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Linear(8, CLASSES)).to(case.x)
    net.train()
    net[3].eval()
    net[5].bias.requires_grad_(False)
    net[1].register_forward_hook(lambda module, args, output: None)
    return Case(Classifier(net), case.x, case.y), net


def _hooks(net: nn.Module) -> list[list[int]]:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [list(getattr(module, name)) for module in net.modules() for name in names]


CHECKS = named(
    inputs_untouched, flags_untouched, gradients_untouched, model_untouched, generators_untouched, repeatable
)
