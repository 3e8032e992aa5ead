"""Counter-based noise: a draw is a hash of (seed, row id, draw number, element), never of the batch.

So a row gets the same noise whoever shares its batch, in any order, shard or batch size, and after a restart.
The element hash is Wellons' ``lowbias32`` (https://nullprogram.com/blog/2018/07/31/), two rounds with a key each.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self, final

import torch
from torch import Tensor

from saddlepoint.errors import SettingError, shown

_MASK64 = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


@final
@dataclass(frozen=True)
class Noise:
    """A seed, and the ids of the rows that draw from it.

    Args:  seed: an integer of at most 4096 bits;  rows: (n,) int64 row ids; None means 0 .. n-1 of the batch at hand.
    """

    seed: int = 0
    rows: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed.bit_length() > 4096:
            raise SettingError(f"seed={shown(self.seed)} must be an integer, of at most 4096 bits")

    def at(self, rows: Tensor) -> Self:
        """The same seed for the rows with these ids (n,)."""
        return type(self)(self.seed, rows)

    def child(self, name: str | int) -> Self:
        """An independent stream; the name may be anything that tells it from its siblings."""
        return type(self)(_digest(f"{self.seed}/{name}"), self.rows)

    def uniform(self, like: Tensor, draw: int | Tensor = 0) -> Tensor:
        """Uniform on [0, 1), in steps of 2**-24, of the shape (n, *f), type and device of ``like``.

        Args:  draw: draw number, one integer or one per row (n,); equal numbers give equal noise.
        """
        return _unit(self._bits(like, draw, 0), like.dtype).view(like.shape)

    def normal(self, like: Tensor, draw: int | Tensor = 0) -> Tensor:
        """Standard normal (Box-Muller, so at most 5.8 in size), shaped like ``like``."""
        radius = _unit(self._bits(like, draw, 1), like.dtype).neg_().add_(1).log_().mul_(-2).sqrt_()
        angle = _unit(self._bits(like, draw, 2), like.dtype).mul_(2 * math.pi)
        return radius.mul_(angle.cos_()).view(like.shape)

    def _bits(self, like: Tensor, draw: int | Tensor, use: int) -> Tensor:
        """(n, d) int32, all 32 bits uniform; ``use`` keeps the hashes behind one draw apart."""
        n = like.shape[0]
        rows = torch.arange(n, device=like.device) if self.rows is None else self.rows.to(like.device)
        if rows.shape != (n,):
            raise SettingError(f"noise is bound to {len(rows)} row ids, the batch has {n} rows; give one id per row")
        # The seed is hashed before it meets the row id: were they added, seed 1 of row 0 would be seed 0 of row 1.
        key = _mix64(_mix64(_mix64(rows ^ _digest(f"seed {self.seed}")) ^ _signed(use * _GOLDEN)) + draw)
        first, second = (key >> 32).to(torch.int32), _low32(key)
        columns = torch.arange(like[:1].numel() if n else 0, device=like.device, dtype=torch.int32)
        bits = _lowbias32_(columns * -1640531527 ^ first[:, None])
        return _lowbias32_(bits.bitwise_xor_(second[:, None]))


@final
@dataclass
class _Stream:
    """What is to be drawn in one pass; nothing is computed before something is."""

    noise: Noise
    turn: int | Tensor
    points: Tensor | None = None
    count: int = 0

    def next(self, like: Tensor) -> Noise:
        """The next stream of the rows of ``like``."""
        noise, self.count = self.noise.child(f"model {self.count}"), self.count + 1
        rows = torch.arange(len(like), device=like.device) if noise.rows is None else noise.rows.to(like.device)
        turn = self.turn.to(like.device) if isinstance(self.turn, Tensor) else self.turn
        if self.points is not None:
            rows, turn = rows[self.points], (turn[self.points] if isinstance(turn, Tensor) else turn)
            turn = turn + _place(self.points)
        return noise.at(_mix64(_mix64(rows) + turn))  # not the sum alone: turn 1 of row 0 would be turn 0 of row 1

    def of(self, rows: slice) -> "_Stream":
        """The same for some rows of the batch, from their first draw on."""
        ids = torch.arange(rows.start, rows.stop) if self.noise.rows is None else self.noise.rows[rows]
        return _Stream(self.noise.at(ids), self.turn[rows] if isinstance(self.turn, Tensor) else self.turn)


_STREAM: ContextVar[_Stream | None] = ContextVar("stream", default=None)


@contextmanager
def drawing(noise: Noise, turn: int | Tensor = 0, points: Tensor | None = None) -> Iterator[None]:
    """Within it, :func:`drawn` gives streams of this noise, one after the other: of one pass through a random model.

    Args:
        turn: which pass it is of these rows, one number or one per row (n,); a row draws anew in each.
        points: (m,) places in the rows: what is passed are points of them, each with a draw of its own.
    """
    token = _STREAM.set(_Stream(noise, turn, points))
    try:
        yield
    finally:
        _STREAM.reset(token)


@contextmanager
def only(rows: slice) -> Iterator[None]:
    """Within it, :func:`drawn` is asked about these rows of the batch: each draws what it would in any other part."""
    stream = _STREAM.get()
    token = _STREAM.set(None if stream is None else stream.of(rows))
    try:
        yield
    finally:
        _STREAM.reset(token)


def drawn(like: Tensor) -> Noise:
    """A fresh stream for the rows of ``like`` (n, *f); outside of :func:`drawing` from torch's generator."""
    stream = _STREAM.get()
    if stream is None:
        return Noise(int(torch.randint(1 << 62, ())), torch.arange(len(like), device=like.device))
    return stream.next(like)


def _place(values: Tensor) -> Tensor:
    """How many equal values stand before each (n,)."""
    ordered, order = values.sort(stable=True)
    place = torch.arange(len(values), device=values.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(place).index_copy_(0, order, place)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _signed(value: int) -> int:
    """A Python integer as the int64 with the same low 64 bits."""
    value &= _MASK64
    return value - (1 << 64) if value >> 63 else value


def _shift(x: Tensor, by: int, width: int) -> Tensor:
    """Logical right shift: torch's is arithmetic on signed integers."""
    return (x >> by).bitwise_and_((1 << (width - by)) - 1)


def _low32(x: Tensor) -> Tensor:
    return ((x << 32) >> 32).to(torch.int32)


def _mix64(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64 tensors (products wrap)."""
    x = x + _signed(_GOLDEN)
    x = (x ^ _shift(x, 30, 64)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27, 64)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31, 64)


def _lowbias32_(x: Tensor) -> Tensor:
    """In place: three times cheaper than out of place on (1000, 784), see benchmarks/noise.py."""
    x.bitwise_xor_(_shift(x, 16, 32)).mul_(0x7FEB352D)
    x.bitwise_xor_(_shift(x, 15, 32)).mul_(0x846CA68B - (1 << 32))
    return x.bitwise_xor_(_shift(x, 16, 32))


def _unit(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """The top 24 bits as a fraction: exact in float32, so float32 and float64 runs draw the same numbers."""
    return _shift(bits, 8, 32).to(dtype).mul_(2.0**-24)
