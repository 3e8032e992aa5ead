"""What benchmarks/training.py measures of nets: each method gives the figures of one cell."""

from dataclasses import dataclass
from pathlib import Path

import torch
from _standing import fgsm, pgd, standing, worst, zero_gradients
from _trained import data, shorter, trained

import saddlepoint as sp
from saddlepoint.attacks import CWL0, CWL2, CWLinf
from saddlepoint.evaluation.ensembles import CASCADE, SUITES, Member
from saddlepoint.losses import cross_entropy, margin

EPS, WIDE = 0.1, 1.5  # in Linf, in L2
CARLINI = {"cw-l2": CWL2(), "cw-linf": CWLinf(), "cw-l0": CWL0()}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows: to train on (None: all), to test on, for the suite, for Carlini & Wagner; pairs, rows of each."""

    train: int | None = None
    test: int = 2000
    suite: int = 500
    few: int = 50
    pairs: int = 11
    block: int = 2560


QUICK = Size(train=1280, test=60, suite=20, few=4, pairs=2, block=256)


@dataclass(frozen=True)
class Bench:
    """Nets as they are needed, and the rows that they are tested on."""

    size: Size
    folder: Path

    def net(self, training):
        """The net, and what its training says."""
        return trained(self.sized(training), self.folder / "weights")

    def sized(self, training):
        """The training, cut short where this is a trial."""
        return training if self.size.train is None else shorter(training, self.size.train)

    def test(self, training, rows):
        """The first rows of the test split."""
        found = data(training.data.replace(":train", ":test"))[:rows]
        return found.x, found.y

    def objective(self, training):
        """Accuracies of one training, and what it took."""
        (net, told), (x, y) = self.net(training), self.test(training, self.size.test)
        strong = standing(net, x, y, worst(sp.Linf(EPS)))
        few = self.test(training, self.size.suite)
        suite = standing(net, *few, SUITES[CASCADE].members(sp.Linf(EPS)))
        return {**_cost(told), "fgsm": standing(net, x, y, fgsm(sp.Linf(EPS)))["held"], **strong, "suite": suite}

    def wide(self, training):
        """The same attack in a Euclidean ball."""
        return standing(self.net(training)[0], *self.test(training, self.size.test), worst(sp.L2(WIDE)))

    def overfitting(self, training):
        """Accuracies epoch by epoch, what the guard saw, and what the net is worth on test rows."""
        (net, told), (x, y), ball = self.net(training), self.test(training, self.size.test), training.ball
        steps = [Member(name="pgd-20", attack=pgd(ball, cross_entropy, steps=20))]
        one, many = (standing(net, x, y, members) for members in (fgsm(ball), steps))
        kept = {key: told[key] for key in ("kept", "ended", "epochs", "events")}
        return {**_cost(told), **kept, "clean": one["clean"], "fgsm": one["held"], "pgd": many["held"]}

    def gradients(self, training):
        """Gradients of zero, and how many rows hold under PGD on either loss."""
        net, (x, y) = self.net(training)[0], self.test(training, self.size.test)
        right = sp.Classifier(net).predict(x) == y
        told = {"zero": zero_gradients(net, x[right], y[right]), "right": int(right.sum())}
        for name, loss in {"cross-entropy": cross_entropy, "margin": margin}.items():
            told[name] = standing(net, x, y, [Member(name=name, attack=pgd(sp.Linf(EPS), loss))])["held"]
        return told

    def carlini(self, training, name):
        """How many rows that are right are fooled at any distance, and how far away."""
        net, (x, y) = self.net(training)[0], self.test(training, self.size.test)
        model, attack = sp.Classifier(net), CARLINI[name]
        right = (model.predict(x) == y).nonzero().squeeze(1)[: self.size.few]
        found = attack(model, x[right], y[right], noise=sp.Noise(0).at(right))
        with torch.no_grad():
            fooled = net(found.x).argmax(1) != y[right]
        far = attack.ball.distance(found.x, x[right])[fooled]
        told = {"rows": len(right), "fooled": int(fooled.sum())}
        return {**told, "mean": float(far.mean()), "median": float(far.median())}

    def diagnosis(self, training):
        """What the package says of a number that PGD on the cross-entropy gives."""
        net, (x, y) = self.net(training)[0], self.test(training, self.size.test)
        found = sp.diagnose(sp.Classifier(net), (x, y), ball=sp.Linf(EPS))
        named = [[probe.name, probe.concern, probe.evidence] for probe in found.probes if probe.concern != "none"]
        return {"verdict": found.verdict, "causes": found.causes, "rows": found.rows, "probes": named}

    def regulariser(self, training):
        """Errors on clean rows of the whole test split."""
        (net, told), (x, y) = self.net(training), self.test(training, None)
        return {"wrong": int((sp.Classifier(net).predict(x) != y).sum()), "rows": len(x), **_cost(told)}


def _cost(told):
    return {"minutes": told["seconds"] / 60, "cpu minutes": told["cpu"] / 60, "passes": told["passes"]}
