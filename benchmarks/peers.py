"""Attacks of saddlepoint against the same attacks of its peers: how long, how many passes, how strong.

``python benchmarks/peers.py [--quick] [--table] [--only PART ...]`` fills benchmarks/results/peers.json, cell by cell:
what is there is not measured again, so a run that was killed goes on. It then writes peers.md from it.

Time: the same rows in one batch, the same module (frozen), steps, step size and one thread; both sides end with points
and with which of them fool. Interleaved pairs, alternating order, after one unmeasured run of each.
Strength: PGD-40 on 1,000 test digits, means over five random starts of each; a row is robust if it is right when clean
and when attacked.
"""

import argparse
import statistics
from dataclasses import asdict, replace
from functools import cache, partial

import numpy as np
import torch
from _cells import RESULTS, Cells, environment, fill
from _nets import load
from _passes import passes, watched
from _peers import CONTENDERS, SETTINGS, Task, peer_version, prepare, saddlepoint
from _tables import peers_page
from _timing import ratios

from saddlepoint.cli.main import _keep_memory

THREADS, PAIRS, QUICK_PAIRS = 1, 21, 5
ZOO = ["zoo:mnist-standard", "zoo:mnist-pgd"]
DIGITS, IMAGES = 250, 16  # rows of one batch
TASKS = [
    Task(attack="fgsm", eps=0.3),
    Task(attack="bim", eps=0.3, steps=10, step_size=0.03),
    Task(attack="mi-fgsm", eps=0.3, steps=10, step_size=0.03),
    Task(attack="pgd", eps=0.3, steps=40, step_size=2.5 * 0.3 / 40),
    Task(attack="pgd-l2", eps=2.0, steps=10, step_size=0.5),
    Task(attack="slide", eps=10.0, steps=10, step_size=2.0),
]
RANDOM = ["pgd", "pgd-l2"]  # they start at a random point, each library at its own
LARGE = Task(attack="pgd", eps=8 / 255, steps=3, step_size=4 / 255)
ROWS, SEEDS = 1000, 5  # random starts move the robust accuracy of 1,000 rows by some tenths of a point
STRONG = [("zoo:mnist-standard", 0.1), ("zoo:mnist-standard", 0.2), ("zoo:mnist-standard", 0.3), ("zoo:mnist-pgd", 0.3)]
SIZES = {"eps/30": 1 / 30, "2.5 eps/steps": 2.5 / 40}
nets = cache(load)


def plan(pairs):
    """(name, case, measure) of every cell; a peer that lacks an attack gets no cell."""
    for peer in CONTENDERS:
        seen = {"peer": peer, "version": peer_version(peer), **environment(THREADS)}
        for model in [*ZOO, "resnet18"]:
            for task in TASKS if model in ZOO else [LARGE]:
                if prepare(peer, nets(model, 1), task) is None:
                    continue
                for setting in SETTINGS if model in ZOO else ["same work", "best point"]:
                    kind = {"model": model, "rows": DIGITS if model in ZOO else IMAGES, "pairs": pairs}
                    chosen = replace(task, setting=setting)
                    case = {"kind": "time", **kind, **asdict(chosen), **seen}
                    yield f"time, {model}, {task.attack}, {setting}, {peer}", case, partial(timed, peer, chosen, **kind)
        for model, eps in STRONG:
            for label, share in SIZES.items():
                task = Task(attack="pgd", eps=eps, steps=40, step_size=share * eps, setting="shrinking")
                rest = {"rows": ROWS, "size": label, "seeds": SEEDS}
                case = {"kind": "strength", "model": model, **rest, **asdict(task), **seen}
                yield f"strength, {model}, eps {eps}, step {label}, {peer}", case, partial(strength, peer, model, task)


def timed(peer, task, *, model, rows, pairs):
    """The figures of one cell."""
    torch.manual_seed(0)
    net = nets(model, rows)
    ours, theirs = saddlepoint(net, task), prepare(peer, net, task)
    points, counted = [], []
    for call in (ours, theirs):
        with watched(net.module) as calls:
            points.append(call()[0])
        counted.append(passes(calls, rows))
    figures = {"passes": counted, "robust": [robust(net, found) for found in points]}
    if task.attack not in RANDOM:
        figures["equal"] = ((points[0] - points[1]).abs().flatten(1).amax(1) <= 1e-5).float().mean().item()
    return {**ratios(ours, theirs, pairs), **figures}


def strength(peer, model, task):
    """Robust accuracy, ours and theirs, judged by the bare module: means over the seeds, and each."""
    net, found = nets(model, ROWS), []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (ART draws from it)
        points = prepare(peer, net, task)()[0]
        assert (points - net.x).abs().max() <= task.eps + 1e-6, "outside the ball"
        assert min(points.min(), 1 - points.max()) >= 0, "outside the box"
        found.append(robust(net, points))
    seeds = [strength_of_ours(model, task), found]
    return {"robust": [round(statistics.mean(side), 5) for side in seeds], "seeds": seeds}


@cache
def strength_of_ours(model, task):
    """Robust accuracy under ours, for each seed."""
    net = nets(model, ROWS)
    return [robust(net, saddlepoint(net, replace(task, seed=seed))()[0]) for seed in range(SEEDS)]


def robust(net, points):
    """Share of rows that are right, clean and attacked."""
    with torch.no_grad():
        held = (net.module(net.x).argmax(1) == net.y) & (net.module(points).argmax(1) == net.y)
    return round(held.float().mean().item(), 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs, kept apart in results/quick/")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    folder = RESULTS / "quick" if asked.quick else RESULTS
    cells = Cells(folder / "peers.json")
    if not asked.table:
        fill(cells, plan(QUICK_PAIRS if asked.quick else PAIRS), only=asked.only)
    (folder / "peers.md").write_text(peers_page(cells.cells), encoding="utf-8")
    print(f"wrote {(folder / 'peers.md').name}")


if __name__ == "__main__":
    main()
