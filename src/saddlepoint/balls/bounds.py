"""The box of valid inputs."""

import math
from dataclasses import dataclass
from typing import Self, final

from saddlepoint._typing import is_number
from saddlepoint.errors import SettingError, shown


@final
@dataclass(frozen=True)
class Bounds:
    """Every input feature lies in [lower, upper], in input units (before any normalisation).

    Args:  lower, upper: finite numbers, lower < upper.
    """

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        ends = (self.lower, self.upper)
        if not (all(map(is_number, ends)) and self.lower < self.upper and math.isfinite(self.upper - self.lower)):
            raise SettingError(
                f"bounds={shown(ends)} must be a pair of finite numbers, lower < upper; for images in [0, 1] use (0, 1)"
            )

    @property
    def width(self) -> float:
        """Upper - lower."""
        return self.upper - self.lower

    @classmethod
    def of(cls, value: "Self | tuple[float, float]") -> Self:
        """Bounds from a pair, or unchanged."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise SettingError(f"bounds={shown(value)} must be a pair of finite numbers, such as (0, 1)")
        return cls(*(float(end) if is_number(end) else end for end in value))
