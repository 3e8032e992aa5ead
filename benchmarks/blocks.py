"""Denoising blocks in PGD training on photographs, once more with other initial weights: is the gain one of chance?

``python benchmarks/blocks.py [--only PART ...] [--table]`` trains and tests as ``preprocessing.py`` does, with the
seeds 1 and 2, into results/blocks.json; seed 0 is read from results/preprocessing.json. An hour on one core.
"""

import argparse
from dataclasses import asdict, dataclass
from functools import partial
from statistics import mean, stdev

import torch
from _cells import RESULTS, Cells, environment, fill
from _defended import BLOCKS, PLACES, Nets, versions
from _tables import ENVIRONMENT, _table
from preprocessing import PARTS, THREADS, Bench, Size

from saddlepoint.cli.main import _keep_memory

PLACE, SEEDS = PLACES["photopatch10"], (0, 1, 2)
NAMES = ["pgd", *(f"block {kind} + PGD" for kind in BLOCKS)]
SLACK = 2  # points a block may be worth, says the rule


@dataclass(frozen=True)
class Again(Nets):
    """The same nets from other initial weights; the order of the rows stays."""

    seed: int

    def kept(self, name, make, objective, peak=5e-3, longer=1):
        def seeded():
            torch.manual_seed(self.seed)
            return make()

        return super().kept(f"{name}, weights {self.seed}", seeded, objective, peak, longer)


@dataclass(frozen=True)
class Seeded(Bench):
    seed: int

    @property
    def nets(self):
        return Again(self.folder / "weights", self.place, self.seed)


def plan():
    """(name, case, measure) of every cell but those of seed 0."""
    for seed in SEEDS[1:]:
        bench = Seeded(Size(), PLACE, RESULTS, seed)
        for name in NAMES:
            case = {"name": name, "seed": seed, "eps": PLACE.eps, "data": PLACE.data, "epochs": PLACE.epochs}
            case |= {"size": asdict(bench.size), "training": versions(), **environment(THREADS, PARTS)}
            yield f"{name}, seed {seed}", case, partial(bench.row, name, PLACE.eps)


def block_page(cells, first):
    """The whole page; ``first``: the cells of seed 0, by their names in the other benchmark."""
    every = {(c["case"]["name"], c["case"]["seed"]): c for c in cells.values()}
    for name in NAMES:
        found = first.get(f"row, {PLACE.data}, {name}, {PLACE.eps:.3g}")
        if found:
            every[name, 0] = found
    known = [key for key in ENVIRONMENT if key != "engine"]
    where = dict.fromkeys(", ".join(f"{key} {c['case'][key]}" for key in known) for c in every.values())
    lines = [*(f"Measured with {line}." for line in where), ""]
    held = {name: [_share(every[name, seed]) for seed in SEEDS if (name, seed) in every] for name in NAMES}
    rows = [[name, *_spread(name, found, held["pgd"])] for name, found in held.items() if found]
    head = ["training", "adaptive %, by seed", "mean", "deviation", f"within {SLACK} of PGD alone"]
    return "\n".join([*lines, *_table(head, rows), ""])


def _share(cell):
    return 100 * cell["adaptive"] / cell["case"]["size"]["test"]


def _spread(name, found, alone):
    each, centre = ", ".join(f"{share:.1f}" for share in found), mean(found)
    whole = len(found) == len(alone) == len(SEEDS)
    verdict = "" if name == "pgd" or not whole else "yes" if abs(centre - mean(alone)) <= SLACK else "**no**"
    return [each, f"{centre:.1f}", f"{stdev(found):.1f}" if len(found) > 1 else "", verdict]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "blocks.json", apart=("processor",))
    if not asked.table:
        fill(cells, plan(), only=asked.only)
    first = Cells(RESULTS / "preprocessing.json").cells
    (RESULTS / "blocks.md").write_text(block_page(cells.cells, first), encoding="utf-8")
    print("wrote blocks.md")


if __name__ == "__main__":
    main()
