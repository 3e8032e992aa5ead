"""Detectors of adversarial examples: how well they tell them apart, also those made by attacks that know of them.

``python benchmarks/detection.py [--table] [--only PART ...]`` fills benchmarks/results/detection.json, cell by cell:
what is there is not measured again, so a run that was killed goes on. It then writes detection.md from it.

Detectors are fitted to training rows, their thresholds come from the last 500 test rows (or the last half) at a rate of
4 % (feature squeezing) or 5 %, and the first rows that are right when clean are attacked. An area is that of the rows
that fool against the same rows when clean. Attacks keep their highest loss; C&W L2 keeps its nearest point at the
stated confidence. Points are kept in results/weights/, so that a detector that changed meets the same ones again.
"""

import argparse
import hashlib
import inspect
import json
import math
import statistics
import time
import warnings
from functools import cache, partial
from pathlib import Path

import torch
from _cells import RESULTS, Cells, engine, environment, fill
from _detection_tables import RESAMPLINGS, page
from safetensors.torch import load_file, save_file
from scipy import stats

import saddlepoint as sp
from saddlepoint import attacks
from saddlepoint.cli.main import _keep_memory
from saddlepoint.defenses.training import Objective, ReversedLabelCrossEntropy, Schedule, Standard, fit
from saddlepoint.detectors import (
    Confidence,
    FeatureSqueezing,
    Guarded,
    KDensity,
    NonMaximalEntropy,
    OrthogonalPGD,
    threshold,
)
from saddlepoint.evaluation.detection import area, true_positives
from saddlepoint.losses import cross_entropy, fool_and_pass, margin
from saddlepoint.models import LeakyCNN

THREADS, CALIBRATED, PUBLISHED = 1, 500, 0.04
MNIST, FASHION, PHOTOS = "mnist10k", "fashion-mnist", "photopatch10"
SQUEEZED = [
    ("zoo:mnist-standard", MNIST, 0.3),
    ("zoo:fashion-standard", FASHION, 0.1),
    ("zoo:fashion-pgd", FASHION, 0.1),
    ("zoo:photopatch-standard", PHOTOS, 8 / 255),
]
TWINS = [(f"zoo:{data}-{kind}", name, eps) for data, name, eps in (("mnist", MNIST, 0.3), ("fashion", FASHION, 0.1))
         for kind in ("leaky", "rce")]  # fmt: skip
SQUEEZING = ["fgsm", "bim", "pgd", "deepfool, 1.5 times the step", "c&w l2, confidence 10", "c&w l2"]
SQUEEZING += ["jsma", "c&w linf", "c&w l0"]  # of MNIST alone
METRIC = [
    "fgsm",
    "bim",
    "pgd",
    "illc",
    *(f"c&w l2{more}" for more in ("", *(f", confidence {c}" for c in (10, 30, 50)))),
]
CLIMB = {"steps": 1000, "search_steps": 9, "step_size": 0.1, "const": 0.1}  # long steps: one of the squeezers rounds
SHORT = {**CLIMB, "steps": 300, "search_steps": 5}  # non-local means are slow
KNOWING = [
    ("zoo:mnist-standard", MNIST, "feature-squeezing", CLIMB), ("zoo:mnist-rce", MNIST, "k-density", CLIMB),
    ("zoo:mnist-leaky", MNIST, "k-density", CLIMB), ("zoo:fashion-rce", FASHION, "k-density", CLIMB),
    ("zoo:fashion-standard", FASHION, "feature-squeezing", SHORT),
    ("zoo:fashion-pgd", FASHION, "feature-squeezing", SHORT),
]  # fmt: skip
KNOWN = ("torch", "python", "processor", "threads")  # that cells are measured again for
METRICS = {"k-density": KDensity, "non-me": NonMaximalEntropy, "confidence": Confidence}
FAST, SLOW = 500, 100  # rows


def made(name, eps, **more):
    """An attack by its name in the table: C&W at 5 x 300 steps, unless told otherwise."""
    ball, quick = sp.Linf(eps), {"steps": 300, "search_steps": 5, "step_size": 0.05, "const": 1.0}
    kinds = {
        "fgsm": lambda: attacks.FGSM(ball=ball),
        "bim": lambda: attacks.BIM(ball=ball),
        "pgd": lambda: attacks.PGD(ball=ball),
        "illc": lambda: attacks.ILLC(ball=ball),
        "deepfool, 1.5 times the step": lambda: attacks.DeepFool(),
        "jsma": lambda: attacks.JSMA(),
        "c&w l2": lambda: attacks.CWL2(**quick, **more),
        "c&w l2, 9 x 1,000": lambda: attacks.CWL2(**more),
        "c&w linf": lambda: attacks.CWLinf(steps=200, confidence=10.0),
        "c&w l0": lambda: attacks.CWL0(steps=200, confidence=10.0),
    }
    first, comma, last = name.partition(", confidence ")
    return made(first, eps, confidence=float(last)) if comma else kinds[name]()


def plan():
    """(name, case, measure) of every cell."""
    shared = {key: value for key, value in environment(THREADS).items() if key in KNOWN}
    for model, data, detector in ((SQUEEZED[0][0], MNIST, "feature-squeezing"), (TWINS[1][0], MNIST, "k-density")):
        case = {"kind": "rate", "model": model, "detector": detector, "resamplings": RESAMPLINGS}
        case |= {"interval": "beta-binomial", "weights": weights(model), "code": code(detector, "threshold"), **shared}
        yield f"rate, {model}, {detector}", case, partial(rate, model, data, detector)
    for rows in (64, 512):
        model, data, _ = SQUEEZED[0]
        case = {"kind": "cost", "model": model, "rows": rows, "code": code("feature-squeezing", "guarded"), **shared}
        yield f"cost, {model}, {rows} rows", case, partial(cost, model, data, rows)
    for data in (MNIST, FASHION):
        yield (
            f"training, {data}",
            {"kind": "training", "data": data, "net": "LeakyCNN", **shared},
            partial(training, data),
        )
    for model, data, eps in SQUEEZED:
        for name in SQUEEZING[: 9 if data == MNIST else 6]:
            yield cell(model, data, eps, "feature-squeezing", name, shared)
    for model, data, eps in TWINS:
        for name in METRIC:
            for metric in METRICS:
                yield cell(model, data, eps, metric, name, shared)
    for model, data, eps in SQUEEZED[1:3]:
        case = {
            "kind": "joined",
            "model": model,
            "eps": eps,
            "rows": FAST,
            "engine": engine(),
            "weights": weights(model),
        }
        case |= {"code": code("feature-squeezing", "guarded", "orthogonal"), **shared}
        yield f"joined, {model}", case, partial(joined, model, data, eps)
    for model, data, detector, climb in KNOWING:
        for aim in ("threshold", "median"):
            case = {"kind": "adaptive", "model": model, "detector": detector, "aim": aim, "rows": SLOW, "attack": climb}
            case |= {"engine": engine(("cw_l2", "_carlini")), "code": code(detector, "guarded")}
            case |= {"weights": weights(model), **shared}
            yield f"adaptive, {model}, {detector}, {aim}", case, partial(knowing, model, data, detector, aim, climb)
    for squeezer in ("bit-depth:1", "median:2"):
        case = {"kind": "behind", "model": SQUEEZED[0][0], "squeezer": squeezer, "rows": SLOW, "attack": CLIMB}
        case |= {"engine": engine(("cw_l2", "_carlini")), "weights": weights(SQUEEZED[0][0]), **shared}
        yield f"behind, {squeezer}", case, partial(behind, *SQUEEZED[0][:2], squeezer)


def cell(model, data, eps, detector, name, shared):
    """One attack that does not know of the detector."""
    rows = min(SLOW if name.startswith(("c&w l0", "jsma")) else FAST, spare(data))
    case = {"kind": "oblivious", "model": model, "detector": detector, "attack": name, "eps": eps, "rows": rows}
    case |= {"engine": attack_code(name, eps), "code": code(detector), "weights": weights(model), **shared}
    return f"{model}, {detector}, {name}", case, partial(oblivious, model, data, eps, detector, name, rows)


def attack_code(name, eps):
    """What the points of an attack depend on."""
    return engine((Path(inspect.getfile(type(made(name, eps)))).stem, "_carlini", "_pairs", "_minimal"))


def code(detector, *others):
    """What a detector's scores depend on, and other files of that folder."""
    kind = FeatureSqueezing if detector == "feature-squeezing" else METRICS[detector]
    file = Path(inspect.getfile(kind))
    files = [file, *(file.parent / f"{name}.py" for name in ("_body", "scorer", *others))]
    files.append(Path(inspect.getfile(area)))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


@cache
def weights(spec):
    """What a model of the zoo is."""
    return sp.load_model(spec).fingerprint


@cache
def guarded(spec, data, detector):
    """The model behind a detector, its threshold set."""
    model, learn, test = sp.load_model(spec), sp.load_data(f"{data}:train"), sp.load_data(f"{data}:test")
    squeezes = detector == "feature-squeezing"
    learn = learn[: 500 if squeezes else 8000]
    kind = FeatureSqueezing.joint({MNIST: "mnist"}.get(data, data)) if squeezes else METRICS[detector]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = kind.fit(model, learn.x, learn.y)
    limit = threshold(scorer.scores(test.x[spare(data) :]), PUBLISHED if squeezes else 0.05)
    return Guarded(model, scorer, limit)


@cache
def spare(data):
    """How many rows of the test the threshold leaves, from the first on."""
    rows = len(sp.load_data(f"{data}:test"))
    return rows - min(CALIBRATED, rows // 2)


@cache
def clean(spec, data, rows):
    """The first rows of the test that are right, none of them one of the threshold's."""
    model, test = sp.load_model(spec), sp.load_data(f"{data}:test")[: min(2 * rows, spare(data))]
    x, y = test.x, test.y
    right = (model.predict(x) == y).nonzero().flatten()[:rows]
    return x[right], y[right]


@cache
def points(spec, data, eps, name, rows):
    """Adversarial points, the same for every detector, and after a kill."""
    model, (x, y) = sp.load_model(spec), clean(spec, data, rows)
    about = [weights(spec), sp.load_data(f"{data}:test").fingerprint, eps, name, rows, attack_code(name, eps)]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    path = RESULTS / "weights" / f"points-{digest}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": made(name, eps)(model, x, y).x.contiguous()}, path)
    found = load_file(path)["x"]
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


def knowing(spec, data, detector, aim, climb):
    """C&W L2 on the guarded model, for a score below the threshold, or below the median of clean rows."""
    guard, (x, y) = guarded(spec, data, detector), clean(spec, data, SLOW)
    below = float(guard.threshold) if aim == "threshold" else guard.scorer.scores(x).median().item()
    found = attacks.CWL2(**climb, loss=fool_and_pass)(guard.pursued(below, slope=0.2), x, y).x
    plain = points(spec, data, 0.3, "c&w l2, 9 x 1,000" if climb is CLIMB else "c&w l2", SLOW)
    return {**told(guard, x, y, found), "plain": told(guard, x, y, plain)}


def behind(spec, data, squeezer):
    """C&W L2 on the model behind one squeezer, no detector at all: how far away it can be fooled."""
    model, (x, y) = sp.load_model(f"{spec} | {squeezer}"), clean(spec, data, SLOW)
    found = attacks.CWL2(**CLIMB)(model, x, y).x
    fooled = model.predict(found) != y
    far = (found - x).flatten(1).norm(dim=1)[fooled]
    return {"fooled": int(fooled.sum()), "l2": round(far.mean().item(), 4)}


def joined(spec, data, eps):
    """Rows that hold without a detector, and with one, under PGD that does not know of it, and that does.

    Behind a detector a row holds whose clean input is right and not refused, and whose points are right or refused.
    """
    guard, test = guarded(spec, data, "feature-squeezing"), sp.load_data(f"{data}:test")[:FAST]
    model, ball, middle = sp.load_model(spec), sp.Linf(eps), guard.scorer.scores(clean(spec, data, FAST)[0]).median()
    passing = attacks.PGD(ball=ball, loss=fool_and_pass)
    turns = {
        "oblivious": [(attacks.PGD(ball=ball, loss=loss), model) for loss in (cross_entropy, margin)],
        "adaptive": [(passing, guard.classifier), (passing, guard.pursued(middle.item()))],
    }
    turns["adaptive"].append((OrthogonalPGD(ball=ball), guard.classifier))
    seen = guard.screen(test.x)
    right = seen.label == test.y
    held = {"accuracy": right, "rejected": seen.rejected, "accepted": right & ~seen.rejected, "alone": right.clone()}
    left = held["accepted"].clone()
    for side, pairs in turns.items():
        for attack, victim in pairs:
            found = guard.screen(attack(victim, test.x, test.y).x)
            fooled = found.label != test.y
            held["alone"] &= ~fooled if side == "oblivious" else True
            left &= found.rejected | ~fooled
        held[side] = left.clone()
    return {name: round(rows.float().mean().item(), 4) for name, rows in held.items()}


def training(data, pairs=9, rows=8000):
    """CPU seconds of an epoch of reversed cross-entropy in units of one of cross-entropy, and errors of the zoo's."""
    learn, test = sp.load_data(f"{data}:train")[:rows], sp.load_data(f"{data}:test")
    name = {MNIST: "mnist", FASHION: "fashion"}[data]
    objectives: dict[str, Objective] = {"leaky": Standard(), "rce": ReversedLabelCrossEntropy()}
    spent = {kind: [] for kind in objectives}
    for pair in range(pairs + 1):  # the first one warms up
        for kind in sorted(objectives, reverse=bool(pair % 2)):
            start = time.process_time()
            fit(LeakyCNN(), learn.x, learn.y, objectives[kind], Schedule(epochs=1))
            spent[kind].append(time.process_time() - start)
    ratios = sorted(b / a for a, b in zip(spent["leaky"][1:], spent["rce"][1:], strict=True))
    wrong = {kind: sp.load_model(f"zoo:{name}-{kind}").predict(test.x) != test.y for kind in objectives}
    return {
        "ratio": [round(value, 4) for value in statistics.quantiles(ratios, n=4, method="inclusive")],
        "rows": len(test),
        "errors": {kind: round(found.double().mean().item(), 4) for kind, found in wrong.items()},
    }


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked_for = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "detection.json", apart=("processor",))
    if not asked_for.table:
        fill(cells, plan(), only=asked_for.only)
    (RESULTS / "detection.md").write_text(page(cells.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
