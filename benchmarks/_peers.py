"""Attacks of saddlepoint and of its peers, as calls that answer the same: points, and which of them fool the model.

``CONTENDERS[name](net, task)`` prepares a call without arguments, or gives None where the peer lacks the attack.
What a peer does once for a model (wrapping it, building the attack, NumPy copies of inputs) is not part of the call.
"""

import importlib.util
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from types import ModuleType

import torch

import saddlepoint as sp
from saddlepoint.attacks import BIM, FGSM, MIFGSM, PGD


@dataclass(frozen=True, kw_only=True)
class Task:
    """An attack and its settings; ``setting`` (see SETTINGS) and ``seed`` are ours alone."""

    attack: str
    eps: float
    steps: int = 1
    step_size: float | None = None
    setting: str = "same work"
    seed: int = 0


SETTINGS = {
    "same work": (sp.Keep.LAST, sp.Limits(shrink_at=0)),
    "best point": (sp.Keep.MAX_LOSS, sp.Limits(shrink_at=0)),
    "shrinking": (sp.Keep.FIRST_SUCCESS, sp.Limits()),
}
"""The last point as the peers give it; the best point seen, the default; rows leave once fooled, as in ``evaluate``."""


def saddlepoint(net, task):
    """Ours; the result says by itself which points fool."""
    keep, limits = SETTINGS[task.setting]
    loop = {"keep": keep, "steps": task.steps, "step_size": task.step_size}
    attack = {
        "fgsm": lambda: FGSM(ball=sp.Linf(task.eps), keep=keep),
        "bim": lambda: BIM(ball=sp.Linf(task.eps), **loop),
        "mi-fgsm": lambda: MIFGSM(ball=sp.Linf(task.eps), **loop),
        "pgd": lambda: PGD(ball=sp.Linf(task.eps), **loop),
        "pgd-l2": lambda: PGD(ball=sp.L2(task.eps), **loop),
        "slide": lambda: PGD(ball=sp.L1(task.eps), **loop, random_start=False),
    }[task.attack]()
    model = sp.Classifier(net.module)

    def call():
        result = attack(model, net.x, net.y, noise=sp.Noise(task.seed), limits=limits)
        return result.x, result.success

    return call


def foolbox(net, task):
    """Foolbox answers with points and success."""
    import foolbox

    loop = {"abs_stepsize": task.step_size, "steps": task.steps}
    attack = {
        "fgsm": lambda: foolbox.attacks.FGSM(random_start=False),
        "bim": lambda: foolbox.attacks.LinfBasicIterativeAttack(**loop, random_start=False),
        "mi-fgsm": lambda: foolbox.attacks.LinfMomentumIterativeFastGradientMethod(**loop, momentum=1.0),
        "pgd": lambda: foolbox.attacks.LinfPGD(**loop),
        "pgd-l2": lambda: foolbox.attacks.L2PGD(**loop),
        "slide": lambda: foolbox.attacks.SparseL1DescentAttack(**loop, quantile=0.99),
    }[task.attack]()
    model = foolbox.PyTorchModel(net.module, bounds=(0, 1), device="cpu")
    return lambda: attack(model, net.x, net.y, epsilons=task.eps)[1:]


def torchattacks(net, task):
    """Torchattacks answers with points."""
    import torchattacks

    loop = {"eps": task.eps, "alpha": task.step_size, "steps": task.steps}
    made = {
        "fgsm": lambda: torchattacks.FGSM(net.module, eps=task.eps),
        "bim": lambda: torchattacks.BIM(net.module, **loop),
        "mi-fgsm": lambda: torchattacks.MIFGSM(net.module, **loop, decay=1.0),
        "pgd": lambda: torchattacks.PGD(net.module, **loop),
        "pgd-l2": lambda: torchattacks.PGDL2(net.module, **loop),
    }.get(task.attack)
    return made and _asked(net, partial(made(), net.x, net.y))


def art(net, task):
    """ART answers with points as a NumPy array; they are taken back into a tensor."""
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    shape, classes = tuple(net.x.shape[1:]), net.module(net.x[:1]).shape[1]
    model = PyTorchClassifier(
        net.module, torch.nn.CrossEntropyLoss(), shape, classes, clip_values=(0.0, 1.0), device_type="cpu"
    )
    once = {"eps": task.eps, "batch_size": len(net.x)}
    loop = {**once, "eps_step": task.step_size, "max_iter": task.steps, "verbose": False}
    made = {
        "fgsm": lambda: evasion.FastGradientMethod(model, **once),
        "bim": lambda: evasion.BasicIterativeMethod(model, **loop),
        "mi-fgsm": lambda: evasion.MomentumIterativeMethod(model, **loop, decay=1.0),
        "pgd": lambda: evasion.ProjectedGradientDescentPyTorch(model, **loop, num_random_init=1),
        "pgd-l2": lambda: evasion.ProjectedGradientDescentPyTorch(model, **loop, num_random_init=1, norm=2),
    }.get(task.attack)
    attack, x, y = made and made(), net.x.numpy(), net.y.numpy()
    return attack and _asked(net, lambda: torch.from_numpy(attack.generate(x, y)))


def adv_lib(net, task):
    """adv-lib answers with points."""
    if task.attack != "pgd":
        return None
    with _stand_ins("torchvision", "torchvision.models", "visdom"):
        from adv_lib.attacks import pgd_linf
    settings = {"ε": task.eps, "steps": task.steps, "absolute_step_size": task.step_size}
    return _asked(net, partial(pgd_linf, net.module, net.x, net.y, **settings))


CONTENDERS = {"foolbox": foolbox, "torchattacks": torchattacks, "art": art, "adv-lib": adv_lib}
PACKAGES = {"art": "adversarial-robustness-toolbox"}


def prepare(peer, net, task):
    """The call of a peer, or None where it lacks the attack; what it warns of while it is built is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CONTENDERS[peer](net, task)


def peer_version(peer):
    """The version that is installed."""
    return version(PACKAGES.get(peer, peer))


def _asked(net, attack):
    """Which points fool, where the peer does not say: one forward pass."""

    def call():
        points = attack()
        with torch.no_grad():
            return points, net.module(points).argmax(1) != net.y

    return call


@contextmanager
def _stand_ins(*names):
    """Empty modules for packages that are absent: adv-lib imports them for what no attack here uses."""
    absent = [name for name in names if importlib.util.find_spec(name.split(".")[0]) is None]
    for name in absent:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
