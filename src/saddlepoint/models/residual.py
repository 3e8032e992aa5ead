"""Residual nets with normalisation before each convolution: the two on which defenses are commonly compared."""

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint.errors import SettingError
from saddlepoint.models._sizes import check_sizes


@final
class _Block(nn.Module):
    """norm, relu, conv 3x3, norm, relu, conv 3x3, plus the input; a 1x1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        changes = stride != 1 or before != after
        self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of half the size where the stride is 2."""
        active = functional.relu(self.norm1(x))
        rest: Tensor = x if self.shortcut is None else self.shortcut(active)
        moved: Tensor = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        return rest + moved


def _layers(channels: int, widths: tuple[int, ...], strides: tuple[int, ...], blocks: int, classes: int) -> nn.Module:
    """Conv 3x3; ``blocks`` blocks for each stride; norm, relu, average over all positions; linear."""
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)]
    for before, after, stride in zip(widths[:-1], widths[1:], strides, strict=True):
        layers += [_Block(before if i == 0 else after, after, stride if i == 0 else 1) for i in range(blocks)]
    layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


@final
class PreActResNet18(nn.Module):
    """ResNet-18 for small images, normalised before each convolution: 11,172,170 parameters for 3 channels, 10 classes.

    conv 3x3 -> 64; two blocks each of 64, 128, 256 and 512 channels, all but the first with stride 2; norm, relu,
    average over all positions; linear -> classes.

    Args:
        channels: input channels.
        size: height and width of the inputs, at least 4; the weights do not depend on it.
        classes: width of the logits, at least 2.

    Raises:  SettingError if one of them is too small.

    Source:  He, Zhang, Ren & Sun 2016, arXiv:1603.05027;  the variant of Wong, Rice & Kolter 2020, arXiv:2001.03994.

    >>> sum(p.numel() for p in PreActResNet18().parameters())
    11172170
    """

    def __init__(self, channels: int = 3, size: int = 32, classes: int = 10) -> None:
        super().__init__()
        check_sizes("PreActResNet18", channels=(channels, 1), size=(size, 4), classes=(classes, 2))
        self.layers = _layers(channels, (64, 64, 128, 256, 512), (1, 2, 2, 2), 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, channels, size, size)."""
        logits: Tensor = self.layers(x)
        return logits


@final
class WideResNet(nn.Module):
    """WideResNet-34-10 and its kin: 46,160,474 parameters for 3 channels, 10 classes.

    conv 3x3 -> 16; (depth - 4) / 6 blocks each of 16, 32 and 64 times ``width`` channels, the second and third group
    with stride 2; norm, relu, average over all positions; linear -> classes.

    Args:
        channels: input channels.
        size: height and width of the inputs, at least 4; the weights do not depend on it.
        classes: width of the logits, at least 2.
        depth: 10, 16, 22, 28, 34, ...;  width: at least 1.

    Raises:  SettingError if one of them is too small, or there is no net of that depth.

    Source:  Zagoruyko & Komodakis 2016, arXiv:1605.07146; weights begin as in He et al. 2015, arXiv:1502.01852.

    >>> sum(p.numel() for p in WideResNet().parameters())
    46160474
    """

    def __init__(self, channels: int = 3, size: int = 32, classes: int = 10, depth: int = 34, width: int = 10) -> None:
        super().__init__()
        check_sizes(
            "WideResNet",
            channels=(channels, 1),
            size=(size, 4),
            classes=(classes, 2),
            depth=(depth, 10),
            width=(width, 1),
        )
        if (depth - 4) % 6:
            raise SettingError(f"depth={depth} of WideResNet must be 4 more than a multiple of 6, such as 28 or 34")
        widths = (16, 16 * width, 32 * width, 64 * width)
        self.layers = _layers(channels, widths, (1, 2, 2), (depth - 4) // 6, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, channels, size, size)."""
        logits: Tensor = self.layers(x)
        return logits
