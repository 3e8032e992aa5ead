"""What objectives of training are worth on a small net, what they cost, and where two of them are known to fail.

``python benchmarks/training.py [--only PART ...] [--quick] [--table]`` fills benchmarks/results/training.json, cell by
cell, and writes training.md from it. What is there is not measured again; weights are kept in results/weights/, so that
another evaluation does not train again, and a training that was killed goes on. ``--quick`` tries everything out on a
few rows, apart, in results/quick/.

Every net is SmallCNN, with Adam, batches of 128, one cycle with its peak at two fifths, no augmentation, the last
epoch. Accuracies are of the first test rows, as the bare module says of points that were found to lie in ball and box.
They were found on more than one processor, which moves last digits; each ratio of times is of one.
"""

import argparse
from dataclasses import asdict, replace
from functools import partial

import torch
from _cells import RESULTS, Cells, environment, fill, processor
from _loops import PAIRS, speed
from _measures import CARLINI, QUICK, Bench, Size
from _trained import code
from _training_tables import training_page
from _trainings import DEFENSIVE, OVERFITTING, REGULARISERS, STANDARD, STRONG, TABLE, guarded

from saddlepoint.cli.main import _keep_memory
from saddlepoint.evaluation.ensembles import CASCADE

THREADS = 1
PARTS = ["_halving", "_starts", "_turns", "_windows", "apgd", "combinators", "square"]
CARLINI_PARTS = ["_carlini", "_minimal", "cw_l0", "cw_l2", "cw_linf"]
FIRST = ["standard", "fast", "fgsm-mixed", "pgd", "trades", "defensive-distillation"]


def plan(bench):
    """(name, case, measure) of every cell, the cheapest and most telling first."""
    cell, row = partial(_cell, bench), partial(_row, bench)
    broken = {"defensive-distillation": DEFENSIVE, "standard": STANDARD}
    yield from (row(name, 0) for name in FIRST)
    for name, training in broken.items():
        yield cell("gradients", name, training, bench.gradients, name=name)
        yield cell("diagnosis", name, training, bench.diagnosis, parts=PARTS, name=name)
    for name in PAIRS:
        case = {"kind": "speed", "name": name, "size": asdict(bench.size), "training code": code()}
        case["timed on"] = processor()
        measure = partial(speed, name, bench.size.block, bench.size.pairs)
        yield f"speed, {name}", {**case, **environment(THREADS)}, measure
    for name, training in OVERFITTING.items():
        for guard in ("off", "stop"):
            about = {"name": name, "guard": guard}
            yield cell("overfitting", f"{name}, guard {guard}", guarded(training, guard), bench.overfitting, **about)
    for name, training in broken.items():
        for attack in CARLINI:
            about = {"parts": CARLINI_PARTS, "name": name, "attack": attack}
            yield cell("carlini", f"{attack}, {name}", training, partial(bench.carlini, name=attack), **about)
    yield from (row(name, 0) for name in TABLE if name not in FIRST)
    for name, training in {"standard": STANDARD, "strong-adversary": STRONG}.items():
        yield cell("l2", name, training, bench.wide, parts=["combinators"], name=name)
    for name, training in REGULARISERS.items():
        for seed in range(3):
            seeded = replace(training, seed=seed)
            yield cell("regulariser", f"{name}, seed {seed}", seeded, bench.regulariser, name=name)
    yield from (row(name, seed) for name, (_, seeds) in TABLE.items() for seed in seeds[1:])


def _cell(bench, kind, title, training, measure, /, *, parts=(), **about):
    told = bench.sized(training)
    case = {"kind": kind, **about, "training": asdict(told), "seed": told.seed, "size": asdict(bench.size)}
    case |= {"training code": code(), **environment(THREADS, tuple(parts))}
    return f"{kind}, {title}", case, partial(measure, training)


def _row(bench, name, seed):
    training, about = replace(TABLE[name][0], seed=seed), {"suite": CASCADE, "attack": "PGD-50 x 10"}
    return _cell(bench, "objective", f"{name}, seed {seed}", training, bench.objective, parts=PARTS, name=name, **about)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--quick", action="store_true", help="few rows and epochs, kept apart in results/quick/")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    folder, size = (RESULTS / "quick", QUICK) if asked.quick else (RESULTS, Size())
    cells = Cells(folder / "training.json", apart=("processor",))
    if not asked.table:
        fill(cells, plan(Bench(size, folder)), only=asked.only)
    (folder / "training.md").write_text(training_page(cells.cells), encoding="utf-8")
    print("wrote training.md")


if __name__ == "__main__":
    main()
