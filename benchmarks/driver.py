"""What the driver costs: PGD-40 against a hand-written loop with the same steps, interleaved, medians of 21 ratios.

``python benchmarks/driver.py [threads]`` writes benchmarks/results/driver.json. The hand loop returns its last point
and checks nothing; ours keeps the best point, counts, judges finiteness and asks the model once more about the result.
Memory is kept between calls, as on the command line: page faults would be measured otherwise.
"""

import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.cli.main import _keep_memory

EPS, STEPS, PAIRS = 0.3, 40, 21


def by_hand(module, x, y, noise):
    """Madry's loop, nothing else; the same random start, and the last point is looked at as well."""
    size = 2.5 * EPS / STEPS
    low, high = (x - EPS).clamp(0, 1), (x + EPS).clamp(0, 1)
    z = torch.clamp(x + EPS * (2 * noise - 1), low, high)
    for _ in range(STEPS):
        z = z.detach().requires_grad_(True)
        (grad,) = torch.autograd.grad(functional.cross_entropy(module(z), y, reduction="sum"), z)
        z = torch.clamp(z.detach() + size * grad.sign(), low, high)
    with torch.no_grad():
        return z, module(z).argmax(1) != y


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratios(rows):
    model, data = sp.load_model("zoo:mnist-pgd"), sp.load_data("mnist10k:test")[:rows]
    for parameter in model.module.parameters():
        parameter.requires_grad_(False)
    noise = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(0))
    attack, still = PGD(ball=sp.Linf(EPS), steps=STEPS), sp.Limits(shrink_at=0)
    ours = partial(attack, model, data.x, data.y, limits=still)
    bare = partial(by_hand, model.module, data.x, data.y, noise)
    found = []
    for i in range(PAIRS + 1):
        pair = [(_seconds(run), run) for run in ((ours, bare) if i % 2 else (bare, ours))]
        spent = {run: seconds for seconds, run in pair}
        if i:  # the first pair warms up; the order alternates
            found.append(spent[ours] / spent[bare])
    low, _, high = statistics.quantiles(found, n=4)
    return {"rows": rows, "ratio": statistics.median(found), "quartiles": [low, high], "pairs": PAIRS}


if __name__ == "__main__":
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    torch.set_num_threads(threads)
    _keep_memory()
    result = {"threads": threads, "torch": torch.__version__, "cases": [ratios(rows) for rows in (500, 100)]}
    path = Path(__file__).parent / "results" / "driver.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
