"""Blocks that denoise feature maps (Xie et al.), trained as a part of the net."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint.errors import InputError, SettingError, shown, unknown

_INIT = 0.01  # standard deviation of the embeddings' first weights


@final
class Denoise(nn.Module):
    """x + BN(conv1x1(D(x))), with the scale of BN at 0: exactly the identity until it is trained.

    D of maps (n, c, h, w), where i and j are positions and N = h w:

    - "softmax": sum_j softmax_j(theta(x_i) . phi(x_j) / sqrt(e)) x_j, theta and phi 1x1 convolutions to e = c // 2
      channels: the embedded Gaussian form of non-local means.
    - "dot-product": (1 / N) sum_j (x_i . x_j) x_j.
    - "bilateral": "softmax" over the positions j in the ``size`` x ``size`` square around i.
    - "bilateral-dot-product": "dot-product" over the same, 1 over their number.
    - "mean", "median": of each channel over that square; at the border a mean is of what lies inside, a median of
      repeated edges.
    - "conv": x itself, so that 1x1 convolution and residual are alone; only to compare with.

    Args:
        channels: c, at least 1.
        kind: one of these.
        size: of the square, odd; None means 7 for the bilateral kinds and 3 for mean and median.

    Raises:  SettingError for numbers that mean nothing, or a size where there is no square; SpecError for an unknown
        kind; when called, InputError if x is not (n, channels, h, w).

    Source:  Xie, Wu, van der Maaten, Yuille & He 2019, arXiv:1812.03411, section 4; the weights begin as in the
        authors' code.
    """

    def __init__(self, channels: int, kind: str = "softmax", *, size: int | None = None) -> None:
        super().__init__()
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise SettingError(f"channels={shown(channels)} must be an integer >= 1")
        if kind not in KINDS:
            raise unknown("kind", kind, KINDS)
        self.channels, self.kind, self.size = channels, kind, _size(kind, size)
        if kind in ("softmax", "bilateral"):
            inner = max(1, channels // 2)
            self.theta, self.phi = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(2))
            for embedding in (self.theta, self.phi):
                nn.init.normal_(embedding.weight, std=_INIT)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of the same shape."""
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise InputError(f"feature maps of shape {tuple(x.shape)} must be (n, {self.channels}, h, w)")
        cleaned: Tensor = x + self.norm(self.conv(KINDS[self.kind](self, x)))
        return cleaned

    def extra_repr(self) -> str:
        """What it does."""
        return f"{self.channels}, {self.kind!r}" + (f", size={self.size}" if self.size else "")


def _attention(block: Denoise, x: Tensor) -> Tensor:
    theta, phi, values = (each.flatten(2).transpose(1, 2) for each in (block.theta(x), block.phi(x), x))
    near = _near(x, block.size) if block.size else None
    cleaned = functional.scaled_dot_product_attention(theta, phi, values, attn_mask=near)
    return cleaned.transpose(1, 2).reshape(x.shape)


def _dot_product(block: Denoise, x: Tensor) -> Tensor:
    flat = x.flatten(2)  # (n, c, N)
    if block.size:
        near = _near(x, block.size).to(x.dtype)
        weights = (flat.transpose(1, 2) @ flat) * near / near.sum(1, keepdim=True)
        return (flat @ weights.transpose(1, 2)).reshape(x.shape)
    c, positions = flat.shape[1:]
    if c <= positions:  # whichever product is smaller goes first
        return ((flat @ flat.transpose(1, 2)) @ flat / positions).reshape(x.shape)
    return (flat @ (flat.transpose(1, 2) @ flat) / positions).reshape(x.shape)


def _mean(block: Denoise, x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, block.size, stride=1, padding=block.size // 2, count_include_pad=False)


def _median(block: Denoise, x: Tensor) -> Tensor:
    k, (h, w) = block.size, x.shape[2:]
    padded = functional.pad(x, [k // 2] * 4, mode="replicate")
    squares = functional.unfold(padded.flatten(0, 1).unsqueeze(1), k)
    return squares.median(1).values.view(*x.shape[:2], h, w)


def _itself(block: Denoise, x: Tensor) -> Tensor:
    return x


KINDS: dict[str, Callable[[Denoise, Tensor], Tensor]] = {
    "softmax": _attention,
    "dot-product": _dot_product,
    "bilateral": _attention,
    "bilateral-dot-product": _dot_product,
    "mean": _mean,
    "median": _median,
    "conv": _itself,
}
"""What a block may do to its maps, by name."""

_SIZES = {"bilateral": 7, "bilateral-dot-product": 7, "mean": 3, "median": 3}


def _size(kind: str, size: int | None) -> int:
    """Side of the square, 0 where there is none."""
    if kind not in _SIZES:
        if size is not None:
            raise SettingError(f"size={shown(size)} means nothing to {kind!r}, which has no square; leave it out")
        return 0
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1 or size % 2 == 0):
        raise SettingError(f"size={shown(size)} must be an odd integer >= 1, so that the square has a middle")
    return _SIZES[kind] if size is None else size


def _near(x: Tensor, size: int) -> Tensor:
    """(N, N), which positions lie in each other's square."""
    row, column = (torch.arange(side, device=x.device) for side in x.shape[2:])
    rows, columns = ((each[:, None] - each).abs() <= size // 2 for each in (row, column))
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2).flatten(0, 1)
