"""Denoising operations against loops over positions, and the block that begins as the identity."""

import math

import pytest
import torch
from scipy import ndimage
from torch import nn

from saddlepoint.defenses.blocks import KINDS, Denoise
from saddlepoint.errors import InputError, SettingError, SpecError


def maps(n=2, c=4, h=5, w=6, seed=0):
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block(kind, c=4, **given):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = Denoise(c, kind, **given).double()
        for parameter in made.parameters():
            nn.init.normal_(parameter)
        return made


def cleaned(made, x):
    return KINDS[made.kind](made, x)


def by_loop(made, x, *, size, softmax):
    n, c, h, w = x.shape
    places = [(a, b) for a in range(h) for b in range(w)]
    out = torch.zeros_like(x)
    for image in range(n):
        for a, b in places:
            near = [p for p in places if max(abs(p[0] - a), abs(p[1] - b)) <= size // 2]
            here = x[image, :, a, b]
            if softmax:
                theta, phi = made.theta.weight[:, :, 0, 0], made.phi.weight[:, :, 0, 0]
                scores = [(theta @ here) @ (phi @ x[image, :, p, q]) / math.sqrt(c // 2) for p, q in near]
                weights = torch.stack(scores).softmax(0)
            else:
                weights = torch.stack([here @ x[image, :, p, q] for p, q in near]) / len(near)
            out[image, :, a, b] = sum(v * x[image, :, p, q] for v, (p, q) in zip(weights, near, strict=True))
    return out


@pytest.mark.parametrize(
    ("kind", "size", "softmax"),
    [
        ("softmax", None, True),
        ("dot-product", None, False),
        ("bilateral", 3, True),
        ("bilateral-dot-product", 3, False),
        ("bilateral", 7, True),
    ],
)
def test_weighted_means_are_those_of_a_loop(kind, size, softmax):
    made, x = block(kind, size=size), maps()
    assert torch.allclose(cleaned(made, x), by_loop(made, x, size=size or 99, softmax=softmax))


@pytest.mark.parametrize("shape", [(7, 2, 3), (3, 4, 4)])  # more channels than positions, and fewer
def test_both_orders_of_the_dot_product_are_one(shape):
    x = maps(2, *shape)
    flat = x.flatten(2)
    known = torch.einsum("nci,ncj,ndj->ndi", flat, flat, flat) / flat.shape[2]
    assert torch.allclose(cleaned(block("dot-product", shape[0]), x).flatten(2), known)


def test_a_bilateral_block_over_the_whole_map_is_the_non_local_one():
    x = maps()
    for local, whole in (("bilateral", "softmax"), ("bilateral-dot-product", "dot-product")):
        assert torch.allclose(cleaned(block(local, size=11), x), cleaned(block(whole), x))


@pytest.mark.parametrize("size", [3, 5])
def test_mean_and_median_are_those_of_scipy(size):
    x = maps()
    median = ndimage.median_filter(x.numpy(), size=(1, 1, size, size), mode="nearest")
    assert torch.equal(cleaned(block("median", size=size), x), torch.from_numpy(median))
    sums, counts = (
        ndimage.uniform_filter(each.numpy(), size=(1, 1, size, size), mode="constant") for each in (x, x * 0 + 1)
    )
    assert torch.allclose(cleaned(block("mean", size=size), x), torch.from_numpy(sums / counts))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"dot-product", "bilateral-dot-product"}))
def test_constant_maps_are_fixed_points(kind):
    x = torch.arange(4.0, dtype=torch.float64).view(1, 4, 1, 1).expand(2, 4, 5, 5)
    assert torch.allclose(cleaned(block(kind), x), x)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("training", [True, False])
def test_it_begins_as_the_identity_and_learns(kind, training):
    x, made = maps().float(), Denoise(4, kind).train(training)
    assert torch.equal(made(x), x)
    made(x).square().sum().backward()
    assert made.norm.weight.grad.abs().sum() > 0  # the scale leaves 0 first
    nn.init.ones_(made.norm.weight)
    made(x).pow(3).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in made.parameters())
    assert not torch.allclose(made(x), x)


def test_degenerate_maps():
    for kind in KINDS:
        assert block(kind, 3)(maps(2, 3, 1, 1)).shape == (2, 3, 1, 1)  # one position, an odd number of channels
        assert block(kind, 1)(maps(2, 1, 2, 3)).shape == (2, 1, 2, 3)
    x = maps(2, 3, 1, 1)
    assert torch.allclose(cleaned(block("softmax", 3), x), x)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(SpecError, match="unknown kind 'softmx'; did you mean 'softmax'"):
        Denoise(4, "softmx")
    with pytest.raises(SettingError, match="channels=0 must be an integer >= 1"):
        Denoise(0)
    with pytest.raises(SettingError, match="size=4 must be an odd integer >= 1"):
        Denoise(4, "median", size=4)
    with pytest.raises(SettingError, match="size=3 means nothing to 'softmax'"):
        Denoise(4, size=3)
    with pytest.raises(InputError, match=r"feature maps of shape \(2, 5, 4, 4\) must be \(n, 4, h, w\)"):
        Denoise(4)(torch.ones(2, 5, 4, 4))
