"""Small RGB nets, trained on the spot in half a second, and the stripes that they tell apart."""

import functools

import torch
from torch import nn

CLASSES, SIZE = 8, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def stripes(n, seed):
    """Coloured stripes: four directions, two colours; no mirror image or order of channels gives the same classes."""
    drawn = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    row, column = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
    angle = torch.tensor([0.3, 0.9, 1.9, 2.6]).repeat_interleave(2)[y] + 0.08 * torch.randn(n, generator=drawn)
    colour = torch.tensor([[0.7, 0.45, 0.3], [0.45, 0.5, 0.65]])[y % 2] + 0.08 * torch.randn(n, 3, generator=drawn)
    along = angle.cos()[:, None, None] * row + angle.sin()[:, None, None] * column
    wave = torch.sin(0.9 * along + 6.28 * torch.rand(n, 1, 1, generator=drawn))[:, None] * torch.tensor(
        [0.16, 0.1, 0.05]
    ).view(3, 1, 1)
    x = colour[:, :, None, None] + wave + 0.06 * torch.randn(n, 3, SIZE, SIZE, generator=drawn)
    return x.clamp(0, 1), y


class Prepared(nn.Module):
    """A net behind a preparation of its inputs."""

    def __init__(self, before, net):
        super().__init__()
        self.before, self.net = before, net

    def forward(self, x):
        return self.net(self.before(x))


def as_is(x):
    return x


def normalised(x):
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def levels(x):
    return 255 * x


def symmetric(x):
    return 2 * x - 1


@functools.cache
def trained(prepare=as_is, norm=nn.BatchNorm2d, activation=nn.ReLU, steps=200):
    """A net trained on stripes that this function prepared; it is shared: copy it before you change it."""
    x, y = stripes(2048, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            norm(16),
            activation(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            activation(),
            nn.Flatten(),
            nn.Linear(512, CLASSES),
        )
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(steps):
            batch = torch.randint(0, len(x), (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(prepare(x[batch])), y[batch]).backward()
            optimiser.step()
    return net.eval()
