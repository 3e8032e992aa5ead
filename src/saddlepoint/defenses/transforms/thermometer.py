"""Thermometer encoding: every feature becomes the code of the bucket that it falls in."""

from typing import ClassVar, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms.transform import Transform
from saddlepoint.errors import ArgumentTypeError, InputError, SettingError, shown, unknown

_MODES = ("thermometer", "one-hot", "quantised")
_SHRUNK = 0.99999  # keeps the upper end of the box in the last bucket


@final
class Thermometer(Transform):
    """Codes of buckets b = floor(.99999 L v), v the feature in [0, 1].

    "thermometer": tau_k = 1 for k <= b, else 0.  "one-hot": 1 at k = b.  "quantised": b / (L - 1), no code.

    Codes (n, c L, *f) of inputs (n, c, *f): the levels of channel 0, then those of channel 1. The net behind has that
    many input channels: ``nn.Sequential(Thermometer(16), net)``. No gradient passes through, so an attack that takes
    gradients as they are stands still, and the model seems robust. It is not: :class:`LSPGA` and :class:`DGA` attack
    the codes, and the surrogate (BPDA) reaches the input.

    With centroids, b is the place of the nearest one, the lower of two that are as near, and decodes to it; so buckets
    are narrow where inputs are many. :meth:`fitted` finds them. They are a buffer: a file of weights holds them.

    Args:
        levels: L, at least 2.
        mode: which code.
        centroids: (L,) ascending, in input units; None for buckets of equal width.
        bounds: the box of the inputs.

    Raises:  SettingError if levels is no integer >= 2, or the centroids are not so many ascending numbers in the box;
        SpecError for a mode that there is not; ArgumentTypeError if the centroids are no tensor.

    Source:  Buckman, Roy, Raffel & Goodfellow 2018, openreview S18Su--CW; the surrogate: Athalye, Carlini & Wagner
        2018, arXiv:1802.00420.
    Departs:  ones come first; the paper writes the mirrored order, which is a permutation of the channels.

    >>> Thermometer(4)(torch.tensor([[0.0, 0.3, 1.0]])).view(3, 4)
    tensor([[1., 0., 0., 0.],
            [1., 1., 0., 0.],
            [1., 1., 1., 1.]])
    """

    name: ClassVar[str] = "thermometer"

    def __init__(
        self,
        levels: int = 16,
        mode: str = "thermometer",
        *,
        centroids: Tensor | None = None,
        bounds: Bounds | tuple[float, float] = Bounds(),
    ) -> None:
        super().__init__(bounds=bounds)
        if isinstance(levels, bool) or not isinstance(levels, int) or levels < 2:
            raise SettingError(
                f"levels={shown(levels)} must be an integer >= 2; one level gives all inputs the same code"
            )
        if mode not in _MODES:
            raise unknown("mode", mode, _MODES)
        self.levels, self.mode = levels, mode
        self.centroids: Tensor | None
        self.register_buffer("centroids", None if centroids is None else _checked(centroids, levels, self.bounds))

    @classmethod
    def fitted(
        cls,
        x: Tensor,
        levels: int = 16,
        mode: str = "thermometer",
        *,
        bounds: Bounds | tuple[float, float] = Bounds(),
    ) -> Self:
        """With the percentiles 0 to 100 of all features of training inputs x (n, *f) as centroids, evenly apart.

        Equal percentiles are one centroid, so that ``levels`` of what is returned may be fewer: the net behind takes
        ``encoder.levels`` channels for each of its inputs. A bucket of a second equal one would stay empty.

        Raises:  SettingError if all percentiles are equal, and as the class does.
        """
        wanted = cls(levels, mode, bounds=bounds)
        values = x.detach().flatten().sort().values  # torch.quantile takes no more than 16 million
        if not len(values):
            raise SettingError("x has no values to take percentiles of; give training inputs")
        place = torch.linspace(0, 1, levels, dtype=torch.float64, device=x.device) * (len(values) - 1)
        low, high = (values[ends.long()].double() for ends in (place.floor(), place.ceil()))
        centroids = low.lerp(high, place.frac()).to(x.dtype).unique()
        if len(centroids) < 2:
            raise SettingError(
                f"all {levels} percentiles of x are {centroids.item():g}; ask for more levels, or give centroids="
            )
        return cls(len(centroids), mode, centroids=centroids, bounds=wanted.bounds)

    def settings(self) -> dict[str, float | int | str]:
        return {"levels": self.levels, "mode": self.mode}

    def forward(self, x: Tensor) -> Tensor:
        """Codes (n, c L, *f); quantised inputs (n, c, *f), in input units."""
        v = self._position(x.detach())
        if self.mode == "quantised":
            return self._value(v.floor())
        k = self._levels(x)
        reached = v.unsqueeze(2) >= k
        if self.mode == "one-hot":
            reached &= v.unsqueeze(2) < k + 1
        return reached.to(x.dtype).flatten(1, 2)

    def surrogate(self, x: Tensor) -> Tensor:
        """Ramps over one bucket: tau_k is near g_k = clip(L v - (k - 1), 0, 1); the identity where quantised.

        With centroids they go from each to the next: g_k = clip((x - c_(k-1)) / (c_k - c_(k-1)), 0, 1).
        """
        if self.mode == "quantised":
            return x
        ramps = self._ramps(x).clamp(0, 1)
        ramps = torch.cat([torch.ones_like(ramps[:, :, :1]), ramps], 2)  # every input reaches the lowest level
        if self.mode == "one-hot":
            ramps = ramps - torch.cat([ramps[:, :, 1:], torch.zeros_like(ramps[:, :, :1])], 2)
        return ramps.flatten(1, 2)

    def buckets(self, x: Tensor) -> Tensor:
        """The bucket of every feature, of the shape of x, 0 to L - 1."""
        return self._position(x.detach()).long()

    def relaxed(self, weights: Tensor) -> Tensor:
        """The code (n, c L, *f) of a mixture of buckets (n, c, L, *f); one-hot weights give the code itself.

        Raises:  SettingError if the mode is "quantised", which has no codes.
        """
        if self.mode == "quantised":
            raise SettingError("mode='quantised' has no codes; use 'thermometer' or 'one-hot'")
        if self.mode == "thermometer":
            weights = weights.flip(2).cumsum(2).flip(2)  # tau_k is the weight of all buckets from k on
        return weights.flatten(1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        """The value b / (L - 1), in input units, or the centroid, of codes as :meth:`forward` gives them.

        Raises:  InputError if they are not L to a channel.
        """
        if self.mode == "quantised":
            return codes
        levels = self.split(codes)
        bucket = levels.sum(2) - 1 if self.mode == "thermometer" else (levels * self._levels(levels[:, :, 0])).sum(2)
        return self._value(bucket)

    def split(self, codes: Tensor) -> Tensor:
        """Codes (n, c L, *f), or gradients of them, as (n, c, L, *f).

        Raises:  InputError if they are not L to a channel.
        """
        if codes.dim() < 2 or codes.shape[1] % self.levels:
            raise InputError(
                f"codes of shape {tuple(codes.shape)} are not {self.levels} to a channel; axis 1 must be "
                f"(channels x {self.levels})"
            )
        levels: Tensor = codes.unflatten(1, (-1, self.levels))
        return levels

    def nearest(self, x: Tensor, buckets: Tensor) -> Tensor:
        """The values nearest to x in these buckets, both (n, c, *f); x itself where it lies in its own."""
        inside = 4 * torch.finfo(x.dtype).eps * max(abs(self.bounds.lower), abs(self.bounds.upper), self.bounds.width)
        own, k = self.buckets(x), buckets.to(x.dtype)
        if self.centroids is None:
            width, edge = self.bounds.width / (_SHRUNK * self.levels), self.bounds.lower
            moved = torch.where(buckets > own, edge + width * k + inside, edge + width * (k + 1) - inside)
        else:
            centroids, edges = self.centroids.to(x), functional.pad(_edges(self.centroids.to(x)), (1, 1))
            above = (edges[buckets] + inside).minimum(centroids[buckets])  # a centroid lies in its own bucket
            moved = torch.where(buckets > own, above, (edges[buckets + 1] - inside).maximum(centroids[buckets]))
        return torch.where(buckets == own, x, moved.clamp(self.bounds.lower, self.bounds.upper))

    def _position(self, x: Tensor) -> Tensor:
        """.99999 L v of every feature, or the place of its centroid: its whole part is the bucket."""
        if x.dim() < 2:
            raise InputError(f"inputs of shape {tuple(x.shape)} have no channels; give (n, c, ...)")
        if self.centroids is not None:
            return torch.searchsorted(_edges(self.centroids.to(x)), x.contiguous()).to(x.dtype)
        return ((x - self.bounds.lower) / self.bounds.width).clamp(0, 1) * (_SHRUNK * self.levels)

    def _value(self, bucket: Tensor) -> Tensor:
        """The input, in its units, that stands for a bucket."""
        if self.centroids is not None:
            return self.centroids.to(bucket)[bucket.long()]
        return self.bounds.lower + self.bounds.width * bucket / (self.levels - 1)

    def _ramps(self, x: Tensor) -> Tensor:
        """Lines (n, c, L - 1, *f) that go from 0 to 1 before each level but the lowest."""
        if self.centroids is None:
            v = (x - self.bounds.lower) / self.bounds.width * self.levels
            return v.unsqueeze(2) - (self._levels(x)[:, :, 1:] - 1)
        below, above = (
            each.view(1, 1, -1, *[1] * (x.dim() - 2)) for each in (self.centroids[:-1].to(x), self.centroids[1:].to(x))
        )
        return (x.unsqueeze(2) - below) / (above - below)

    def _levels(self, x: Tensor) -> Tensor:
        """0 to L - 1 on axis 2 of (1, 1, L, *1)."""
        return torch.arange(self.levels, device=x.device, dtype=x.dtype).view(1, 1, -1, *[1] * (x.dim() - 2))


def _edges(centroids: Tensor) -> Tensor:
    """Where one bucket ends and the next begins (L - 1,), halfway; the edge itself is still below."""
    return centroids[:-1].lerp(centroids[1:], 0.5)


def _checked(centroids: Tensor, levels: int, bounds: Bounds) -> Tensor:
    if not isinstance(centroids, Tensor) or not centroids.is_floating_point():
        raise ArgumentTypeError(f"centroids={shown(centroids)} must be a tensor of real numbers, one for each level")
    if centroids.shape != (levels,):
        raise SettingError(f"centroids of shape {tuple(centroids.shape)} must be ({levels},): one for each level")
    edges = _edges(centroids)
    if not bool((centroids[:-1] <= edges).all() & (edges < centroids[1:]).all()):
        raise SettingError(f"centroids={shown(centroids.tolist())} must ascend; leave one of two equal ones out")
    if centroids[0] < bounds.lower or centroids[-1] > bounds.upper:
        raise SettingError(
            f"centroids from {centroids[0].item():g} to {centroids[-1].item():g} must lie in the box "
            f"({bounds.lower:g}, {bounds.upper:g}); are they in input units?"
        )
    return centroids.detach().clone()
