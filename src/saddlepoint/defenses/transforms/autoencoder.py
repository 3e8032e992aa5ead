"""An autoencoder in front of the classifier, trained to take noise away."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import ClassVar, final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms.transform import Transform
from saddlepoint.errors import InputError, SettingError, shown, unknown

FORMS = ("dense", "conv")
_CHANNELS = (32, 64)


@final
class DenoisingAutoencoder(Transform):
    """Inputs as a narrow net rebuilds them, inside the box.

    "dense": d - hidden - ... - hidden - d, such as 784-256-128-256-784, rectifiers between.  "conv": 3x3 convolutions
    of stride 2 to 32 and 64 channels and the same transposed, for images (c, h, w) of any size. The last layer is a
    sigmoid over the box: a clamp would stop gradients, and hide what the stack is worth.

    Train it with :class:`~saddlepoint.defenses.training.Reconstruction`. It is differentiable, so that every attack
    that looks through ``nn.Sequential(autoencoder, net)`` is adaptive; the paper itself found the stack easier to fool
    than the net alone.

    Args:
        shape: of one input, such as (1, 28, 28).
        form: "dense" or "conv".
        hidden: widths down to the middle; the way up mirrors them. Of "dense" only.
        passes: how often the input goes through, at least 1.
        bounds: the box of the inputs.

    Raises:  SettingError if a size is too small, or the form cannot take the shape; SpecError for an unknown form;
        when called, InputError if inputs have another shape.

    Source:  Gu & Rigazio 2015, arXiv:1412.5068, section 3.2, denoising autoencoders.
    """

    name: ClassVar[str] = "autoencoder"
    differentiable: ClassVar[bool] = True

    def __init__(
        self,
        shape: Sequence[int],
        *,
        form: str = "dense",
        hidden: Sequence[int] = (256, 128),
        passes: int = 1,
        bounds: Bounds | tuple[float, float] = Bounds(),
    ) -> None:
        super().__init__(bounds=bounds)
        self.shape, self.form, self.hidden, self.passes = tuple(shape), form, tuple(hidden), passes
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        if not self.shape or not self.hidden or min(*self.shape, *self.hidden, passes) < 1:
            raise SettingError(
                f"shape={shown(self.shape)}, hidden={shown(self.hidden)} and passes={shown(passes)} must be at least "
                "1, and name at least one size each"
            )
        if form == "conv" and len(self.shape) != 3:
            raise SettingError(f"shape={shown(self.shape)} must be (c, h, w) for form='conv'; use form='dense'")
        self.layers = _dense(prod(self.shape), self.hidden) if form == "dense" else _convolutions(self.shape[0])

    def settings(self) -> dict[str, float | int | str]:
        return {"form": self.form, "passes": self.passes}

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (n, *shape) rebuilt ``passes`` times."""
        if x.shape[1:] != self.shape:
            raise InputError(f"inputs of shape {tuple(x.shape)} must be (n, {', '.join(map(str, self.shape))})")
        for _ in range(self.passes):
            v = (x - self.bounds.lower) / self.bounds.width
            rebuilt = self.layers(v.flatten(1)).view_as(v) if self.form == "dense" else self._convolved(v)
            x = self.bounds.lower + self.bounds.width * rebuilt.sigmoid()
        return x

    def _convolved(self, v: Tensor) -> Tensor:
        down, narrow, widen, up = self.layers
        first = functional.relu(down(v))
        second = functional.relu(narrow(first))
        rebuilt: Tensor = up(functional.relu(widen(second, output_size=first.shape[2:])), output_size=v.shape[2:])
        return rebuilt


def _dense(features: int, hidden: tuple[int, ...]) -> nn.Sequential:
    widths = [features, *hidden, *hidden[-2::-1], features]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _convolutions(channels: int) -> nn.ModuleList:
    few, many = _CHANNELS
    down = [nn.Conv2d(channels, few, 3, 2, 1), nn.Conv2d(few, many, 3, 2, 1)]
    up = [nn.ConvTranspose2d(many, few, 3, 2, 1), nn.ConvTranspose2d(few, channels, 3, 2, 1)]
    return nn.ModuleList([*down, *up])
