"""Minimum-norm attacks against the same attacks of other libraries: how near, how long, how many passes.

``python benchmarks/minimum_norm.py [--table] [--only PART ...]`` fills benchmarks/results/minimum_norm.json, cell by
cell: what is there is not measured again, so a run that was killed goes on. It then writes minimum_norm.md from it.

Rows: the first test digits that the model gets right. A point counts if the bare module is fooled by it and it lies in
the box; a row without one has an infinite distance, so a median cannot profit from rows that an attack gives up.
Time: one thread, by the CPU clock of the process as well as by the wall; short attacks in interleaved pairs, as in
peers.py; long ones once each, ours first and then theirs.
"""

import argparse
import copy
import json
import math
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch
from _cells import RESULTS, Cells, environment, fill
from _minimal import NOTES, OURS, PEERS, files, peer_version, prepare, saddlepoint
from _minimum_tables import minimum_norm_page
from _nets import Net, freeze
from _passes import passes, watched
from _timing import ratios
from scipy.optimize import minimize

import saddlepoint as sp
from saddlepoint.attacks import FGSM, JSMA, LBFGS, Bisect
from saddlepoint.attacks._pairs import best_pair
from saddlepoint.attacks.lbfgs import escape
from saddlepoint.cli.main import _keep_memory
from saddlepoint.losses import margin
from saddlepoint.problem import Problem

THREADS, ROWS, FEW = 1, 200, 50
DIGITS, LENET = "zoo:mnist-standard", "zoo:mnist-lenet"
SHORT = ("deepfool", "deepfool-linf", "ddn", "fmn-l0", "fmn-l1", "fmn-l2", "fmn-linf")
PAIRS = dict.fromkeys(SHORT, 11)
SLOW = {("adv-lib", "cw-linf"): FEW, ("torchattacks", "deepfool"): FEW, ("art", "deepfool"): FEW}
SLOW |= {("art", "cw-l2"): 10, ("art", "cw-linf"): 5}
"""Rows of peers that take long; all others get ``ROWS``."""
NORMS = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}


@cache
def digits(model, rows):
    """The first test digits that a model of the zoo gets right."""
    module, data = freeze(sp.load_model(model).module), sp.load_data("mnist10k:test")
    with torch.no_grad():
        right = (module(data.x[: 2 * rows]).argmax(1) == data.y[: 2 * rows]).nonzero().squeeze(1)[:rows]
    assert len(right) == rows
    return Net(module, data.x[right], data.y[right])


def plan():
    """(name, case, measure) of every cell."""
    for task in OURS:
        norm = OURS[task].ball.norm
        if task not in ("cw-l0", "jsma"):
            case = _case("distance", task, DIGITS, ROWS, norm=norm)
            yield f"distance, {task}", case, partial(alone, task, norm)
        for peer, (_, known) in PEERS.items():
            if task in known:
                rows, pairs = SLOW.get((peer, task), ROWS), PAIRS.get(task, 0)
                about = {"peer": peer, "version": peer_version(peer), "pairs": pairs, "note": NOTES.get((peer, task))}
                case = _case("against", task, DIGITS, rows, norm=norm, **about)
                yield f"against, {task}, {peer}", case, partial(against, peer, task, norm, rows, pairs)
    yield "cw-l0, targets", _case("targets", "cw-l0", DIGITS, FEW), targets
    yield "cw-l0, in one batch", _case("batch", "cw-l0", DIGITS, 100), batched
    yield "jsma, targets", _case("jsma", "jsma", LENET, 100), jsma
    seen = {"peer": "torchattacks", "version": peer_version("torchattacks")}
    yield "jsma, torchattacks", _case("jsma against", "jsma", LENET, 10, **seen), jsma_against
    seen = {"peer": "art", "version": peer_version("art"), "note": NOTES["art", "jsma"]}
    yield "jsma, art", _case("jsma against", "jsma", LENET, 10, **seen), jsma_against_art
    yield "jsma, pair of 150,528", _case("pair", "jsma", "random slopes", 1, features=150_528), partial(pair, "wide")
    yield "jsma, anti-correlated", _case("pair", "jsma", "a = -b", 1, features=4096), partial(pair, "anti")
    for const in (0.3, 1.0, 3.0):
        case = _case("scipy", "l-bfgs", DIGITS, 100, const=const)
        yield f"l-bfgs, c = {const:g}", case, partial(fixed_constant, const)
    yield "l-bfgs, search", _case("search", "l-bfgs", DIGITS, 100), whole_search
    for task in ("deepfool", "l-bfgs", "fgsm-bisect", "cw-l2", "ddn"):
        case = _case("relative", task, LENET, ROWS)
        yield f"relative, {task}", case, partial(relative, task)


def _case(kind, task, model, rows, **rest):
    code = environment(THREADS, files(task))
    return {"kind": kind, "task": task, "model": model, "rows": rows, **rest, **code}


def alone(task, norm):
    """How near ours comes on all rows."""
    net = digits(DIGITS, ROWS)
    points, clocks, spent = timed(saddlepoint(net, task), net)
    return {**judged(net, points, norm), "seconds": clocks, "passes": spent}


def against(peer, task, norm, rows, pairs):
    """Both on the same rows; [ours, theirs] of everything."""
    net = digits(DIGITS, ROWS)
    net = Net(net.module, net.x[:rows], net.y[:rows])
    calls = [saddlepoint(net, task), prepare(peer, net, task)]
    torch.manual_seed(0)
    found = [timed(call, net) for call in calls]
    figures = {"seconds": [clocks[0] for _, clocks, _ in found], "passes": [spent for _, _, spent in found]}
    each = [judged(net, points, norm) for points, _, _ in found]
    figures |= {key: [one[key] for one in each] for key in each[0]}
    if pairs:
        return figures | ratios(*calls, pairs)
    (_, ours, _), (_, theirs, _) = found
    return figures | {name: [round(ours[i] / theirs[i], 4)] * 3 for i, name in enumerate(("wall", "cpu"))}


def timed(call, net):
    """Points, seconds [by the wall, of the CPU], and passes [forward, backward] of a row."""
    with watched(net.module) as calls, clocked() as clocks:
        points = call()
    return points, clocks, [round(count, 2) for count in passes(calls, len(net.x))]


@contextmanager
def clocked():
    """A list that then holds the seconds that passed, by the wall and of the CPU."""
    clocks, wall, cpu = [], time.perf_counter(), time.process_time()
    yield clocks
    clocks += [round(time.perf_counter() - wall, 3), round(time.process_time() - cpu, 3)]


def judged(net, points, norm):
    """Share of rows that are fooled inside the box, median and mean distance."""
    reach, fooled = distances(net, points, norm)
    found = reach[fooled]
    return {
        "success": round(fooled.float().mean().item(), 4),
        "median": finite(torch.where(fooled, reach, math.inf).quantile(0.5, interpolation="midpoint").item()),
        "mean": finite(found.mean().item() if len(found) else math.inf),
    }


def distances(net, points, norm):
    """(n,) distances in float64, and which points fool."""
    assert min(points.min(), 1 - points.max()) >= -1e-6, "outside the box"
    with torch.no_grad():
        fooled = net.module(points.float()).argmax(1) != net.y
    delta = (points.double() - net.x.double()).flatten(1)
    if norm == "l0":
        return (delta.abs() > 1e-6).sum(1).double(), fooled
    return torch.linalg.vector_norm(delta, NORMS[norm], dim=1), fooled


def finite(value):
    """The number, None where it is not finite: JSON has no infinity."""
    return round(value, 6) if math.isfinite(value) else None


def each_target(net):
    """Every row once for each wrong class, and the classes, of ``k`` classes."""
    classes = net.module(net.x[:1]).shape[1]
    step = torch.arange(1, classes).repeat(len(net.y))
    x, y = (tensor.repeat_interleave(classes - 1, 0) for tensor in (net.x, net.y))
    return Net(net.module, x, y), (y + step) % classes


def targets():
    """C&W L0 towards every class: pixels of the best, the average and the worst class of a row."""
    few = digits(DIGITS, ROWS)
    net, goal = each_target(Net(few.module, few.x[:FEW], few.y[:FEW]))
    with clocked() as clocks:
        result = OURS["cw-l0"](sp.Classifier(net.module), net.x, net.y, target=goal)
    with torch.no_grad():
        hit = net.module(result.x).argmax(1) == goal
    pixels = (result.x != net.x).flatten(1).sum(1).float().masked_fill(~hit, math.inf).view(FEW, -1)
    figures = {"best": pixels.amin(1).mean(), "average": pixels.mean(), "worst": pixels.amax(1).mean()}
    spent = (result.forwards + result.backwards).float().mean().item()
    return {name: finite(value.item()) for name, value in figures.items()} | {
        "success": round(hit.float().mean().item(), 4), "seconds": clocks, "passes": round(spent),
    }  # fmt: skip


def batched():
    """C&W L0: 100 rows in one batch against ten of them one by one, seconds a row."""
    net, model, attack = digits(DIGITS, 100), sp.Classifier(digits(DIGITS, 100).module), OURS["cw-l0"]
    with clocked() as together:
        whole = attack(model, net.x, net.y)
    with clocked() as apart:
        single = [attack(model, net.x[i : i + 1], net.y[i : i + 1]) for i in range(10)]
    pixels = [[float(each.distance) for each in single], whole.distance[:10].tolist()]
    assert whole.success.all()
    each = [[round(clock / 100, 4) for clock in together], [round(clock / 10, 4) for clock in apart]]
    return {"seconds a row": each, "ratio": [round(b / a, 2) for a, b in zip(*each, strict=True)], "pixels": pixels}


def jsma():
    """100 digits x 9 targets: success, and the share of features that changed, of successes and of all."""
    return _jsma(digits(LENET, 100))


def _jsma(net):
    every, goal = each_target(net)
    with clocked() as clocks:
        result = JSMA()(sp.Classifier(net.module), every.x, every.y, target=goal)
    return _changed(every, result.x, goal) | {"seconds a row": [round(clock / len(goal), 5) for clock in clocks]}


def _changed(net, points, goal):
    with torch.no_grad():
        hit = net.module(points).argmax(1) == goal
    share = (points != net.x).flatten(1).float().mean(1)
    changed = share[hit].mean().item() if bool(hit.any()) else math.nan
    return {"success": round(hit.float().mean().item(), 4), "changed": finite(changed), "rows": len(goal)}


def jsma_against():
    """Ours and torchattacks', which takes one image at a time, on the same rows and targets."""
    import torchattacks

    few = digits(LENET, 100)
    few = Net(few.module, few.x[:10], few.y[:10])
    every, goal = each_target(few)
    attack = torchattacks.JSMA(few.module, theta=1.0, gamma=0.145)
    attack.set_mode_targeted_by_label(quiet=True)
    return _against(few, every, goal, lambda: attack(every.x, goal))


def jsma_against_art():
    """Ours and ART's on the same rows and targets."""
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    few = digits(LENET, 100)
    few = Net(few.module, few.x[:10], few.y[:10])
    every, goal = each_target(few)
    loss, shape = torch.nn.CrossEntropyLoss(), tuple(few.x.shape[1:])
    model = PyTorchClassifier(few.module, loss, shape, 10, clip_values=(0.0, 1.0), device_type="cpu")
    attack = evasion.SaliencyMapMethod(model, theta=1.0, gamma=0.145, batch_size=len(goal), verbose=False)
    wanted = torch.nn.functional.one_hot(goal, 10).numpy()
    return _against(few, every, goal, lambda: torch.from_numpy(attack.generate(every.x.numpy(), wanted)))


def _against(few, every, goal, call):
    ours = _jsma(few)
    with clocked() as clocks:
        points = call()
    theirs = _changed(every, points, goal) | {"seconds a row": [round(clock / len(goal), 5) for clock in clocks]}
    a, b = ours["seconds a row"], theirs["seconds a row"]
    return {key: [ours[key], theirs[key]] for key in theirs} | {"ratio": [round(b[i] / a[i], 2) for i in (0, 1)]}


def pair(kind):
    """One choice of a pair, in a process of its own: milliseconds of a row, the memory it took, whether it is right."""
    found = subprocess.run(
        [sys.executable, __file__, "--pair", kind], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    return json.loads(found.stdout.splitlines()[-1])


def _pair(kind):
    torch.set_num_threads(THREADS)
    draw = torch.Generator().manual_seed(0)
    if kind == "wide":
        a, b = torch.randn(2, 1, 150_528, generator=draw)
    else:
        a = torch.rand(1, 4096, generator=draw).sort().values
        b = 1 - a
    best_pair(a[:, :64], b[:, :64])
    spent = []
    for _ in range(11):
        start, cpu = time.perf_counter(), time.process_time()
        found = best_pair(a, b)
        spent.append((time.perf_counter() - start, time.process_time() - cpu))
    figures = {
        "ms": round(1000 * sorted(wall for wall, _ in spent)[5], 2),
        "cpu ms": round(1000 * sorted(cpu for _, cpu in spent)[5], 2),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),  # of the whole process
    }
    best, place = -math.inf, None
    for p in range(a.shape[1] - 1):  # one feature against all that follow: the whole table would not fit
        alpha, beta = a[0, p] + a[0, p + 1 :], b[0, p] + b[0, p + 1 :]
        score, q = torch.where((alpha > 0) & (beta > 0), alpha * beta, -math.inf).max(0)
        if float(score) > best:
            best, place = float(score), (p, p + 1 + int(q))
    figures["right"] = best == float(found.score) and place == (int(found.first), int(found.second))
    print(json.dumps(figures))


def fixed_constant(const):
    """At one c: our objective over SciPy's for each row, from its L-BFGS-B in float64."""
    net = digits(DIGITS, 100)
    attack, model = LBFGS(search_steps=1, const=const, steps=200), sp.Classifier(net.module)
    with clocked() as clocks:
        problem = Problem.open(attack, model, net.x, net.y, None, sp.Noise(), sp.Limits())
        with model.frozen():
            state, ours, looks = attack.init(problem), net.x.new_full((100,), math.inf), 0
            for t in range(attack.length(problem)):
                state = attack.step(problem, state, problem.look(state.x), t)
                ours = torch.where(state.round == 0, state.value, ours)
                looks += int((state.round == 0).sum())
                if bool(state.done.all()):
                    break
    double = copy.deepcopy(net.module).double()
    with clocked() as their_clocks:
        peers = [scipy_at(double, net.x[i].double(), net.y[i : i + 1], const) for i in range(100)]
    ours, theirs = ours.double(), torch.tensor([peer.fun for peer in peers])
    return {
        "at most 1.01 x SciPy": round((ours <= 1.01 * theirs).double().mean().item(), 3),
        "SciPy at most 1.01 x ours": round((theirs <= 1.01 * ours).double().mean().item(), 3),
        "ratio": [round((ours / theirs).quantile(q).item(), 4) for q in (0.0, 0.5, 0.95, 1.0)],
        "looks": [round(looks / 100, 1), round(sum(peer.nfev for peer in peers) / 100, 1)],
        "seconds": [clocks, their_clocks],
    }


def scipy_at(module, x0, y, const, dtype=torch.float64):
    """SciPy's minimiser of |x - x0|^2 - c log(1 - p_y) over the box, from x0."""

    def objective(flat):
        point = torch.from_numpy(flat).to(dtype).view(1, *x0.shape).requires_grad_()
        value = (point - x0.to(dtype)).square().sum() - const * escape(module(point), y).sum()
        return value.item(), torch.autograd.grad(value, point)[0].double().numpy().ravel()

    start = x0.double().numpy().ravel()
    options = {"maxcor": 10, "maxiter": 100, "ftol": 2.2e-9, "gtol": 1e-5}
    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.size, options=options)


def whole_search():
    """The whole attack on 100 rows against a loop over rows: SciPy inside, nine constants, bisection, as published."""
    net = digits(DIGITS, 100)
    points, clocks, spent = timed(saddlepoint_lbfgs(net), net)
    found, forwards = [], 0
    with clocked() as loop:
        for i in range(len(net.x)):
            point, looks = _scipy_search(net.module, net.x[i], net.y[i : i + 1])
            found.append(point)
            forwards += looks
    theirs = torch.stack(found)
    each = [judged(net, part, "l2") for part in (points, theirs)]
    rms = [round((d.square() / 784).sqrt().mean().item(), 5) for d in (_reach(net, points), _reach(net, theirs))]
    return {key: [one[key] for one in each] for key in each[0]} | {
        "rms": rms, "seconds": [clocks, loop], "ratio": [round(a / b, 4) for a, b in zip(clocks, loop, strict=True)],
        "passes": [spent, [forwards / 100] * 2],
    }  # fmt: skip


def saddlepoint_lbfgs(net):
    model = sp.Classifier(net.module)
    return lambda: LBFGS()(model, net.x, net.y).x


def _reach(net, points):
    reach, fooled = distances(net, points, "l2")
    return reach[fooled]


def _scipy_search(module, x0, y):
    """Nine constants: from 0.01, times 10 until one suffices, then halved on a log scale; each in SciPy."""
    low, high, const, best, looks = 0.0, math.inf, 1e-2, None, 0
    for _ in range(9):
        found = scipy_at(module, x0, y, const, torch.float32)
        point, looks = torch.from_numpy(found.x).float().view(x0.shape), looks + found.nfev
        with torch.no_grad():
            hit = float(margin(module(point[None]), y)) > 0
        if hit:
            high = const
            if best is None or (point - x0).norm() < (best - x0).norm():
                best = point
        else:
            low = const
        const = const * 10 if math.isinf(high) else math.sqrt(max(low, high / 100) * high)
        if const > 1e9:
            break
    return (x0 if best is None else best), looks


def relative(task):
    """Mean of |r|_2 / |x|_2 over the rows that are fooled: the comparison of Moosavi-Dezfooli et al. 2016, Table 1."""
    net = digits(LENET, ROWS)
    attack = {
        "deepfool": OURS["deepfool"],
        "l-bfgs": LBFGS(),
        "fgsm-bisect": Bisect(attack=FGSM(ball=sp.Linf(1.0)), rounds=12),
        "cw-l2": OURS["cw-l2"],
        "ddn": OURS["ddn"],
    }[task]
    points, clocks, spent = timed(lambda: attack(sp.Classifier(net.module), net.x, net.y).x, net)
    reach, fooled = distances(net, points, "l2")
    share = (reach / net.x.double().flatten(1).norm(dim=1))[fooled]
    return {
        "relative": round(share.mean().item(), 4), "median": round(share.median().item(), 4),
        "success": round(fooled.float().mean().item(), 4), "seconds": clocks, "passes": spent,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    parser.add_argument("--pair", choices=["wide", "anti"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.pair:
        _pair(asked.pair)
        return
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "minimum_norm.json")
    if not asked.table:
        fill(cells, plan(), only=asked.only)
    (RESULTS / "minimum_norm.md").write_text(minimum_norm_page(cells.cells), encoding="utf-8")
    print("wrote minimum_norm.md")


if __name__ == "__main__":
    main()
