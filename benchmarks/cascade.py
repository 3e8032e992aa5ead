"""The cascade against the suite ``autoattack``: robust accuracy, passes, time, on five models it was not tuned on.

``python benchmarks/cascade.py [--only PART ...] [--rows N] [--table]`` fills benchmarks/results/cascade.json, cell by
cell: what is there is not measured again, so a run that was killed goes on. It then writes cascade.md from it. Other
numbers of rows are kept apart, in results/quick/.

Robust accuracy, and passes a row, forward and backward, are those of all rows; misclassified ones are not attacked.
"""

import argparse
import time
from functools import cache, partial

import torch
from _cells import RESULTS, Cells, environment, fill
from _nets import load
from _tables import cascade_page
from autoattack import PARTS
from torch import nn

import saddlepoint as sp
from saddlepoint.cli.main import _keep_memory
from saddlepoint.evaluation.ensembles import CASCADE, SUITES
from saddlepoint.testing.models import MaskedModel

THREADS, ROWS = 1, 500


class Scaled(nn.Module):
    """The logits a hundred times as high: the softmax saturates."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 100 * self.inner(x)


class Quantised(nn.Module):
    """Inputs rounded to eight levels: the gradient is zero."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner((7 * x).round() / 7)


MODELS = {
    "zoo:mnist-pgd": ("zoo:mnist-pgd", "mnist10k:test", 0.3, nn.Identity),
    "zoo:fashion-pgd": ("zoo:fashion-pgd", "fashion-mnist:test", 0.1, nn.Identity),
    "zoo:mnist-pgd, logits x 100": ("zoo:mnist-pgd", "mnist10k:test", 0.3, Scaled),
    "zoo:mnist-pgd, gradients masked": ("zoo:mnist-pgd", "mnist10k:test", 0.3, MaskedModel),
    "zoo:mnist-pgd, inputs quantised": ("zoo:mnist-pgd", "mnist10k:test", 0.3, Quantised),
}
nets = cache(load)


def plan(rows):
    """(name, case, measure) of every cell: a model and a suite."""
    for model, (_, data, eps, _) in MODELS.items():
        for suite in (CASCADE, "autoattack"):
            about = {"model": model, "data": data, "eps": eps, "rows": rows, "suite": suite, "seed": 0}
            case = {"kind": "suite", **about, **environment(THREADS, tuple(PARTS))}
            yield f"{suite}, {model}", case, partial(measured, model, suite, rows)


def measured(model, suite, rows):
    """The figures of one cell: the judge is a pass of the bare module."""
    spec, data, eps, around = MODELS[model]
    net = nets(spec, rows, data)
    module = net.module if around is nn.Identity else around(net.module)
    classifier, ball = sp.Classifier(module.eval()), sp.Linf(eps)
    left = (classifier.predict(net.x) == net.y).nonzero().squeeze(1)
    clean, members, passes, start = len(left), [], 0, time.perf_counter()
    for member in SUITES[suite].members(ball):
        x, y, noise = net.x[left], net.y[left], sp.Noise(0).child(member.name).at(left)
        found = member(classifier, x, y, noise=noise)
        spent = int(found.forwards.sum() + found.backwards.sum())
        with torch.no_grad():
            held = module(found.x).argmax(1) == y
        assert (found.x - x).abs().max() <= eps + 1e-6, "outside the ball"
        assert min(found.x.min(), 1 - found.x.max()) >= 0, "outside the box"
        members.append([member.name, len(left), int((~held).sum()), spent / rows])
        passes, left = passes + spent, left[held]
    seconds = time.perf_counter() - start
    return {"clean": clean, "held": len(left), "passes": passes / rows, "seconds": seconds, "members": members}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    folder = RESULTS if asked.rows == ROWS else RESULTS / "quick"
    cells = Cells(folder / "cascade.json")
    if not asked.table:
        fill(cells, plan(asked.rows), only=asked.only)
    (folder / "cascade.md").write_text(cascade_page(cells.cells), encoding="utf-8")
    print("wrote cascade.md")


if __name__ == "__main__":
    main()
