"""What filters of images are worth to one who does not know of them, to one who does, and to one who only asks.

``python benchmarks/adaptive.py [--only PART ...] [--quick] [--table]`` fills benchmarks/results/adaptive.json, cell by
cell, and writes adaptive.md from it. What is there is not measured again. ``--quick`` tries everything out on a few
rows, apart, in results/quick/.

Every cell is one ``saddlepoint.evaluate`` of a model of the zoo behind a filter, with PGD of 40 steps: its oblivious,
its adaptive (BPDA or white-box; over 10 draws where the filter is random) and its gradient-free part (Square).
"""

import argparse
from functools import partial

import torch
from _cells import RESULTS, Cells, environment, fill
from _filters import code_of
from _tables import ENVIRONMENT, _grouped, _table

import saddlepoint as sp
from saddlepoint.cli.main import _keep_memory
from saddlepoint.defenses.spec import transform

THREADS, SLOW = 1, ("non-local-means", "total-variation")
PLACES = {  # a name of the zoo's model: its data, and radii
    "zoo:fashion-standard": ("fashion-mnist:test", (0.05, 0.1)),
    "zoo:photopatch-standard": ("photopatch10:test", (8 / 255,)),
}
FILTERS = [
    "bit-depth:3", "bit-depth:3,truncate", "median:2", "median:3", "mean:3", "gaussian:1", "bilateral:5,0.1,1.5",
    "jpeg:75", "jpeg:75,backward=codec", "gaussian-noise:0.1", "non-local-means:11,3,0.04", "total-variation:0.03",
]  # fmt: skip
PARTS = ("combinators", "eot", "square")
GAP = 10.0  # points that a filter without a gradient must lose at eps 0.05, once the attack knows of it
DECLARED = ("bit-depth", "jpeg", "non-local-means", "total-variation")  # those that declare a surrogate


def measure(model, data, name, eps, rows, queries):
    """Rows that are right when clean, that hold under each side, and under all."""
    defended, found = sp.load_model(f"{model} | {name}"), sp.load_data(data)[:rows]
    run = sp.evaluate(defended, found, attacks=["pgd"], ball=sp.Linf(eps), queries=queries)
    (told,) = run.record.models
    (threat,) = told.threats
    sides = {attack.role: attack.robust.count for attack in threat.attacks}
    return {"clean": told.clean.count, "rows": rows, "sides": sides, "held": threat.worst.count}


def plan(quick):
    """(name, case, measure) of every cell."""
    for model, (data, radii) in PLACES.items():
        for name in FILTERS:
            slow = name.startswith(SLOW)
            rows, queries = (100, 200) if slow else (500, 1000)
            rows, queries = (20, 20) if quick else (rows, queries)
            for eps in radii:
                case = {"model": model, "data": data, "filter": name, "eps": eps, "rows": rows, "queries": queries}
                case |= {**environment(THREADS, PARTS), "code": code_of(transform(name))}
                yield f"{model}, {eps:.3g}, {name}", case, partial(measure, model, data, name, eps, rows, queries)


def page(cells):
    """The tables, one for each model, and whether filters without a gradient lose what they must."""
    known = [key for key in ENVIRONMENT if key != "engine"]
    where = dict.fromkeys(", ".join(f"{key} {c['case'][key]}" for key in known) for c in cells.values())
    lines = [f"Measured with {line}." for line in where] + [""]
    ranked = sorted(cells.values(), key=lambda c: FILTERS.index(c["case"]["filter"]))
    for model, found in _grouped(ranked, "model"):
        rows = []
        for c in sorted(found, key=lambda c: c["case"]["eps"]):
            shares = [100 * c["sides"].get(role, 0) / c["rows"] for role in ("oblivious", "adaptive", "gradient-free")]
            name, eps = c["case"]["filter"], c["case"]["eps"]
            gap = shares[0] - shares[1]
            bound = eps == 0.05 and name.startswith(DECLARED)
            verdict = ("yes" if gap >= GAP else "**no**") if bound else ""
            told = [f"{100 * c['clean'] / c['rows']:.1f}", *(f"{share:.1f}" for share in shares)]
            rows.append([f"`{name}`", f"{eps:.3g}", c["rows"], *told, f"{100 * c['held'] / c['rows']:.1f}", verdict])
        head = ["filter", "eps", "rows", "clean %", "oblivious %", "adaptive %", "gradient-free %", "worst case %"]
        lines += [f"**`{model}`**", "", *_table([*head, f"gap of {GAP:g} points"], rows)]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--quick", action="store_true", help="few rows, kept apart in results/quick/")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    folder = RESULTS / "quick" if asked.quick else RESULTS
    cells = Cells(folder / "adaptive.json", apart=("processor",))
    if not asked.table:
        fill(cells, plan(asked.quick), only=asked.only)
    (folder / "adaptive.md").write_text(page(cells.cells), encoding="utf-8")
    print("wrote adaptive.md")


if __name__ == "__main__":
    main()
