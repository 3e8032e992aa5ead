"""Which rows hold: attacks in turn, each on those that the ones before it left, and the bare module as the judge."""

import torch

import saddlepoint as sp
from saddlepoint.attacks import FGSM, PGD, Restarts
from saddlepoint.evaluation.ensembles import Member
from saddlepoint.losses import cross_entropy, margin

FIRST = sp.Keep.FIRST_SUCCESS
AT_ONCE = 500  # rows


def pgd(ball, loss, *, steps=50, times=1):
    """PGD with steps of eps / 10 from random starts; a row leaves at its first success."""
    attack = PGD(ball=ball, steps=steps, step_size=ball.eps / 10, keep=FIRST, loss=loss)
    return attack if times == 1 else Restarts(attack=attack, times=times)


def worst(ball, times=10):
    """PGD-50 from ten starts on the cross-entropy, and then the same on the margin."""
    losses = {"cross-entropy": cross_entropy, "margin": margin}
    return [Member(name=name, attack=pgd(ball, loss, times=times)) for name, loss in losses.items()]


def fgsm(ball):
    """One step of eps."""
    return [Member(name="fgsm", attack=FGSM(ball=ball))]


def standing(module, x, y, members, seed=0):
    """Rows that are right when clean, and after each member: [its name, rows that it saw, rows that it broke]."""
    model = sp.Classifier(module.eval())
    left = (model.predict(x) == y).nonzero().squeeze(1)
    clean, told = len(left), []
    for member in members:
        noise = sp.Noise(seed).child(member.name)
        parts = left.split(AT_ONCE) if len(left) else ()
        held = [part[_held(module, model, member, x[part], y[part], noise.at(part))] for part in parts]
        seen, left = len(left), torch.cat(held) if held else left
        told.append([member.name, seen, seen - len(left)])
    return {"clean": clean, "held": len(left), "members": told}


def _held(module, model, member, x, y, noise):
    points = member(model, x, y, noise=noise).x
    assert (member.ball.distance(points, x) <= member.ball.eps * (1 + 1e-5) + 1e-6).all(), "outside the ball"
    assert min(points.min(), 1 - points.max()) >= 0, "outside the box"
    with torch.no_grad():
        return module(points).argmax(1) == y


def zero_gradients(module, x, y):
    """Share of the rows whose gradient of the cross-entropy is 0 in every entry, in float32."""
    point = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(module(point), y).sum(), point)
    return float((grad.flatten(1) == 0).all(1).float().mean())


def first_gap(epochs, gap):
    """The number of the first epoch after which FGSM accuracy is that far above PGD accuracy, or None."""
    return next((n for n, (_, _, fgsm, pgd) in enumerate(epochs, 1) if fgsm - pgd > gap), None)
