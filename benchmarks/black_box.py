"""Attacks without gradients against those of other libraries, at equal queries: how strong.

``python benchmarks/black_box.py [--table] [--only PART ...]`` fills benchmarks/results/black_box.json, cell by cell:
what is there is not measured again, so a run that was killed goes on. It then writes black_box.md from it.

Square, alone: robust accuracy of 500 rows after 5,000 queries, three seeds, beside pyautoattack, the packaged original.
HopSkipJump, L2: the median over 50 rows of the distance of the nearest point that fools, after 1,000, 5,000 and 20,000
queries. Ours is run once for each number, as its budget, and the distance is that of the result. A peer is run row by
row, without end; whatever fooling point it has asked about by then counts, which is never farther than what it would
return. All that a side asks counts: the search for a starting point, too, and the look at the input.
"""

import argparse
import hashlib
import statistics
import warnings
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _cells import RESULTS, Cells, environment, fill
from _nets import freeze

import saddlepoint as sp
from saddlepoint import attacks
from saddlepoint.cli.main import _keep_memory

THREADS = 1
SQUARE = [("zoo:mnist-pgd", "mnist10k:test", 0.3), ("zoo:fashion-pgd", "fashion-mnist:test", 0.1)]
SQUARE_ROWS, SEEDS, STEPS = 500, 3, 5000
HOP, HOP_ROWS, HOP_PART = ("zoo:mnist-standard", "mnist10k:test"), 50, 10
QUERIES = [1000, 5000, 20000]
FILES = {"square": ("square", "_windows"), "hop-skip-jump": ("hop_skip_jump",)}


class OutOfQueriesError(Exception):
    """The budget of a row is spent."""


def own(kind):
    """What our figures depend on: beside the environment, the code of the attack."""
    folder, digest = Path(sp.__file__).parent / "attacks", hashlib.sha256()
    for name in FILES[kind]:
        digest.update((folder / f"{name}.py").read_bytes())
    return {"side": "saddlepoint", "code": digest.hexdigest()[:12], **installed(), "saddlepoint": sp.__version__}


def plan():
    """(name, case, measure) of every cell."""
    for model, data, eps in SQUARE:
        kind = {"kind": "square", "model": model, "eps": eps, "rows": SQUARE_ROWS, "steps": STEPS}
        for seed in range(SEEDS):
            for side in (own("square"), peer("pyautoattack")):
                measure = partial(square, side["side"], model, data, eps, seed)
                yield f"square, {model}, seed {seed}, {side['side']}", {**kind, "seed": seed, **side}, measure
    for first in range(0, HOP_ROWS, HOP_PART):
        rows = [first, first + HOP_PART]
        kind = {"kind": "hop-skip-jump", "model": HOP[0], "rows": rows, "queries": QUERIES}
        for side in (own("hop-skip-jump"), peer("foolbox"), peer("art", "adversarial-robustness-toolbox")):
            measure = partial(hop_skip_jump, side["side"], slice(*rows))
            yield f"hop-skip-jump, rows {rows[0]}-{rows[1] - 1}, {side['side']}", {**kind, **side}, measure


def peer(name, package=None):
    """What a peer's figures depend on."""
    return {"side": name, "version": version(package or name), **installed()}


def installed():
    """What all figures depend on."""
    kept = ("torch", "python", "processor", "threads")
    return {key: value for key, value in environment(THREADS).items() if key in kept}


def square(side, spec, data_spec, eps, seed):
    """Robust accuracy, judged by the bare module; rows that are wrong when clean count as broken."""
    module, data = freeze(sp.load_model(spec).module), sp.load_data(data_spec)[:SQUARE_ROWS]
    with torch.no_grad():
        right = module(data.x).argmax(1) == data.y
    x, y = data.x[right], data.y[right]
    if side == "saddlepoint":
        attack = attacks.Square(ball=sp.Linf(eps), keep=sp.Keep.FIRST_SUCCESS, steps=STEPS)
        points = attack(sp.Classifier(module), x, y, noise=sp.Noise(seed)).x
    else:
        from pyautoattack.square import SquareAttack

        attack = SquareAttack(module, p_init=0.8, n_queries=STEPS, eps=eps, norm="Linf", seed=seed, device="cpu")
        points = attack.perturb(x, y)
    assert (points - x).abs().max() <= eps + 1e-6, "outside the ball"
    assert min(points.min(), 1 - points.max()) >= 0, "outside the box"
    with torch.no_grad():
        return {"robust": round((module(points).argmax(1) == y).sum().item() / SQUARE_ROWS, 4)}


def hop_skip_jump(side, rows):
    """For each of QUERIES the distance of every row, infinite where nothing was found."""
    module, data = freeze(sp.load_model(HOP[0]).module), sp.load_data(HOP[1])[rows]
    with torch.no_grad():
        y = module(data.x).argmax(1)  # a row that is wrong when clean is attacked, too: away from what the model says
    if side == "saddlepoint":
        found = [ours(module, data.x, y, budget) for budget in QUERIES]
        return {"distances": [[round(d, 5) for d in distances] for distances in found]}
    rows = [asked(side, module, x, label) for x, label in zip(data.x.split(1), y.split(1), strict=True)]
    return {"distances": [list(at) for at in zip(*rows, strict=True)]}


def ours(module, x, y, budget):
    """Distances within a budget."""
    result = attacks.HopSkipJump(steps=1000)(sp.Classifier(module), x, y, limits=sp.Limits(forwards=budget))
    return torch.where(result.success, result.distance, torch.inf).tolist()


def asked(side, module, x, y):
    """The nearest fooling point that a peer has asked about, for each of QUERIES."""
    watch = Watch(module, x, int(y))
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (ART draws from it)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(OutOfQueriesError, ValueError):  # foolbox's word for a row without a starting point is ValueError
            {"foolbox": foolbox, "art": art}[side](watch, x, y)
    return [round(min((d for n, d in watch.found if n <= budget), default=float("inf")), 5) for budget in QUERIES]


class Watch(torch.nn.Module):
    """The module; writes down (queries so far, distance) of every fooling point nearer than all before it."""

    def __init__(self, module, x, label):
        super().__init__()
        self.module, self.x, self.label, self.queries, self.found = module, x, label, 0, []

    def forward(self, x):
        if self.queries >= QUERIES[-1]:
            raise OutOfQueriesError
        logits = self.module(x := x.float())  # ART asks in double precision
        fooled = (logits.argmax(1) != self.label).nonzero().flatten()
        for i, d in zip(fooled.tolist(), (x[fooled] - self.x).flatten(1).norm(dim=1).tolist(), strict=True):
            if not self.found or d < self.found[-1][1]:
                self.found.append((self.queries + i + 1, d))
        self.queries += len(x)
        return logits


def foolbox(watch, x, y):
    """Foolbox, as it comes, with more iterations than it will be given queries for."""
    import foolbox

    model = foolbox.PyTorchModel(watch.eval(), bounds=(0, 1), device="cpu")
    foolbox.attacks.HopSkipJumpAttack(steps=1000).run(model, x, foolbox.criteria.Misclassification(y))


def art(watch, x, y):
    """ART, as it comes, with more iterations than it will be given queries for."""
    from art.attacks.evasion import HopSkipJump as Theirs
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(
        watch, torch.nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    watch.queries = 0
    Theirs(model, max_iter=1000, verbose=False).generate(x.numpy(), y.numpy())


def page(cells):
    """Markdown from the cells: what was measured, and no more."""
    lines = []
    for kind, write in (("square", square_table), ("hop-skip-jump", hop_table)):
        found = [cell for cell in cells.values() if cell["case"]["kind"] == kind]
        lines += write(found) if found else []
    return "\n".join(lines)


def square_table(cells):
    """Robust accuracy in per cent, mean and range over the seeds."""
    case = cells[0]["case"]
    lines = [
        f"**Square**, Linf, {case['rows']} rows, {case['steps']:,} queries: robust accuracy in per cent, mean and "
        "range of the seeds",
        "",
        "| model | eps | saddlepoint | pyautoattack |",
        "| --- | --- | --- | --- |",
    ]
    for model, eps in dict.fromkeys((cell["case"]["model"], cell["case"]["eps"]) for cell in cells):
        row = [model, str(eps)]
        for side in ("saddlepoint", "pyautoattack"):
            own = [100 * c["robust"] for c in cells if (c["case"]["model"], c["case"]["side"]) == (model, side)]
            row.append(f"{statistics.mean(own):.2f} ({min(own):.1f}–{max(own):.1f})" if own else "")
        lines.append(f"| {' | '.join(row)} |")
    return [*lines, ""]


def hop_table(cells):
    """Median distances."""
    lines = [
        f"**HopSkipJump**, L2, {cells[0]['case']['model']}: median distance of the nearest fooling point, "
        "rows without one in brackets",
        "",
        f"| queries | {' | '.join(('saddlepoint', 'foolbox', 'art'))} |",
        "| --- | --- | --- | --- |",
    ]
    for i, budget in enumerate(QUERIES):
        row = [f"{budget:,}"]
        for side in ("saddlepoint", "foolbox", "art"):
            own = [d for cell in cells if cell["case"]["side"] == side for d in cell["distances"][i]]
            lost = sum(d == float("inf") for d in own)
            row.append(f"{statistics.median(own):.4f} ({lost} of {len(own)})" if own else "")
        lines.append(f"| {' | '.join(row)} |")
    return [*lines, ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked_for = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "black_box.json")
    if not asked_for.table:
        fill(cells, plan(), only=asked_for.only)
    (RESULTS / "black_box.md").write_text(page(cells.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
