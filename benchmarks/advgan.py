"""How often generators of AdvGAN fool, what a black box costs them, and what an example takes beside PGD.

``python benchmarks/advgan.py [--only PART ...] [--table]`` fills benchmarks/results/advgan.json, cell by cell, and
writes advgan.md from it. What is there is not measured again; a fit that was killed goes on.

Digits, Linf, eps 0.3. With gradients, a generator is fitted to the 8,000 training rows. A black box is asked about the
first 1,000 test rows, which it was not trained on, and a copy (SmallCNN) learns its answers; static and dynamic take
equally many epochs of the generator. All but ``DEFAULTS`` have a norm weight of 0.01 and a confidence of 2. Success is
on the last 1,000 test rows, over every target that is not the label.
"""

import argparse
import time
from dataclasses import replace

import torch
from _cells import RESULTS, Cells, environment, fill, processor
from _tables import _table

import saddlepoint as sp
from saddlepoint.attacks import PGD, AdvGAN, AdvGANAttack
from saddlepoint.attacks.advgan import BlackBox
from saddlepoint.cli.main import _keep_memory
from saddlepoint.models.nets import build

THREADS, PAIRS = 1, 3
BALL = sp.Linf(0.3)
ASKED, LAST, AT_ONCE = 1000, 1000, 250
DEFAULTS = AdvGAN(ball=BALL, target="every", epochs=20)
BASE = replace(DEFAULTS, epochs=40, norm_weight=0.01, confidence=2.0)
STATIC = replace(BASE, epochs=120, black_box=BlackBox(epochs=30))
DYNAMIC = replace(BASE, epochs=30, black_box=BlackBox(rounds=3, epochs=30))
TITLES = {"defaults": "gradients, default weights", "white": "gradients"}
TITLES |= {"static": "black box, static", "dynamic": "black box, dynamic"}
WHITE = ("defaults", "white")
FITS = {
    "defaults": {"zoo:mnist-lenet": DEFAULTS},
    "white": dict.fromkeys(["zoo:mnist-lenet", "zoo:mnist-standard", "zoo:mnist-pgd"], BASE),
    "static": {"zoo:mnist-lenet": STATIC, "zoo:mnist-pgd": STATIC},
    "dynamic": {"zoo:mnist-lenet": DYNAMIC, "zoo:mnist-pgd": DYNAMIC},
}


def plan(folder):
    """(name, case, measure) of every cell."""
    for kind, fits in FITS.items():
        for name, settings in fits.items():
            case = {"kind": kind, "model": name, "settings": settings.describe(), **environment(THREADS, ("advgan/*",))}
            yield f"{kind}, {name}", case, lambda a=(kind, name, settings): _success(folder, *a)
    model = "zoo:mnist-lenet"
    case = {"kind": "time", "model": model, "pairs": PAIRS, "rows": LAST, "timed on": processor()}
    case |= environment(THREADS, ("advgan/*",))
    yield f"time, {model}", case, lambda: _time(folder, model)


def _fitted(folder, kind, name, settings):
    """The attack, the CPU minutes of its fit (of one that went on, scaled up by the steps done) and its passes."""
    model, path = sp.load_model(name), folder / f"advgan-{kind}-{name.removeprefix('zoo:')}.safetensors"
    rows = sp.load_data("mnist10k:train") if kind in WHITE else sp.load_data("mnist10k:test")[:ASKED]
    kept, copy, clock = path.with_suffix(".checkpoint"), None, []
    if kind not in WHITE:
        torch.manual_seed(0)
        copy = build({"name": "SmallCNN"})
    folder.mkdir(parents=True, exist_ok=True)
    attack = settings.fit(
        model, rows.x, rows.y, copy=copy, checkpoint=kept,
        watch=lambda done, _: clock.append((time.process_time(), done)),
    )  # fmt: skip
    attack.save(path)
    kept.unlink(missing_ok=True)
    (first, _), (last, steps) = clock[0], clock[-1]
    scale = steps / max(1, len(clock) - 1)
    queries = [attack.about["queries"], 0] if copy is not None else [len(rows) * settings.epochs] * 2
    return attack, (last - first) / 60 * scale, queries


def _success(folder, kind, name, settings):
    attack, minutes, asked = _fitted(folder, kind, name, settings)
    model, data = sp.load_model(name), sp.load_data("mnist10k:test")[-LAST:]
    fooled, rows, changed = [], [], 0
    right = model.predict(data.x) == data.y
    broken = torch.zeros(len(data), dtype=torch.bool)
    for target in range(10):
        chosen = (data.y != target).nonzero().squeeze(1)
        hits = 0
        for part in chosen.split(AT_ONCE):
            x, y = data.x[part], data.y[part]
            found = attack(model, x, y, target=torch.full_like(y, target))
            with torch.no_grad():
                said = model.module(found.x).argmax(1)
            hits, changed = hits + int((said == target).sum()), changed + int((said != y).sum())
            broken[part] |= said != y
        fooled.append(hits)
        rows.append(len(chosen))
    clean = int(right.sum())
    last = dict(attack.history[-1].figures)
    return {
        "fooled": fooled, "rows": rows, "changed": changed, "right": clean, "held": int((right & ~broken).sum()),
        "minutes": round(minutes, 2), "asked": asked, "last epoch": {key: round(v, 4) for key, v in last.items()},
    }  # fmt: skip


def _time(folder, name):
    attack = AdvGANAttack.load(folder / f"advgan-defaults-{name.removeprefix('zoo:')}.safetensors")
    model = sp.load_model(name)
    data = sp.load_data("mnist10k:test")[-LAST:]
    target = (data.y + 1) % 10
    before = model.meter.forwards, model.meter.backwards
    attack(model, data.x, data.y, target=target)
    passes = model.meter.forwards - before[0], model.meter.backwards - before[1]
    times = []
    for _ in range(PAIRS):
        pair = []
        for each in (attack, PGD(ball=BALL, steps=40)):
            start = time.process_time()
            for part in torch.arange(LAST).split(AT_ONCE):
                each(model, data.x[part], data.y[part], target=target[part])
            pair.append(time.process_time() - start)
        times.append(pair)
    return {"seconds": [[round(s, 4) for s in pair] for pair in times], "passes": list(passes)}


def page(cells):
    """The tables."""
    lines, found = [], [cell for cell in cells.values() if cell["case"]["kind"] in FITS]
    rows = []
    for cell in sorted(found, key=lambda c: (list(FITS).index(c["case"]["kind"]), c["case"]["model"])):
        kind, hits = cell["case"]["kind"], [100 * f / n for f, n in zip(cell["fooled"], cell["rows"], strict=True)]
        share = 100 * sum(cell["fooled"]) / sum(cell["rows"])
        goal = "" if kind not in WHITE or "pgd" in cell["case"]["model"] else ("yes" if share >= 90 else "**no**")
        rows.append([
            TITLES[kind],
            f"`{cell['case']['model']}`", f"{share:.1f}", f"{min(hits):.1f} to {max(hits):.1f}", goal,
            f"{100 * cell['changed'] / sum(cell['rows']):.1f}", f"{cell['asked'][0]:,}, {cell['asked'][1]:,}",
            f"{cell['minutes']:.1f}",
        ])  # fmt: skip
    head = ["fitted with", "model", "target reached %", "worst and best target", "at least 90 %", "class changed %"]
    lines += _table([*head, "passes of the fit: forward, backward", "CPU minutes"], rows)
    for cell in (cell for cell in cells.values() if cell["case"]["kind"] == "time"):
        ratios = sorted(own / other for own, other in cell["seconds"])
        own, other = (sorted(pair[i] for pair in cell["seconds"])[len(ratios) // 2] for i in (0, 1))
        model, forward, backward = cell["case"]["model"], *cell["passes"]
        lines += [
            f"1,000 images on `{model}`: {1000 * own:.0f} ms of CPU with a generator, {1000 * other:.0f} ms with "
            "PGD-40,",
            f"{1 / ratios[len(ratios) // 2]:.1f} times as much, median of {len(ratios)} pairs in batches of {AT_ONCE};",
            f"20 times was the goal. Rows through the model: {forward:,} forward, to verify, and {backward} backward.",
            "",
        ]
    case = next(iter(cells.values()))["case"]
    known = ", ".join(f"{key} {case[key]}" for key in ("saddlepoint", "torch", "python", "processor", "threads"))
    return "\n".join([f"Measured with {known}.", "", *lines])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "advgan.json")
    if not asked.table:
        fill(cells, plan(RESULTS / "weights"), only=asked.only)
    (RESULTS / "advgan.md").write_text(page(cells.cells), encoding="utf-8")
    print("wrote advgan.md")


if __name__ == "__main__":
    main()
