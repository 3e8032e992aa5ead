from itertools import pairwise

import pytest
import torch

from saddlepoint.errors import SettingError, SpecError
from saddlepoint.models.nets import ARCHITECTURES, LeakyCNN, LeNet, PoolCNN, PreActResNet18, SmallCNN, WideResNet, build


def test_number_of_parameters_is_that_of_the_layers():
    convolutions = 16 * 1 * 16 + 16 + 32 * 16 * 16 + 32
    linear = 32 * 7 * 7 * 100 + 100 + 100 * 10 + 10
    assert sum(p.numel() for p in SmallCNN().parameters()) == convolutions + linear == 166_406

    convolutions = 6 * 1 * 25 + 6 + 16 * 6 * 25 + 16
    linear = 16 * 5 * 5 * 120 + 120 + 120 * 84 + 84 + 84 * 10 + 10
    assert sum(p.numel() for p in LeNet().parameters()) == convolutions + linear == 61_706

    convolutions = 32 * 3 * 25 + 32 + 64 * 32 * 9 + 64 + 128 * 64 * 9 + 128
    assert sum(p.numel() for p in PoolCNN(channels=3, size=32).parameters()) == convolutions + 128 * 10 + 10 == 96_074


@pytest.mark.parametrize(
    ("channels", "size", "classes"), [(1, 28, 10), (3, 32, 100), (2, 4, 2), (1, 29, 3), (1, 30, 3)]
)
@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("net", ARCHITECTURES.values())
def test_any_size(net, channels, size, classes, n):
    size = max(size, 12) if net is LeNet else size
    made = WideResNet(channels, size, classes, 10, 1) if net is WideResNet else net(channels, size, classes)
    assert made.eval()(torch.zeros(n, channels, size, size)).shape == (n, classes)


@pytest.mark.parametrize("net", ARCHITECTURES.values())
def test_device(net, device):
    assert net(1, 28).to(device)(torch.zeros(2, 1, 28, 28, device=device)).device.type == device.type


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (SmallCNN, {"channels": 0}, "channels=0 of SmallCNN must be at least 1"),
        (SmallCNN, {"size": 3}, "size=3 of SmallCNN must be at least 4"),
        (SmallCNN, {"classes": 1}, "classes=1 of SmallCNN must be at least 2"),
        (PoolCNN, {"size": 3}, "size=3 of PoolCNN must be at least 4"),
        (LeNet, {"size": 11}, "size=11 of LeNet must be at least 12"),
        (PreActResNet18, {"size": 3}, "size=3 of PreActResNet18 must be at least 4"),
        (WideResNet, {"width": 0}, "width=0 of WideResNet must be at least 1"),
        (WideResNet, {"depth": 4}, "depth=4 of WideResNet must be at least 10"),
        (WideResNet, {"depth": 32}, "depth=32 of WideResNet must be 4 more than a multiple of 6"),
    ],
)
def test_too_small_is_refused(net, settings, message):
    with pytest.raises(SettingError, match=message):
        net(**settings)


def test_leaky_cnn_is_small_cnn_with_a_slope_below_0():
    torch.manual_seed(0)
    leaky, small, x = LeakyCNN(), SmallCNN(), torch.rand(3, 1, 28, 28)
    small.load_state_dict(leaky.state_dict())
    hidden = x
    for layer in small.layers:
        hidden = hidden.where(hidden > 0, 0.1 * hidden) if isinstance(layer, torch.nn.ReLU) else layer(hidden)
    torch.testing.assert_close(leaky(x), hidden)
    assert not torch.allclose(leaky(x), small(x))


def test_pool_cnn_sees_what_but_not_where():
    net, x = PoolCNN(3, 64), torch.zeros(3, 3, 64, 64)
    pattern = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    x[0, :, 24:30, 24:30] = pattern
    x[1, :, 28:34, 24:30] = pattern  # moved by the strides of both convolutions, away from the edges
    here, there, nothing = net(x)
    assert torch.allclose(here, there, atol=1e-6)
    assert not torch.allclose(here, nothing, atol=1e-4)


def test_build_makes_what_the_description_says():
    net = build({"name": "SmallCNN", "channels": 3, "size": 8, "classes": 4})
    assert isinstance(net, SmallCNN)
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 4)


def test_every_architecture_is_listed_by_its_own_name():
    assert all(name == made.__name__ for name, made in ARCHITECTURES.items())


@pytest.mark.parametrize(
    ("architecture", "error", "message"),
    [
        ({"name": "SmalCNN"}, SpecError, "unknown architecture 'SmalCNN'; did you mean 'SmallCNN'"),
        ({}, SpecError, "unknown architecture ''; known: LeNet, LeakyCNN, PoolCNN, PreActResNet18, SmallCNN"),
        ({"name": "SmallCNN", "depth": 3}, SettingError, "'SmallCNN' cannot be built with {'depth': 3}: .*depth"),
    ],
)
def test_build_refuses_what_it_cannot_make(architecture, error, message):
    with pytest.raises(error, match=message):
        build(architecture)


def parameters_of(widths, blocks, classes, channels=3):
    """By hand: convolutions without biases, two numbers for each channel of a norm, one linear layer."""
    count = channels * widths[0] * 9
    for before, after in pairwise(widths):
        changes = (before, after) != (64, 64)  # the first group of the ResNet keeps its shape
        count += before * after if changes else 0
        for block in range(blocks):
            first = after if block else before
            count += first * after * 9 + after * after * 9 + 2 * first + 2 * after
    return count + 2 * widths[-1] + widths[-1] * classes + classes


@pytest.mark.parametrize(
    ("net", "widths", "blocks"),
    [
        (PreActResNet18(), (64, 64, 128, 256, 512), 2),
        (WideResNet(depth=16, width=2), (16, 32, 64, 128), 2),
    ],
)
def test_number_of_parameters_of_residual_nets(net, widths, blocks):
    assert sum(p.numel() for p in net.parameters()) == parameters_of(widths, blocks, 10)


def test_a_block_whose_second_convolution_is_zero_is_the_identity():
    block = WideResNet(depth=16, width=2).layers[2].eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    assert block.shortcut is None
    assert torch.equal(block(x), x)


def test_residual_nets_halve_their_maps():
    for net, sizes in ((PreActResNet18(), [32, 16, 8, 4]), (WideResNet(depth=10, width=1), [32, 16, 8])):
        found, x = [], torch.zeros(1, 3, 32, 32)
        for layer in net.eval().layers:
            x = layer(x)
            if hasattr(layer, "shortcut") and x.shape[2] not in found:
                found.append(x.shape[2])
        assert found == sizes
