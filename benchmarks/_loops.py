"""Plain training loops, as they are commonly written, to time the package's against; and the timing."""

import copy
from functools import partial

import torch
from _timing import ratios
from _trained import data
from torch.nn import functional

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.defenses.training import Adversarial, Fast, Schedule, Standard, Trades, fit
from saddlepoint.models import SmallCNN

EPS, STEP, STEPS, BATCH, BETA = 0.1, 0.025, 7, 128, 6.0
BALL = sp.Linf(EPS)
OURS = {
    "pgd": Adversarial(attack=PGD(ball=BALL, steps=STEPS, step_size=STEP)),
    "fast": Fast(ball=BALL),
    "trades": Trades(ball=BALL, beta=BETA, steps=STEPS, step_size=STEP),
}


def plain(points, loss, net, x, y):
    """One epoch: the module in training mode throughout, points of each batch by ``points``, then a step of Adam."""
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    net.train()
    for rows in torch.randperm(len(x)).split(BATCH):
        found = points(net, x[rows], y[rows])
        optimizer.zero_grad()
        loss(net, x[rows], found, y[rows]).backward()
        optimizer.step()


def climb(start, slope, net, x, y):
    """Signed steps, each projected onto ball and box."""
    found = start(x)
    for _ in range(STEPS):
        found = found.detach().requires_grad_()
        step = STEP * slope(net, found, x, y).sign()
        found = torch.min(torch.max(found.detach() + step, x - EPS), x + EPS).clamp(0, 1)
    return found.detach()


def uniform(x):
    return (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)


def normal(x):
    return x + 1e-3 * torch.randn_like(x)


def slope_of_loss(net, found, x, y):
    """By ``backward``, so that the gradients of all parameters are computed, too."""
    net.zero_grad()
    functional.cross_entropy(net(found), y).backward()
    return found.grad


def divergence(net, found, x):
    """KL(p(x) || p(x')), the clean logits computed anew."""
    return functional.kl_div(net(found).log_softmax(1), net(x).softmax(1), reduction="batchmean")


def slope_of_divergence(whole, net, found, x, y):
    """The slope in the points; with ``whole`` by ``backward``, so that all parameters get a gradient, too."""
    value = divergence(net, found, x)
    if not whole:
        return torch.autograd.grad(value, found)[0]
    net.zero_grad()
    value.backward()
    return found.grad


def at_points(net, x, found, y):
    return functional.cross_entropy(net(found), y)


def both(net, x, found, y):
    logits = net(x)
    divergence = functional.kl_div(net(found).log_softmax(1), logits.softmax(1), reduction="batchmean")
    return functional.cross_entropy(logits, y) + BETA * divergence


def _of_trades(whole):
    return partial(plain, partial(climb, normal, partial(slope_of_divergence, whole)), both)


def ours(objective, net, x, y, *, precision="float32", form=None):
    """One epoch of the package's loop."""
    net = net if form is None else form(net)
    fit(net, x, y, objective, Schedule(epochs=1, batch_size=BATCH, precision=precision))


def passes(parameters, net, x, y, *, form=None):
    """The passes of an epoch of PGD training, and nothing between them; slopes with or without those of parameters."""
    net = net if form is None else form(net)
    for rows in torch.arange(len(x)).split(BATCH):
        net.requires_grad_(parameters)
        for _ in range(STEPS):
            functional.cross_entropy(net(x[rows].requires_grad_()), y[rows]).backward()
        net.requires_grad_(True)
        functional.cross_entropy(net(x[rows]), y[rows]).backward()


def single_step(adversarial, net, x, y):
    """The passes of an epoch of standard training, or of single-step training, and nothing between them."""
    for rows in torch.arange(len(x)).split(BATCH):
        if adversarial:
            net.requires_grad_(False)
            functional.cross_entropy(net(x[rows].requires_grad_()), y[rows]).backward()
            net.requires_grad_(True)
        functional.cross_entropy(net(x[rows]), y[rows]).backward()


def _channels_last(net):
    return net.to(memory_format=torch.channels_last)


PAIRS = {  # the goal is for the median of the ratios
    "pgd over a plain loop": (
        partial(ours, OURS["pgd"]),
        partial(plain, partial(climb, uniform, slope_of_loss), at_points),
        0.75,
    ),
    "fast over standard": (partial(ours, OURS["fast"]), partial(ours, Standard()), 2.2),
    "trades over a plain loop": (partial(ours, OURS["trades"]), _of_trades(True), 0.75),
    "trades over a plain loop that spares the parameters": (partial(ours, OURS["trades"]), _of_trades(False), 0.75),
    "pgd over a plain loop, its passes alone": (partial(passes, False), partial(passes, True), 0.75),
    "fast over standard, their passes alone": (partial(single_step, True), partial(single_step, False), 2.2),
    "fast over standard, both channels last": (
        partial(ours, OURS["fast"], form=_channels_last),
        partial(ours, Standard(), form=_channels_last),
        2.2,
    ),
    "fast over standard, both in bfloat16": (
        partial(ours, OURS["fast"], precision="bfloat16"),
        partial(ours, Standard(), precision="bfloat16"),
        2.2,
    ),
    # Tried to bring the passes nearer to the goals: a layout, a compiler, a shorter number.
    "its passes alone, channels last": (partial(passes, False, form=_channels_last), partial(passes, True), 0.75),
    "its passes alone, compiled": (partial(passes, False, form=torch.compile), partial(passes, True), 0.75),
    "pgd in bfloat16 over a plain loop in float32": (
        partial(ours, OURS["pgd"], precision="bfloat16"),
        partial(plain, partial(climb, uniform, slope_of_loss), at_points),
        0.75,
    ),
}


def speed(name, rows, pairs):
    """Ratios of the time of epochs of so many rows, in interleaved pairs, and the goal."""
    mine, theirs, goal = PAIRS[name]
    found = data("fashion-mnist:train")[:rows]
    torch.manual_seed(0)
    nets = [SmallCNN()]
    nets.append(copy.deepcopy(nets[0]))
    both = [partial(run, net, found.x, found.y) for run, net in zip((mine, theirs), nets, strict=True)]
    return {**ratios(*both, pairs), "goal": goal}
