"""Every objective of training, for tests that hold for all of them, and a net with all that can go wrong in one."""

import copy

import torch
from torch import nn

from saddlepoint.attacks import PGD
from saddlepoint.balls import Bounds
from saddlepoint.defenses import training
from saddlepoint.noise import Noise

NOISE = Noise(3)


def net_of(shape=(1, 6, 6), k=3, *, dropout=0.5, dtype=torch.float32, seed=0):
    """Batch normalisation, dropout and a bias, for inputs of any shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        d = torch.Size(shape).numel()
        parts = [nn.Flatten(), nn.Linear(d, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(dropout), nn.Linear(12, k)]
        return nn.Sequential(*parts).to(dtype)


def rows_of(n=8, shape=(1, 6, 6), k=3, *, dtype=torch.float32, seed=1):
    """Inputs in [0, 1], some on its ends, and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(n, *shape, generator=generator, dtype=torch.float64) * 1.4 - 0.2).clamp(0, 1).to(dtype)
    return x, torch.randint(0, k, (n,), generator=generator)


def moving(ball, bounds=Bounds()):
    """One of each objective that moves its points inside a ball, by name."""
    own = {"ball": ball, "bounds": bounds}
    return {
        "Adversarial": training.Adversarial(attack=PGD(ball=ball, steps=3), bounds=bounds),
        "FGSMMixed": training.FGSMMixed(**own),
        "FGSMMixed predicted": training.FGSMMixed(**own, labels="predicted"),
        "StrongAdversary": training.StrongAdversary(**own),
        "StrongAdversary jacobian": training.StrongAdversary(**own, variant="jacobian"),
        "Fast": training.Fast(**own),
        "Fast zero": training.Fast(**own, start="zero"),
        "Fast previous": training.Fast(**own, start="previous"),
        "Trades": training.Trades(**own, steps=3),
        "Free": training.Free(**own),
        "Mart": training.Mart(**own, steps=3),
    }


def still(teacher):
    """One of each objective whose points are its inputs, by name."""
    return {
        "Standard": training.Standard(),
        "ReversedLabelCrossEntropy": training.ReversedLabelCrossEntropy(),
        "Standard at 3": training.Standard(temperature=3.0),
        "Distillation": training.Distillation(teacher=teacher),
        "ContractivePenalty": training.ContractivePenalty(objective=training.Standard(), weight=0.1),
        "DefensiveDistillation": training.DefensiveDistillation(teacher=teacher, temperature=5.0),
    }


def every(ball, bounds=Bounds(), *, teacher=None):
    """One of each, and each once more inside AWP."""
    plain = moving(ball, bounds) | still(net_of(seed=5) if teacher is None else teacher)
    return plain | {f"AWP {name}": training.AWP(objective=objective) for name, objective in plain.items()}


def points_of(objective, net, x, y, *, progress=1.0, memory=None, rows=None):
    rows = torch.arange(len(x)) if rows is None else rows
    memory = {} if memory is None else memory
    return objective.points(net, x, y, noise=NOISE.at(rows), progress=progress, memory=memory)


def loss_of(objective, net, x, y, **given):
    return objective.loss(net, x, points_of(objective, net, x, y, **given), y)


def grads_of(loss, net):
    return list(torch.autograd.grad(loss, list(net.parameters()), allow_unused=True, materialize_grads=True))


def twin(net):
    return copy.deepcopy(net)
