"""The nets of AdvGAN: convolutions for pictures of any size, linear layers for all other inputs."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint.errors import SettingError, shown

_LEAST = {4: 8, 8: 16}
"""For each product of strides, the least side: below it one number would be normalised by itself."""


@final
class Norm(nn.Module):
    """Instance normalisation (of linear layers: layer normalisation), then a scale and a shift of each class.

    A plain shift of the class would be normalised away by the next layer.

    Args:  features: channels;  classes: 1 where all rows share one pair.
    Source:  Dumoulin, Shlens & Kudlur 2017, arXiv:1610.07629, section 2.2.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.scale, self.shift = (
            nn.Parameter(torch.ones(classes, features)),
            nn.Parameter(torch.zeros(classes, features)),
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Normalised x (n, c, h, w) or (n, c);  t: (n,) classes."""
        scale, shift = self.scale[t], self.shift[t]
        if x.dim() == 2:
            plain: Tensor = functional.layer_norm(x, x.shape[1:])
            return plain * scale + shift
        one = x.reshape(1, -1, *x.shape[2:])  # a batch of one with n * c channels: a row shares nothing with another
        normed = functional.batch_norm(one, None, None, scale.reshape(-1), shift.reshape(-1), training=True)
        out: Tensor = normed.view_as(x)
        return out


@final
class Residual(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), with 3x3 convolutions."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.before, self.after = Norm(width, classes), Norm(width, classes)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The same shape as x (n, width, h, w)."""
        inner = self.before(self.first(x), t).relu_()
        out: Tensor = x + self.after(self.second(inner), t)
        return out


@final
class Generator(nn.Module):
    """From inputs scaled to [0, 1] to perturbations in [-1, 1], of the same shape.

    Pictures (c, h, w):  conv 4x4 stride 2 -> width, conv 3x3 stride 2 -> 2 width, ``blocks`` residual blocks, and back:
    transposed 3x3 stride 2 -> width, conv 3x3 -> 4 c at half the size, whose four channels are the four pixels, tanh;
    normalised and rectified in between. They are padded with their borders to a multiple of 4, at least 8, and cut
    afterwards.  Other inputs: two hidden linear layers of 8 width.

    Args:  shape: of one input;  classes: of the target; 1 where it is not told the target.
    Raises:  SettingError if a number is too small.
    Source:  Xiao et al. 2018, arXiv:1801.02610, section 4: encoder, residual blocks, decoder.
    Departs:  no layer at full size, where the public code has three: they took two thirds of the time of a pass; the
        last layer is that of Shi et al. 2016, arXiv:1609.05158. The class sets scale and shift of every normalisation.
    """

    def __init__(self, shape: Sequence[int], *, classes: int = 1, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        if min(classes, width) < 1 or blocks < 0 or not shape or min(shape) < 1:
            raise SettingError(
                f"classes={classes}, width={width}, blocks={blocks}, shape={shown(tuple(shape))}: classes, width and "
                "every length must be >= 1, blocks >= 0"
            )
        self.shape, self.classes = tuple(shape), classes
        c, w = shape[0], width
        down: list[nn.Module]
        if len(shape) == 3:
            down = [nn.Conv2d(c, w, 4, 2, 1, bias=False), nn.Conv2d(w, 2 * w, 3, 2, 1, bias=False)]
            up = [nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1, bias=False)]
            self.last: nn.Module = nn.Sequential(nn.Conv2d(w, 4 * c, 3, padding=1), nn.PixelShuffle(2))
            sizes = [w, 2 * w, w]
        else:
            d, hidden = math.prod(shape), 8 * w
            down, up, blocks = [nn.Linear(d, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)], [], 0
            self.last, sizes = nn.Linear(hidden, d), [hidden, hidden]
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.blocks = nn.ModuleList(Residual(2 * w, classes) for _ in range(blocks))
        self.norms = nn.ModuleList(Norm(size, classes) for size in sizes)
        _begin(self)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Perturbations (n, *shape) for inputs (n, *shape);  t: (n,) targets, or zeros where it has one class."""
        inner = _padded(x, 4) if len(self.shape) == 3 else x.flatten(1)
        norms = iter(self.norms)
        for layer in self.down:
            inner = next(norms)(layer(inner), t).relu_()
        for block in self.blocks:
            inner = block(inner, t)
        for layer in self.up:
            inner = next(norms)(layer(inner), t).relu_()
        out: Tensor = self.last(inner).tanh()
        if len(self.shape) == 3:
            out = out[..., : self.shape[1], : self.shape[2]]
        return out.reshape(x.shape)


@final
class Discriminator(nn.Module):
    """Scores (n, m) of inputs: near 1 for clean ones, near 0 for others.

    Pictures: convolutions 4x4 stride 2 -> width / 2, width, 2 width, then 1x1 -> 1, a score of each patch; normalised
    in between, with leaky rectifiers of slope 0.2. Other inputs: two hidden linear layers.

    Source:  Xiao et al. 2018, and the public code for its sizes.  Departs:  linear scores, as least squares want them.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 16) -> None:
        super().__init__()
        self.image, w = len(shape) == 3, width
        if self.image:
            sizes = [shape[0], -(-w // 2), w, 2 * w]
            layers: list[nn.Module] = [nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(sizes)]
            self.last: nn.Module = nn.Conv2d(2 * w, 1, 1)
        else:
            sizes = [math.prod(shape), 8 * w, 8 * w]
            layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
            self.last = nn.Linear(8 * w, 1)
        self.layers, self.norms = nn.ModuleList(layers), nn.ModuleList(Norm(size, 1) for size in sizes[2:])
        _begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, m) of inputs (n, *shape)."""
        inner = _padded(x, 8) if self.image else x.flatten(1)
        t = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        for i, layer in enumerate(self.layers):
            inner = layer(inner)
            inner = functional.leaky_relu(self.norms[i - 1](inner, t) if i else inner, 0.2)
        scores: Tensor = self.last(inner).flatten(1)
        return scores


def _padded(x: Tensor, multiple: int) -> Tensor:
    """Pictures whose sides are multiples, by copies of the lower and right borders."""
    high, wide = (max(_LEAST[multiple], -(-side // multiple) * multiple) - side for side in x.shape[2:])
    return functional.pad(x, (0, wide, 0, high), mode="replicate") if high or wide else x


def _begin(module: nn.Module) -> None:
    """Weights from N(0, 0.02), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
