"""One perturbation for all inputs: how many it fools, beside noise of the same size, on another model, beside ART's.

``python benchmarks/universal.py [--table] [--only PART ...]`` fills benchmarks/results/universal.json, cell by cell:
what is there is not measured again, so a run that was killed goes on. It then writes universal.md from it.

Fitted to the first 500 rows of a train split, measured on the first 1,000 of the test split, or all of them; fooled are
rows that the bare module no longer calls what it called them without the perturbation, all points in the box. Noise is
the mean of 20 draws of random signs times eps. ART runs one pass over the same 500 rows, as ours beside it does, with
its defaults otherwise. Times are of the processor: the wall clock also sees what else the machine does.
"""

import argparse
import io
import statistics
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
from _cells import RESULTS, Cells, environment, fill
from _nets import freeze

import saddlepoint as sp
from saddlepoint.attacks import UniversalPerturbation
from saddlepoint.attacks.universal import RULES
from saddlepoint.cli.main import _keep_memory

THREADS, ROWS, HELD_OUT, EPOCHS, DRAWS = 1, 500, 1000, 10, 20
TASKS = [
    ("zoo:mnist-standard", "mnist10k", 0.2, "zoo:mnist-lenet"),
    ("zoo:fashion-standard", "fashion-mnist", 0.2, None),
    ("zoo:photopatch-standard", "photopatch10", 10 / 255, None),
]
CODE = ("universal/*", "deepfool", "ddn", "_minimal")
BESIDE = TASKS[:2]


def plan():
    """(name, case, measure) of every cell."""
    ours = {**environment(THREADS, CODE), "side": "saddlepoint"}
    kept = {key: ours[key] for key in ("torch", "python", "processor", "threads")}
    for model, data, eps, other in TASKS:
        case = {"model": model, "data": data, "eps": round(eps, 6), "rows": ROWS, "held_out": HELD_OUT, "other": other}
        about = (model, data, eps, other)
        yield f"noise, {model}", {**case, "kind": "noise", "draws": DRAWS, **kept}, partial(noise, *about)
        for rule in RULES:
            own = {**case, "kind": "fit", "rule": rule, "epochs": EPOCHS, **ours}
            yield f"{rule}, {model}", own, partial(fitted, rule, EPOCHS, *about)
    for model, data, eps, other in BESIDE:
        case = {"model": model, "data": data, "eps": round(eps, 6), "rows": ROWS, "held_out": HELD_OUT, "epochs": 1}
        about = (model, data, eps, other)
        yield (
            f"one pass, {model}, saddlepoint",
            {**case, "kind": "pass", **ours},
            partial(fitted, "sequential", 1, *about),
        )
        peer = {"side": "art", "version": version("adversarial-robustness-toolbox"), **kept}
        yield f"one pass, {model}, art", {**case, "kind": "pass", **peer}, partial(art, *about)


def rows_of(data):
    """The rows to fit to, and those to measure on."""
    return sp.load_data(f"{data}:train").x[:ROWS], sp.load_data(f"{data}:test").x[:HELD_OUT]


def rate(spec, x, v):
    """The share of rows that v fools, by the bare module."""
    module = freeze(sp.load_model(spec).module)
    with torch.no_grad():
        changed = [module(part).argmax(1) != module((part + v).clamp(0, 1)).argmax(1) for part in x.split(500)]
    return round(torch.cat(changed).double().mean().item(), 4)


def judged(spec, data, eps, other, v):
    """The rates of a perturbation that keeps to eps."""
    assert v.abs().max() <= eps + 1e-6, "outside the ball"
    x, held_out = rows_of(data)
    found = {"fitted": rate(spec, x, v), "held_out": rate(spec, held_out, v)}
    return found if other is None else {**found, "transferred": rate(other, held_out, v)}


def noise(spec, data, eps, other):
    """Means over draws."""
    like = rows_of(data)[0][:1]
    found = [judged(spec, data, eps, other, eps * sp.Noise(i).normal(like).sign()) for i in range(DRAWS)]
    return {key: round(statistics.mean(each[key] for each in found), 4) for key in found[0]}


def fitted(rule, epochs, spec, data, eps, other):
    """Ours, with its defaults."""
    attack = UniversalPerturbation(ball=sp.Linf(eps), rule=RULES[rule](), epochs=epochs)
    model, x = sp.load_model(spec), rows_of(data)[0]
    start, wall = time.process_time(), time.monotonic()
    found = attack.fit(model, x)
    spent = {"seconds": round(time.process_time() - start, 2), "wall": round(time.monotonic() - wall, 2)}
    about = {"passes": found.fitted.epochs, "forwards": found.fitted.forwards, "backwards": found.fitted.backwards}
    return {**judged(spec, data, eps, other, found.v), **about, **spent}


def art(spec, data, eps, other):
    """ART's, one pass, with its own DeepFool."""
    from art.attacks.evasion import UniversalPerturbation as Theirs
    from art.estimators.classification import PyTorchClassifier

    module, x = freeze(sp.load_model(spec).module), rows_of(data)[0]
    model = PyTorchClassifier(
        module, torch.nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = Theirs(model, attacker="deepfool", delta=0.2, max_iter=1, eps=eps, norm=np.inf, verbose=False)
    np.random.seed(0)  # noqa: NPY002 (ART draws from it)
    start, wall = time.process_time(), time.monotonic()
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        attack.generate(x.numpy())
    spent = {"seconds": round(time.process_time() - start, 2), "wall": round(time.monotonic() - wall, 2)}
    v = torch.as_tensor(attack.noise, dtype=torch.float32).reshape(1, *x.shape[1:])
    return {**judged(spec, data, eps, other, v), "passes": 1, **spent}


def page(cells):
    """Markdown from the cells: what was measured, and no more."""
    found = list(cells.values())
    lines = [
        f"Fooled in per cent, Linf: of the {ROWS} rows of the train split that it was fitted to, of the first "
        f"{HELD_OUT:,} of the test split, or all that there are, and of those by `zoo:mnist-lenet`",
        "",
        "| model | eps | what | train | test | LeNet | passes over the rows | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in sorted((c for c in found if c["case"]["kind"] != "pass"), key=order):
        case = cell["case"]
        what = "random signs" if case["kind"] == "noise" else case["rule"]
        effort = [str(cell["passes"]), f"{cell['seconds']:.1f}"] if "passes" in cell else ["", ""]
        row = [case["model"], f"{case['eps']:.4g}", what, *rates(cell), *effort]
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        f"One pass over the same {ROWS} rows, beside ART",
        "",
        "| model | eps | side | train | test | LeNet | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in sorted((c for c in found if c["case"]["kind"] == "pass"), key=order):
        case = cell["case"]
        row = [case["model"], f"{case['eps']:.4g}", case["side"], *rates(cell), f"{cell['seconds']:.1f}"]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, ""])


def order(cell):
    """Tasks as listed, noise first, then the rules; ours before ART."""
    case, tasks = cell["case"], [task[0] for task in TASKS]
    return tasks.index(case["model"]), ["", *RULES].index(case.get("rule", "")), case.get("side") == "art"


def rates(cell):
    """As texts, in per cent."""
    return [f"{100 * cell[key]:.1f}" if key in cell else "" for key in ("fitted", "held_out", "transferred")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked_for = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "universal.json")
    if not asked_for.table:
        fill(cells, plan(), only=asked_for.only)
    (RESULTS / "universal.md").write_text(page(cells.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
