"""Small reference networks, and how a sidecar names them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

from torch import Tensor, nn

from saddlepoint.errors import SettingError, unknown
from saddlepoint.models._sizes import check_sizes
from saddlepoint.models.residual import PreActResNet18, WideResNet


@final
class SmallCNN(nn.Module):
    """Two convolutions and two linear layers: 166,406 parameters for 28 x 28 digits.

    conv 4x4, stride 2, padding 1 -> 16, relu; the same -> 32, relu; linear -> 100, relu; linear -> classes.

    Args:
        channels: input channels.
        size: height and width of the inputs, at least 4.
        classes: width of the logits, at least 2.

    Raises:  SettingError if one of them is too small.

    Source:  Wong, Rice & Kolter 2020, arXiv:2001.03994, the MNIST net of the authors' code.

    >>> sum(p.numel() for p in SmallCNN().parameters())
    166406
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        self.layers = _small("SmallCNN", channels, size, classes, nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, channels, size, size)."""
        logits: Tensor = self.layers(x)
        return logits


@final
class LeakyCNN(nn.Module):
    """:class:`SmallCNN` with leaky rectifiers of slope 0.1, as the nets of reversed cross-entropy have them.

    Where a rectifier sets features to 0, inputs of other classes are no longer told apart by their density.

    Args:
        channels: input channels.
        size: height and width of the inputs, at least 4.
        classes: width of the logits, at least 2.

    Raises:  SettingError if one of them is too small.

    Source:  the slope: Pang, Du, Dong & Zhu 2018, arXiv:1706.00633, the authors' code.
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        self.layers = _small("LeakyCNN", channels, size, classes, partial(nn.LeakyReLU, 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, channels, size, size)."""
        logits: Tensor = self.layers(x)
        return logits


def _small(name: str, channels: int, size: int, classes: int, rectifier: Callable[[], nn.Module]) -> nn.Sequential:
    check_sizes(name, channels=(channels, 1), size=(size, 4), classes=(classes, 2))
    side = size // 2 // 2
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        rectifier(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        rectifier(),
        nn.Flatten(),
        nn.Linear(32 * side * side, 100),
        rectifier(),
        nn.Linear(100, classes),
    )


@final
class LeNet(nn.Module):
    """LeNet-5 with rectifiers and max pooling: 61,706 parameters for 28 x 28 digits.

    conv 5x5, padding 2 -> 6, relu, pool 2; conv 5x5 -> 16, relu, pool 2; linear -> 120, relu; -> 84, relu; -> classes.

    Args:
        channels: input channels.
        size: height and width of the inputs, at least 12.
        classes: width of the logits, at least 2.

    Raises:  SettingError if one of them is too small.

    Source:  LeCun, Bottou, Bengio & Haffner 1998, doi:10.1109/5.726791, section II.B.
    Departs:  rectifiers for scaled tanh, max pooling for trained averages, a full second convolution, linear outputs.

    >>> sum(p.numel() for p in LeNet().parameters())
    61706
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        check_sizes("LeNet", channels=(channels, 1), size=(size, 12), classes=(classes, 2))
        side = (size // 2 - 4) // 2
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * side * side, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, channels, size, size)."""
        logits: Tensor = self.layers(x)
        return logits


@final
class PoolCNN(nn.Module):
    """Three convolutions, their average over the picture, one linear layer: 96,074 parameters for 3 channels.

    conv 5x5, stride 2, padding 2 -> 32, relu; conv 3x3, stride 2, padding 1 -> 64, relu; conv 3x3, padding 1 -> 128,
    relu; average over all positions; linear -> classes. What is seen counts, where it is seen does not: for textures.

    Args:
        channels: input channels.
        size: height and width of the inputs, at least 4; the weights do not depend on it.
        classes: width of the logits, at least 2.

    Raises:  SettingError if one of them is too small.

    Source:  global average pooling: Lin, Chen & Yan 2014, arXiv:1312.4400, section 3.2.

    >>> sum(p.numel() for p in PoolCNN(channels=3, size=32).parameters())
    96074
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        check_sizes("PoolCNN", channels=(channels, 1), size=(size, 4), classes=(classes, 2))
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, channels, size, size)."""
        logits: Tensor = self.layers(x)
        return logits


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "SmallCNN": SmallCNN,
    "LeakyCNN": LeakyCNN,
    "LeNet": LeNet,
    "PoolCNN": PoolCNN,
    "PreActResNet18": PreActResNet18,
    "WideResNet": WideResNet,
}
"""Every network that the sidecar of a model may name."""


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network from its description.

    Args:  architecture: name and arguments, as in ``{"name": "SmallCNN", "channels": 1, "size": 28, "classes": 10}``.

    Raises:  SpecError if there is no network of that name;  SettingError if it cannot be built with these values.
    """
    settings = dict(architecture)
    name = str(settings.pop("name", ""))
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    try:
        return ARCHITECTURES[name](**settings)
    except TypeError as error:
        raise SettingError(f"architecture {name!r} cannot be built with {settings!r}: {error}") from error
