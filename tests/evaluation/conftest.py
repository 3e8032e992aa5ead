"""Small nets, and rows on which they are partly wrong, partly fooled and partly not."""

import pytest
import torch
from torch import nn

from saddlepoint.data import Dataset

ROWS, CLASSES, SHAPE = 40, 4, (1, 6, 6)


@pytest.fixture(scope="session")
def make_net():
    """A net with one hidden layer, the same for the same seed."""

    def make(seed=0):
        drawn = torch.Generator().manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=drawn))
        return net

    return make


@pytest.fixture
def net(make_net):
    return make_net()


@pytest.fixture(scope="session")
def data(make_net):
    """Rows with ids of their own; the net is wrong on every fifth."""
    net = make_net()
    x = torch.rand(ROWS, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = net(x).argmax(1)
    y[::5] = (y[::5] + 1) % CLASSES
    names = ("plane", "bird", "cat", "frog")
    return Dataset(x, y, classes=names, name="toy", rows=torch.arange(ROWS) * 3 + 100)
