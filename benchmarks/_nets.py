"""The models that are attacked, frozen and in evaluation mode, each with the rows to attack."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

import saddlepoint as sp


class Net(NamedTuple):
    """A module from inputs in [0, 1] to logits, with inputs x (n, *f) and labels y (n,)."""

    module: nn.Module
    x: torch.Tensor
    y: torch.Tensor


def load(name, rows, data="mnist10k:test"):
    """A model of the zoo on test images, or ``resnet18``: untrained, on noise that bears its own predictions."""
    if name == "resnet18":
        module = freeze(resnet18())
        x = torch.rand(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return Net(module, x, module(x).argmax(1))
    found = sp.load_data(data)[:rows]
    return Net(freeze(sp.load_model(name).module), found.x, found.y)


def freeze(module):
    """No gradients of parameters, for anyone: saddlepoint would do it by itself, a peer need not."""
    return module.eval().requires_grad_(False)


class Block(nn.Module):
    """conv 3x3, norm, relu, conv 3x3, norm, plus the input, relu."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.short = nn.Identity()
        if before != after:
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        inner = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.short(x))


def resnet18(classes=10):
    """ResNet-18 for 3 x 32 x 32, freshly initialised from seed 0 (He et al. 2016, arXiv:1512.03385; 3x3 stem)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        layers += [Block(a, b, 1 if a == b else 2) for a, b in pairwise(widths)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
