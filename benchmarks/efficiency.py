"""What the driver costs: the time of PGD over that of the same forward and backward rows, called bare.

``python benchmarks/efficiency.py [--quick] [--only PART ...]`` fills benchmarks/results/efficiency.json, cell by cell:
what is there is not measured again. Bare means autograd.grad on the same frozen module, with the same sequence of batch
sizes, without loss, step or projection. Memory is kept between calls, as on the command line: page faults would be
measured otherwise. Behind a filter without a gradient (BPDA), bare is the filter on the same rows, and then the bare
model on what it returns.
"""

import argparse
from dataclasses import asdict
from functools import partial

import torch
from _cells import RESULTS, Cells, environment, fill
from _filters import code_of
from _nets import freeze, load
from _passes import bare, passes, watched
from _peers import Task, saddlepoint
from _tables import efficiency_page
from _timing import ratios

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.cli.main import _keep_memory
from saddlepoint.defenses.spec import transform

THREADS, PAIRS, QUICK_PAIRS = 1, 21, 5
DIGITS = Task(attack="pgd", eps=0.3, steps=40, step_size=2.5 * 0.3 / 40, setting="best point")
IMAGES = Task(attack="pgd", eps=8 / 255, steps=2, step_size=4 / 255, setting="best point")
CASES = [("zoo:mnist-pgd", 500, DIGITS), ("zoo:mnist-pgd", 100, DIGITS), ("resnet18", 32, IMAGES)]
BEHIND = [("zoo:fashion-standard", "bit-depth:3", 500), ("zoo:fashion-standard", "jpeg:75", 100)]


def plan(pairs):
    """(name, case, measure) of every cell."""
    for model, rows, task in CASES:
        case = {"model": model, "rows": rows, "pairs": pairs, **asdict(task), **environment(THREADS)}
        yield f"efficiency, {model}, {rows} rows", case, partial(efficiency, model, rows, task, pairs)
    for model, name, rows in BEHIND:  # a pair takes seconds, so that few will do
        case = {
            "model": f"{model} behind {name}",
            "rows": rows,
            "pairs": QUICK_PAIRS,
            "steps": 40,
            **environment(THREADS),
        }
        case["code"] = code_of(transform(name))
        yield f"efficiency, {model}, {name}, {rows} rows", case, partial(behind, model, name, rows, QUICK_PAIRS)


def efficiency(model, rows, task, pairs):
    """The figures of one cell."""
    net = load(model, rows)
    ours = saddlepoint(net, task)
    with watched(net.module) as calls:
        ours()
    return {**ratios(ours, partial(bare, net.module, net.x, calls), pairs), "passes": passes(calls, rows)}


def behind(model, name, rows, pairs):
    """The figures of one cell of a model behind a filter."""
    filtered, data = transform(name), sp.load_data("fashion-mnist:test")[:rows]
    net = freeze(sp.load_model(model).module)
    attack, defended = PGD(ball=sp.Linf(0.05), steps=40), sp.Classifier(net).prepend(filtered)

    def ours():
        return attack(defended, data.x, data.y)

    def parts():
        for count, gradient in calls:
            with torch.no_grad():
                seen = filtered(data.x[:count])
            bare(net, seen, [(count, gradient)])

    with watched(net) as calls:
        ours()
    return {**ratios(ours, parts, pairs), "passes": passes(calls, rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs, kept apart in results/quick/")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    folder = RESULTS / "quick" if asked.quick else RESULTS
    cells = Cells(folder / "efficiency.json")
    fill(cells, plan(QUICK_PAIRS if asked.quick else PAIRS), only=asked.only)
    (folder / "efficiency.md").write_text(efficiency_page(cells.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
