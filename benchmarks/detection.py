"""Detectors of adversarial examples: how well they tell them apart, also those made by attacks that know of them.

``python benchmarks/detection.py [--table] [--only PART ...]`` fills benchmarks/results/detection.json, cell by cell:
what is there is not measured again, so a run that was killed goes on. It then writes detection.md from it.

Detectors are fitted to training rows, their thresholds come from the last 500 test rows at a false positive rate of
4 % (feature squeezing) or 5 %, and the first rows that are right when clean are attacked. An area is that of the rows
that fool against the same rows when clean. Attacks keep their highest loss; C&W L2 keeps its nearest point at the
stated confidence.
"""

import argparse
import hashlib
import math
import time
import warnings
from functools import cache, partial
from pathlib import Path

import torch
from _cells import RESULTS, Cells, environment, fill
from scipy import stats

import saddlepoint as sp
from saddlepoint import attacks
from saddlepoint.cli.main import _keep_memory
from saddlepoint.detectors import Confidence, FeatureSqueezing, Guarded, KDensity, NonMaximalEntropy, threshold
from saddlepoint.evaluation.detection import area, true_positives
from saddlepoint.losses import fool_and_pass

THREADS, CALIBRATED, PUBLISHED = 1, 500, 0.04
MNIST, FASHION, PHOTOS = "mnist10k", "fashion-mnist", "photopatch10"
SQUEEZED = [
    ("zoo:mnist-standard", MNIST, 0.3),
    ("zoo:fashion-standard", FASHION, 0.1),
    ("zoo:fashion-pgd", FASHION, 0.1),
    ("zoo:photopatch-standard", PHOTOS, 8 / 255),
]
TWINS = [(f"zoo:{data}-{kind}", name, eps) for data, name, eps in (("mnist", MNIST, 0.3), ("fashion", FASHION, 0.1))
         for kind in ("standard", "rce")]  # fmt: skip
METRICS = {"k-density": KDensity, "non-me": NonMaximalEntropy, "confidence": Confidence}
FAST, SLOW = 500, 100  # rows
RESAMPLINGS = 200


def made(name, eps, **more):
    """An attack by its name in the table."""
    ball, quick = sp.Linf(eps), {"steps": 300, "search_steps": 5, "step_size": 0.05, "const": 1.0}
    kinds = {
        "fgsm": lambda: attacks.FGSM(ball=ball),
        "bim": lambda: attacks.BIM(ball=ball),
        "pgd": lambda: attacks.PGD(ball=ball),
        "deepfool, 1.5 times the step": lambda: attacks.DeepFool(),
        "jsma": lambda: attacks.JSMA(),
        "c&w l2": lambda: attacks.CWL2(**quick, **more),
        "c&w l2, confidence 10": lambda: attacks.CWL2(**quick, confidence=10.0),
        "c&w l2, confidence 30": lambda: attacks.CWL2(**quick, confidence=30.0),
        "c&w linf": lambda: attacks.CWLinf(steps=200),
        "c&w l0": lambda: attacks.CWL0(steps=200),
    }
    return kinds[name]()


def plan():
    """(name, case, measure) of every cell."""
    for model, data, _ in SQUEEZED[:1] + TWINS[1:2]:
        detector = "feature-squeezing" if model == SQUEEZED[0][0] else "k-density"
        case = {
            "kind": "rate",
            "model": model,
            "detector": detector,
            "resamplings": RESAMPLINGS,
            "interval": "beta-binomial",
            **code(),
        }
        yield f"rate, {model}, {detector}", case, partial(rate, model, data, detector)
    for rows in (64, 512):
        model, data, _ = SQUEEZED[0]
        case = {"kind": "cost", "model": model, "rows": rows, **code()}
        yield f"cost, {model}, {rows} rows", case, partial(cost, model, data, rows)
    for model, data, eps in SQUEEZED:
        named = ["fgsm", "bim", "pgd", "deepfool, 1.5 times the step", "c&w l2, confidence 10"]
        named += ["c&w l2", "jsma", "c&w linf", "c&w l0"] if data == MNIST else []
        for name in named:
            yield cell(model, data, eps, "feature-squeezing", name)
    for model, data, eps in TWINS:
        for name in ("fgsm", "pgd", "c&w l2", "c&w l2, confidence 30"):
            for metric in METRICS:
                yield cell(model, data, eps, metric, name)
    for model, data, detector in (
        (SQUEEZED[0][0], MNIST, "feature-squeezing"),
        (TWINS[1][0], MNIST, "k-density"),
        (TWINS[0][0], MNIST, "k-density"),
    ):  # fmt: skip
        for aim in ("threshold", "median"):
            case = {"kind": "adaptive", "model": model, "detector": detector, "aim": aim, "rows": SLOW, **code()}
            yield f"adaptive, {model}, {detector}, {aim}", case, partial(knowing, model, data, detector, aim)


def cell(model, data, eps, detector, name):
    """One attack that does not know of the detector."""
    rows = FAST if name in ("fgsm", "bim", "pgd") else SLOW
    case = {
        "kind": "oblivious",
        "model": model,
        "detector": detector,
        "attack": name,
        "eps": eps,
        "rows": rows,
        **code(),
    }
    return f"{model}, {detector}, {name}", case, partial(oblivious, model, data, eps, detector, name, rows)


@cache
def code():
    """What all figures depend on."""
    folder, digest = Path(sp.__file__).parent, hashlib.sha256()
    for path in sorted([*folder.glob("detectors/*.py"), folder / "evaluation" / "detection.py"]):
        digest.update(path.read_bytes())
    kept = ("torch", "python", "processor", "threads")
    return {"code": digest.hexdigest()[:12], **{k: v for k, v in environment(THREADS).items() if k in kept}}


@cache
def guarded(spec, data, detector):
    """The model behind a detector, its threshold set."""
    model, learn, test = sp.load_model(spec), sp.load_data(f"{data}:train"), sp.load_data(f"{data}:test")
    learn = learn[:8000]
    kind = (
        FeatureSqueezing.joint({MNIST: "mnist"}.get(data, data))
        if detector == "feature-squeezing"
        else METRICS[detector]()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = kind.fit(model, learn.x[:500] if detector == "feature-squeezing" else learn.x,
                          learn.y[:500] if detector == "feature-squeezing" else learn.y)  # fmt: skip
        count = min(CALIBRATED, len(test) // 2)
        limit = threshold(scorer.scores(test.x[-count:]), PUBLISHED if detector == "feature-squeezing" else 0.05)
    return Guarded(model, scorer, limit)


@cache
def clean(spec, data, rows):
    """The first rows of the test that are right."""
    model, test = sp.load_model(spec), sp.load_data(f"{data}:test")
    x, y = test.x[: 2 * rows], test.y[: 2 * rows]
    right = (model.predict(x) == y).nonzero().flatten()[:rows]
    return x[right], y[right]


@cache
def points(spec, data, eps, name, rows):
    """Adversarial points, the same for every detector."""
    model, (x, y) = sp.load_model(spec), clean(spec, data, rows)
    found = made(name, eps)(model, x, y).x
    return x + 1.5 * (found - x) if name.startswith("deepfool") else found


def told(guard, x, y, found):
    """What a detector makes of these points."""
    lower, upper = guard.classifier.bounds.lower, guard.classifier.bounds.upper
    seen, before = guard.screen(found.clamp(lower, upper)), guard.scorer.scores(x)
    fooled = seen.label != y
    figures = {"rows": len(x), "fooled": int(fooled.sum()), "passed": int((fooled & ~seen.rejected).sum())}
    if fooled.any():
        under = area(before, seen.score[fooled])
        figures |= {"area": [round(v, 4) for v in (under.value, under.low, under.high)],
                    "tpr": round(true_positives(before, seen.score[fooled], PUBLISHED).value, 4),
                    "l2": round((found - x)[fooled].flatten(1).norm(dim=1).mean().item(), 4)}  # fmt: skip
    return figures


def oblivious(spec, data, eps, detector, name, rows):
    """An attack on the bare model."""
    return told(guarded(spec, data, detector), *clean(spec, data, rows), points(spec, data, eps, name, rows))


def knowing(spec, data, detector, aim):
    """C&W L2 on the guarded model, for a score below the threshold, or below the median of clean rows."""
    guard, (x, y) = guarded(spec, data, detector), clean(spec, data, SLOW)
    below = float(guard.threshold) if aim == "threshold" else guard.scorer.scores(x).median().item()
    found = made("c&w l2", 0, loss=fool_and_pass)(guard.pursued(below), x, y).x
    plain = told(guard, x, y, points(spec, data, 0.3, "c&w l2", SLOW))
    return {**told(guard, x, y, found), "plain": plain}


def rate(spec, data, detector):
    """The rate of clean rows that are refused, over resamplings, and how often it is one that may be expected.

    The threshold is a rank of exchangeable scores: what it refuses of others is beta-binomial, if no score is tied.
    """
    rank, others = math.ceil((CALIBRATED + 1) * 0.95), 2000 - CALIBRATED
    least, most = stats.betabinom.interval(0.95, others, CALIBRATED + 1 - rank, rank)
    guard, test = guarded(spec, data, detector), sp.load_data(f"{data}:test")[:2000]
    scores, generator = guard.scorer.scores(test.x), torch.Generator().manual_seed(0)
    rates, inside = [], 0
    for _ in range(RESAMPLINGS):
        order = torch.randperm(len(scores), generator=generator)
        limit = threshold(scores[order[:CALIBRATED]], 0.05)
        refused = int((scores[order[CALIBRATED:]] > limit).sum())
        rates.append(refused / others)
        inside += int(least <= refused <= most)
    figures = {"mean": sum(rates) / len(rates), "low": min(rates), "high": max(rates)}
    return {
        **{key: round(value, 5) for key, value in figures.items()},
        "inside": inside,
        "expected": [int(least), int(most)],
    }


def cost(spec, data, rows, repeats=15):
    """CPU seconds of one pass: of the bare model, of the guarded one, and of what it is made of."""
    guard, x = guarded(spec, data, "feature-squeezing"), sp.load_data(f"{data}:test").x[:rows]
    scorer, model = guard.scorer.eval(), sp.load_model(spec).module.eval()
    every = torch.cat([x] * (1 + len(scorer.squeezers)))
    parts = {
        "bare": lambda: model(x), "guarded": lambda: guard(x), "bare, all branches at once": lambda: model(every),
        **{f"squeezer {s.name}": partial(stage, x) for s, stage in zip(scorer.squeezers, scorer.stages, strict=True)},
    }  # fmt: skip
    best = dict.fromkeys(parts, float("inf"))
    with torch.no_grad():
        for _ in range(repeats):  # in turns, so that a slow moment strikes all
            for name, run in parts.items():
                start = time.process_time()
                run()
                best[name] = min(best[name], time.process_time() - start)
    return {
        "seconds": {name: round(value, 6) for name, value in best.items()},
        "ratio": round(best["guarded"] / best["bare"], 3),
    }


def page(cells):
    """Markdown from the cells: what was measured, and no more."""
    lines = []
    for kind, write in (
        ("oblivious", oblivious_table),
        ("adaptive", adaptive_table),
        ("rate", rate_table),
        ("cost", cost_table),
    ):
        found = [cell for cell in cells.values() if cell["case"]["kind"] == kind]
        lines += [*write(found), ""] if found else []
    return "\n".join(lines)


def oblivious_table(cells):
    """Attacks that do not know of the detector."""
    lines = ["**Attacks that do not know of the detector**: area under the ROC curve with its 95 % interval", ""]
    lines += [
        "| model | detector | attack | rows fooled | AUC | TPR at 4 % FPR | mean L2 |",
        "|---|---|---|---|---|---|---|",
    ]
    order = sorted(cells, key=lambda c: [c["case"][key] for key in ("detector", "model", "attack")])
    return lines + [
        f"| `{c['case']['model']}` | {c['case']['detector']} | {c['case']['attack']} | {figures(c)} |" for c in order
    ]


def figures(cell):
    """The right half of a line."""
    fooled = f"{cell['fooled']} of {cell['rows']}"
    if "area" not in cell:
        return f"{fooled} | | |"
    value, low, high = cell["area"]
    return f"{fooled} | {value:.3f} ({low:.3f} to {high:.3f}) | {100 * cell['tpr']:.1f} % | {cell['l2']:.2f}"


def adaptive_table(cells):
    """Attacks that know of it."""
    lines = [
        "**C&W L2 that knows of the detector**, by `Guarded.pursued`, beside plain C&W at the same 5 x 300 steps",
        "",
    ]
    lines += [
        "| model | detector | goes for a score below | fooled and passed | rows fooled | AUC | TPR at 4 % FPR | "
        "mean L2 | plain: AUC | mean L2 |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for c in cells:
        aim = {"threshold": "the threshold", "median": "the median of clean rows"}[c["case"]["aim"]]
        where = f"| `{c['case']['model']}` | {c['case']['detector']} | {aim} | {c['passed']} of {c['rows']}"
        lines.append(f"{where} | {figures(c)} | {c['plain']['area'][0]:.3f} | {c['plain']['l2']:.2f} |")
    return lines


def rate_table(cells):
    """The rate of refused clean rows."""
    lines = [
        "**The threshold**, from 500 clean rows at a false positive rate of 5 %, on the 1,500 others, 200 times",
        "",
    ]
    lines += [
        "| model | detector | mean rate | lowest | highest | within the 95 % interval of such a rank |",
        "|---|---|---|---|---|---|",
    ]
    for c in cells:
        shares = " | ".join(f"{100 * c[key]:.2f} %" for key in ("mean", "low", "high"))
        lines.append(
            f"| `{c['case']['model']}` | {c['case']['detector']} | {shares} | {c['inside']} of {RESAMPLINGS} |"
        )
    return lines


def cost_table(cells):
    """A pass of the guarded model."""
    lines = [
        "**One pass** behind {1-bit, median 2x2}: CPU milliseconds, the best of 15",
        "",
        "| rows | bare | guarded | ratio | three times the rows, bare | squeezers |",
        "|---|---|---|---|---|---|",
    ]
    for c in sorted(cells, key=lambda c: c["case"]["rows"]):
        told = {name: 1000 * value for name, value in c["seconds"].items()}
        squeezers = ", ".join(f"{name[9:]} {value:.2f}" for name, value in told.items() if name.startswith("squeezer"))
        times = " | ".join(f"{told[name]:.2f}" for name in ("bare", "guarded"))
        stacked = f"{told['bare, all branches at once']:.2f}"
        lines.append(f"| {c['case']['rows']} | {times} | {c['ratio']:.2f} | {stacked} | {squeezers} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked_for = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "detection.json")
    if not asked_for.table:
        fill(cells, plan(), only=asked_for.only)
    (RESULTS / "detection.md").write_text(page(cells.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
