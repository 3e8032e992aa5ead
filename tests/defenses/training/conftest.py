import pytest
import torch
from torch import nn


@pytest.fixture
def make_net():
    """A small net with dropout, the same for the same seed."""

    def make(seed=0, dropout=0.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))

    return make


@pytest.fixture
def batch():
    """Images that a linear net can tell apart: the class is the brightest of three rows."""
    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return x, x[:, 0, :3].sum(2).argmax(1)
