"""How far MI-FGSM, BIM and the four directions transfer: 5 x 5 digit nets at Linf 0.2, 5 x 5 clothes nets at 0.06.

``python benchmarks/transfer.py [--only PART ...] [--table]`` trains three nets for each data set (their weights go to
benchmarks/results/weights/), and fills benchmarks/results/transfer.json, cell by cell: what is there is not measured
again, and points that were made are kept in runs/. It then writes transfer.md from it.
"""

import argparse
import itertools
from functools import partial
from pathlib import Path

import torch
from _cells import RESULTS, Cells, environment, fill
from torch import nn

import saddlepoint as sp
from saddlepoint.cli.main import _keep_memory
from saddlepoint.defenses.training import Schedule, Standard, fit
from saddlepoint.models import LeNet, PoolCNN, SmallCNN, ensemble, load_weights, save_weights

THREADS, ROWS, STEPS, EPOCHS = 1, 1000, 10, 6
SETS = {"mnist10k": (0.2, "zoo:mnist-standard"), "fashion-mnist": (0.06, "zoo:fashion-standard")}
ATTACKS = {
    "bim": "bim",
    "mi-fgsm": "mi-fgsm",
    "ni-fgsm": "ni-fgsm",
    "si-ni-fgsm": "si-ni-fgsm",
    "di-mi-fgsm": "di-mi-fgsm",
    "ti-mi-fgsm": {"name": "ti-mi-fgsm", "kernel": 5},
}


def mlp():
    """Three linear layers."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )


NETS = {
    "small-cnn-1": (SmallCNN, 1),
    "lenet": (LeNet, 2),
    "mlp": (mlp, 3),
    "pool-cnn": (partial(PoolCNN, channels=1, size=28), 4),
}
"""Architecture and seed of what is trained here, beside the SmallCNN of the zoo."""


def trained(data, name):
    """A net, from its file of weights or trained and put there."""
    make, seed = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make()
    path = RESULTS / "weights" / f"transfer-{data}-{name}.safetensors"
    if path.exists():
        load_weights(module, path)
    else:
        rows = sp.load_data(f"{data}:train")[:12000]
        fit(module, rows.x, rows.y, Standard(), Schedule(epochs=EPOCHS, batch_size=128, seed=seed, peak=2e-3))
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(module, path)
    return sp.Classifier(module)


def models(data):
    """The five of a data set, by name."""
    return {"small-cnn": sp.load_model(SETS[data][1])} | {name: trained(data, name) for name in NETS}


def plan():
    """(name, case, measure) of every cell: an attack on a data set; then an ensemble of all but the target."""
    for data, (eps, _) in SETS.items():
        about = {"data": f"{data}:test", "rows": ROWS, "eps": eps, "steps": STEPS, "epochs": EPOCHS, "seed": 0}
        for name, attack in ATTACKS.items():
            case = {"kind": "matrix", **about, "attack": attack, **environment(THREADS)}
            yield f"{data}, {name}", case, partial(measured, data, name)
        case = {"kind": "ensemble", **about, "attack": "mi-fgsm", **environment(THREADS)}
        yield f"{data}, mi-fgsm from the four others", case, partial(left_out, data)


def measured(data, name):
    """Fooled rows and rows of every source and target."""
    found, rows = models(data), sp.load_data(f"{data}:test")[:ROWS]
    out = Path("runs") / "benchmark-transfer" / f"{data}-{name}"
    record = sp.transfer(found, found, rows, ball=sp.Linf(SETS[data][0]), attacks=[ATTACKS[name]], steps=STEPS, out=out)
    cells = {f"{each.source} > {each.target}": [each.fooled.count, each.fooled.rows] for each in record.handed}
    clean = {name: about["clean"]["count"] for name, about in record.models.items()}
    return {"cells": cells, "clean": clean, "passes": [made.forwards + made.backwards for made in record.made]}


def left_out(data):
    """For each target: MI-FGSM on the mean logits of the four others."""
    found, rows, cells = models(data), sp.load_data(f"{data}:test")[:ROWS], {}
    for target, model in found.items():
        source = ensemble([each for name, each in found.items() if name != target])
        record = sp.transfer(
            {"others": source}, {target: model}, rows, ball=sp.Linf(SETS[data][0]), attacks=["mi-fgsm"], steps=STEPS
        )
        cells[target] = [record.handed[0].fooled.count, record.handed[0].fooled.rows]
    return {"cells": cells}


def page(cells):
    """The tables as Markdown."""
    lines = []
    for data, (eps, _) in SETS.items():
        kept = {name: cells[f"{data}, {name}"]["cells"] for name in ATTACKS if f"{data}, {name}" in cells}
        if "mi-fgsm" not in kept:
            continue
        names = list(cells[f"{data}, mi-fgsm"]["clean"])
        pairs = [f"{a} > {b}" for a, b in itertools.permutations(names, 2)]
        case = cells[f"{data}, mi-fgsm"]["case"]
        where = ", ".join(f"{key} {case[key]}" for key in ("saddlepoint", "torch", "python", "processor", "threads"))
        lines += [f"**{data}, Linf {eps:g}, {STEPS} steps, {ROWS} test rows**, measured with {where}.", ""]
        lines += ["| attack | mean white-box | mean of 20 pairs | beats BIM on | loses on |", "|---|---|---|---|---|"]
        for name, found in kept.items():
            white = mean(found[f"{each} > {each}"] for each in names)
            black = mean(found[pair] for pair in pairs)
            more = [found[pair][0] - kept["bim"][pair][0] for pair in pairs]
            told = ("–", "–") if name == "bim" else (sum(d > 0 for d in more), sum(d < 0 for d in more))
            lines.append(f"| {name} | {white:.1f} % | {black:.1f} % | {told[0]} | {told[1]} |")
        lines += ["", "MI-FGSM, BIM in brackets, percent fooled; from the model of a row on the model of a column:", ""]
        lines += [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for source in names:
            shares = [
                (percent(kept["mi-fgsm"][p]), percent(kept["bim"][p])) for p in (f"{source} > {t}" for t in names)
            ]
            lines.append(f"| {source} | {' | '.join(f'{mi:.1f} ({bim:.1f})' for mi, bim in shares)} |")
        four = cells.get(f"{data}, mi-fgsm from the four others", {}).get("cells")
        if four:
            lines.append(f"| the four others | {' | '.join(f'{percent(four[target]):.1f}' for target in names)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def percent(cell):
    return 100 * cell[0] / max(1, cell[1])


def mean(cells):
    shares = [percent(cell) for cell in cells]
    return sum(shares) / len(shares)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of cells")
    parser.add_argument("--table", action="store_true", help="only write the table")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "transfer.json")
    if not asked.table:
        fill(cells, plan(), only=asked.only)
    (RESULTS / "transfer.md").write_text(page(cells.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
