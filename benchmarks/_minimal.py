"""Minimum-norm attacks of saddlepoint and of its peers, as calls that answer with points.

``OURS[task]`` is the attack; ``prepare(peer, net, task)`` prepares a call without arguments. Steps, step sizes and
constants are the same on both sides where a peer has them; else its defaults are used, and ``NOTES`` says so.
"""

import math
import warnings
from functools import partial

import torch
from _peers import _stand_ins, peer_version

import saddlepoint as sp
from saddlepoint.attacks import CWL0, CWL2, DDN, FMN, JSMA, CWLinf, DeepFool
from saddlepoint.balls import L0, L1

OURS = {
    "deepfool": DeepFool(steps=50),
    "deepfool-linf": DeepFool(ball=sp.Linf(math.inf), steps=50),
    "ddn": DDN(steps=300),
    "fmn-l0": FMN(ball=L0(math.inf), steps=100),
    "fmn-l1": FMN(ball=L1(math.inf), steps=100),
    "fmn-l2": FMN(steps=100),
    "fmn-linf": FMN(ball=sp.Linf(math.inf), steps=100),
    "cw-l2": CWL2(),
    "cw-linf": CWLinf(),
    "cw-l0": CWL0(),
    "jsma": JSMA(),
}
FILES = {
    "deepfool": ("_minimal", "deepfool"),
    "ddn": ("_minimal", "ddn"),
    "fmn": ("_minimal", "fmn"),
    "cw-l2": ("_minimal", "_carlini", "cw_l2"),
    "cw-linf": ("_minimal", "_carlini", "cw_linf"),
    "cw-l0": ("_minimal", "_carlini", "cw_l0"),
    "jsma": ("_minimal", "_pairs", "jsma"),
    "l-bfgs": ("_minimal", "_quasi_newton", "lbfgs"),
}
"""The modules of each attack, whose code the figures depend on."""
NOTES = {
    ("art", "cw-l2"): "its own line search in place of Adam, 9 constants and 10 iterations",
    ("art", "cw-linf"): "its defaults",
    ("art", "jsma"): "ranks features by the gradient of the target alone",
    ("torchattacks", "cw-l2"): "one constant, c = 1, and 1,000 steps: it has no search",
    ("adv-lib", "ddn"): "levels=None, so that no point is rounded",
}


def files(task):
    """The modules of the attack of a task."""
    return FILES.get(task, FILES.get(task.partition("-")[0], ()))


def saddlepoint(net, task):
    """Ours."""
    model, attack = sp.Classifier(net.module), OURS[task]
    return lambda: attack(model, net.x, net.y).x


def _foolbox(task):
    def prepare(net):
        import foolbox

        attacks = foolbox.attacks
        attack = {
            "deepfool": lambda: attacks.L2DeepFoolAttack(steps=50, candidates=10, overshoot=0.02),
            "deepfool-linf": lambda: attacks.LinfDeepFoolAttack(steps=50, candidates=10, overshoot=0.02),
            "ddn": lambda: attacks.DDNAttack(steps=300),
            "fmn-l0": lambda: attacks.L0FMNAttack(steps=100),
            "fmn-l1": lambda: attacks.L1FMNAttack(steps=100),
            "fmn-l2": lambda: attacks.L2FMNAttack(steps=100),
            "fmn-linf": lambda: attacks.LInfFMNAttack(steps=100),
            "cw-l2": lambda: attacks.L2CarliniWagnerAttack(binary_search_steps=9, steps=1000),
        }[task]()
        model = foolbox.PyTorchModel(net.module, bounds=(0, 1), device="cpu")
        return lambda: attack(model, net.x, net.y, epsilons=None)[0]

    return prepare


def _adv_lib(task):
    def prepare(net):
        with _stand_ins("torchvision", "torchvision.models", "visdom"):
            from adv_lib import attacks
        call = {
            "deepfool": partial(attacks.df, steps=50),
            "deepfool-linf": partial(attacks.df, steps=50, norm=math.inf),
            "ddn": partial(attacks.ddn, steps=300, levels=None),
            "fmn-l0": partial(attacks.fmn, norm=0, steps=100),
            "fmn-l1": partial(attacks.fmn, norm=1, steps=100),
            "fmn-l2": partial(attacks.fmn, norm=2, steps=100),
            "fmn-linf": partial(attacks.fmn, norm=math.inf, steps=100),
            "cw-l2": partial(attacks.carlini_wagner_l2, max_iterations=1000),
            "cw-linf": partial(attacks.carlini_wagner_linf, learning_rate=0.005),
        }[task]
        return lambda: call(net.module, net.x, net.y)

    return prepare


def _torchattacks(task):
    def prepare(net):
        import torchattacks

        made = {
            "deepfool": lambda: torchattacks.DeepFool(net.module, steps=50, overshoot=0.02),
            "cw-l2": lambda: torchattacks.CW(net.module, c=1, steps=1000, lr=0.01),
        }[task]()
        return lambda: made(net.x, net.y)

    return prepare


def _art(task):
    def prepare(net):
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        shape, classes = tuple(net.x.shape[1:]), net.module(net.x[:1]).shape[1]
        loss = torch.nn.CrossEntropyLoss()
        model = PyTorchClassifier(net.module, loss, shape, classes, clip_values=(0.0, 1.0), device_type="cpu")
        quiet = {"batch_size": len(net.x), "verbose": False}
        attack = {
            "deepfool": lambda: evasion.DeepFool(model, max_iter=50, epsilon=0.02, nb_grads=10, **quiet),
            "cw-l2": lambda: evasion.CarliniL2Method(model, binary_search_steps=9, **quiet),
            "cw-linf": lambda: evasion.CarliniLInfMethod(model, **quiet),
        }[task]()
        x, y = net.x.numpy(), net.y.numpy()
        return lambda: torch.from_numpy(attack.generate(x, y))

    return prepare


PEERS = {
    "foolbox": (_foolbox, ("deepfool", "deepfool-linf", "ddn", "fmn-l0", "fmn-l1", "fmn-l2", "fmn-linf", "cw-l2")),
    "adv-lib": (
        _adv_lib,
        ("deepfool", "deepfool-linf", "ddn", "fmn-l0", "fmn-l1", "fmn-l2", "fmn-linf", "cw-l2", "cw-linf"),
    ),
    "torchattacks": (_torchattacks, ("deepfool", "cw-l2")),
    "art": (_art, ("deepfool", "cw-l2", "cw-linf")),
}


def prepare(peer, net, task):
    """The call of a peer; what it warns of while it is built is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PEERS[peer][0](task)(net)


__all__ = ["NOTES", "OURS", "PEERS", "files", "peer_version", "prepare", "saddlepoint"]
