"""Small nets, rows and filters that tests of detectors share."""

import torch
from torch import nn

from saddlepoint.defenses.transforms import Transform


class Rounded(Transform):
    """One bit, without a gradient; the identity stands in."""

    name = "rounded"

    def forward(self, x):
        return x.round()


class Mirrored(Transform):
    name = "mirrored"

    def forward(self, x):
        return 1 - x


class Scaled(Transform):
    name = "scaled"
    differentiable = True

    def __init__(self, factor=0.5, **given):
        super().__init__(**given)
        self.factor = factor

    def forward(self, x):
        return x * self.factor

    def settings(self):
        return {"factor": self.factor}


def net_of(d=6, k=3, *, seed=0, scale=1.0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(d, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, k))
    with torch.no_grad():
        net[1].weight.mul_(5)  # about the middle of the box, so that every class is predicted for some inputs
        net[1].bias.copy_(-net[1].weight.sum(1) / 2)
        net[-1].weight.mul_(scale)
        net[-1].bias.mul_(scale)
    return net


def rows_of(n, d=6, *, seed=1):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed))


class Broken(nn.Module):
    """A net that gives no number where the first feature is high."""

    def __init__(self, inner, above):
        super().__init__()
        self.inner, self.above = inner, above

    def forward(self, x):
        return self.inner(x).masked_fill(x[:, :1] > self.above, torch.nan)
