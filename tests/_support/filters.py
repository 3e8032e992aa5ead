"""Transforms small enough to be checked by hand: one that rounds, one that draws, one that is smooth."""

import torch

from saddlepoint.defenses.transforms import Transform


class Levels(Transform):
    """Rounds to the nearest of some levels in [0, 1]; its surrogate is the identity."""

    name = "levels"

    def __init__(self, count: int = 2, **bounds):
        super().__init__(**bounds)
        self.count = count

    def forward(self, x):
        return (x * (self.count - 1)).round() / (self.count - 1)

    def settings(self):
        return {"count": self.count}


class Jitter(Transform):
    """Adds normal noise, anew in every pass."""

    name = "jitter"
    differentiable = random = True

    def __init__(self, scale: float = 0.1, **bounds):
        super().__init__(**bounds)
        self.scale = scale

    def forward(self, x):
        return x + self.scale * self.noise(x).normal(x)

    def settings(self):
        return {"scale": self.scale}


class Curve(Transform):
    """Rounds; its surrogate is the square."""

    name = "curve"

    def forward(self, x):
        return x.round()

    def surrogate(self, x):
        return x**2


def linear(features=6, classes=3, seed=0):
    """A linear net, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Linear(features, classes).eval()
