"""The members of AutoAttack, each run alone, against the same members of ``pyautoattack``: how strong, how many passes.

``python benchmarks/autoattack.py [--only PART ...] [--rows N] [--seeds N] [--table]`` fills
benchmarks/results/autoattack.json, cell by cell: what is there is not measured again, so a run that was killed goes on.
It then writes autoattack.md from it. Other numbers of rows or seeds are kept apart, in results/quick/.

Robust accuracy: the share of rows that are right when clean and when attacked, as the bare module says of points that
were found to lie in ball and box. Passes and seconds are those of all rows; misclassified ones are not attacked.
A member is at par if its mean over the seeds is at most theirs plus the larger of 0.5 points and the range of theirs.
"""

import argparse
import time
from functools import cache, partial
from importlib.metadata import version
from itertools import product

import torch
from _cells import RESULTS, Cells, environment, fill
from _nets import load
from _passes import passes, watched
from _tables import autoattack_page

import saddlepoint as sp
from saddlepoint.attacks import APGD, FAB, Cascade, EachTarget, Square
from saddlepoint.cli.main import _keep_memory
from saddlepoint.evaluation.ensembles import SUITES
from saddlepoint.losses import difference_of_logits_ratio

THREADS, ROWS, SEEDS = 1, 500, 3
PARTS = [
    "_gradient",
    "_halving",
    "_hyperplane",
    "_minimal",
    "_sparse",
    "_starts",
    "_turns",
    "_windows",
    "apgd",
    "combinators",
    "fab",
    "square",
]
THREATS = [("zoo:mnist-pgd", "mnist10k:test", 0.3), ("zoo:fashion-pgd", "fashion-mnist:test", 0.1)]
FIRST = sp.Keep.FIRST_SUCCESS
MEMBERS = {  # by their names there; the suite ``standard`` is a member, too
    "apgd-ce": lambda ball: APGD(ball=ball, keep=FIRST),
    "apgd-t": lambda ball: EachTarget(attack=APGD(ball=ball, keep=FIRST, loss=difference_of_logits_ratio)),
    "fab-t": lambda ball: EachTarget(attack=FAB(ball=ball, keep=FIRST)),
    "square": lambda ball: Square(ball=ball, keep=FIRST),
    "standard": lambda ball: Cascade(attacks=SUITES["autoattack"].members(ball)),
}
nets = cache(load)


def plan(rows, seeds):
    """(name, case, measure) of every cell: a member, a side, a seed."""
    ours = environment(THREADS, tuple(PARTS))
    theirs = {key: ours[key] for key in ours if key not in ("saddlepoint", "engine")}  # they do not depend on it
    sides = {"ours": ours, "theirs": {"peer": "pyautoattack", "version": version("pyautoattack"), **theirs}}
    for seed, member, (model, data, eps) in product(range(seeds), MEMBERS, THREATS):
        about = {"model": model, "data": data, "eps": eps, "rows": rows, "member": member, "seed": seed}
        for side, seen in sides.items():
            case = {"kind": "member", "side": side, **about, **seen}
            yield f"{member}, {model}, seed {seed}, {side}", case, partial(measured, side, **about)


def measured(side, *, model, data, eps, rows, member, seed):
    """The figures of one cell."""
    net = nets(model, rows, data)
    with watched(net.module) as calls:
        start = time.perf_counter()
        points = (ours if side == "ours" else theirs)(net, member, eps, seed)
        seconds = time.perf_counter() - start
    assert (points - net.x).abs().max() <= eps + 1e-6, "outside the ball"
    assert min(points.min(), 1 - points.max()) >= 0, "outside the box"
    with torch.no_grad():
        held = (net.module(net.x).argmax(1) == net.y) & (net.module(points).argmax(1) == net.y)
    return {"robust": held.float().mean().item(), "passes": passes(calls, rows), "seconds": seconds}


def ours(net, member, eps, seed):
    """Points found by saddlepoint, of the rows that are right."""
    model, points = sp.Classifier(net.module), net.x.clone()
    right = (model.predict(net.x) == net.y).nonzero().squeeze(1)
    attack = MEMBERS[member](sp.Linf(eps))
    points[right] = attack(model, net.x[right], net.y[right], noise=sp.Noise(seed).at(right)).x
    return points


def theirs(net, member, eps, seed):
    """Points found by pyautoattack, which sorts out the wrong rows itself; its checks take some more passes."""
    from pyautoattack import AutoAttack

    attack = AutoAttack(net.module, norm="Linf", eps=eps, seed=seed, version="standard")
    if member != "standard":
        attack.attacks_to_run = [member]
    return attack.run_standard_evaluation(net.x, net.y, batch_size=len(net.x))[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    folder = RESULTS if (asked.rows, asked.seeds) == (ROWS, SEEDS) else RESULTS / "quick"
    cells = Cells(folder / "autoattack.json")
    if not asked.table:
        fill(cells, plan(asked.rows, asked.seeds), only=asked.only)
    (folder / "autoattack.md").write_text(autoattack_page(cells.cells), encoding="utf-8")
    print("wrote autoattack.md")


if __name__ == "__main__":
    main()
