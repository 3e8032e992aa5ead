"""A fit for tests that start processes: ``python advgan_script.py OUT [CHECKPOINT]``."""

import os
import sys

import torch
from torch import nn

from saddlepoint import Classifier, Linf
from saddlepoint.attacks import AdvGAN
from saddlepoint.attacks.advgan import BlackBox, run

ROWS, BATCH, EPOCHS, ROUNDS = 50, 16, 3, 1
STEPS = (1 + ROUNDS) * (2 + EPOCHS) * 4


def net(seed):
    """Of 1 x 6 x 6 pictures and 3 classes, with dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 3))


def main(out, path=None):
    torch.set_num_threads(1)
    run._EVERY = 0.0
    x = torch.rand(ROWS, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    settings = AdvGAN(
        ball=Linf(0.2), target="every", epochs=EPOCHS, batch_size=BATCH, width=4, blocks=1,
        black_box=BlackBox(rounds=ROUNDS, epochs=2),
    )  # fmt: skip
    steps = []

    def watch(done, total):
        steps.append(done)
        print(done, os.getpid(), flush=True)

    settings.fit(Classifier(net(0)), x, copy=net(1), checkpoint=path, watch=watch).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
