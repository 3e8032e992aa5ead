"""Seconds of a training epoch on a GPU: PreActResNet-18 on 50,000 random pictures of 3 x 32 x 32, in bfloat16.

``python benchmarks/cuda_training.py`` needs a CUDA device, and writes cuda_training.json and .md into
benchmarks/results. What is there is not measured again. Random pictures cost what real ones do; nothing is learned.
"""

import sys
import time
from functools import partial

import torch
from _cells import RESULTS, Cells, environment, fill
from _tables import _table

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.defenses.training import Adversarial, Fast, Schedule, Standard, Trades, fit
from saddlepoint.models import PreActResNet18

ROWS, EPS = 50_000, 8 / 255
BALL = sp.Linf(EPS)
OBJECTIVES = {
    "standard": Standard(),
    "fast": Fast(ball=BALL),
    "pgd-10": Adversarial(attack=PGD(ball=BALL, steps=10, step_size=EPS / 4)),
    "trades": Trades(ball=BALL, steps=10, step_size=EPS / 4),
}


def epoch(objective, rows):
    """Seconds of the second epoch of two: the first one chooses kernels."""
    torch.manual_seed(0)
    x, y = torch.rand(rows, 3, 32, 32), torch.randint(10, (rows,))
    net, clock = PreActResNet18().cuda(), []

    def watch(done, total):
        if done in (total // 2, total):
            torch.cuda.synchronize()
            clock.append(time.perf_counter())

    fit(net, x, y, objective, Schedule(epochs=2, batch_size=128, precision="bfloat16"), watch=watch)
    return {"seconds": clock[1] - clock[0]}


def main():
    if not torch.cuda.is_available():
        sys.exit("this needs a CUDA device")
    cells = Cells(RESULTS / "cuda_training.json")
    about = {**environment(torch.get_num_threads()), "device": torch.cuda.get_device_name(), "rows": ROWS}
    fill(cells, ((name, about, partial(epoch, objective, ROWS)) for name, objective in OBJECTIVES.items()))
    rows = [[name, cell["case"]["device"], f"{cell['seconds']:.1f}"] for name, cell in cells.cells.items()]
    page = "\n".join(_table(["objective", "device", "seconds an epoch"], rows))
    (RESULTS / "cuda_training.md").write_text(page + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
