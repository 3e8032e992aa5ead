"""A fit for tests that kill it: ``python universal_script.py OUT RULE [CHECKPOINT]`` prints its progress."""

import sys

import torch
from torch import nn

from saddlepoint import Classifier, Linf, Noise
from saddlepoint.attacks import UniversalPerturbation
from saddlepoint.attacks.universal import RULES, checkpoint

RULE = {"sequential": {"ahead": 16}, "minibatch": {"size": 7}, "ascent": {"size": 5}}


def task():
    """A small convolutional net in float32 that tells four classes apart, and 60 rows."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4))
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        net[-1].bias -= net(x).mean(0)
    return Classifier(net), x


def main(out, rule, path=None):
    torch.set_num_threads(1)
    checkpoint._EVERY = 0.0
    model, x = task()
    attack = UniversalPerturbation(ball=Linf(0.03), rule=RULES[rule](**RULE[rule]), rate=1.0, epochs=3)

    def tell(done, total, what):
        if path is not None:
            print(done, flush=True)
            sys.stdin.readline()  # goes on when it is told to, or nobody is there

    attack.fit(model, x, noise=Noise(3), checkpoint=path, progress=tell).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
