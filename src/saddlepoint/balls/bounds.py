"""The box of valid inputs."""

from dataclasses import dataclass
from typing import Self, final

from saddlepoint.errors import SettingError


@final
@dataclass(frozen=True)
class Bounds:
    """Every input feature lies in [lower, upper], in input units (before any normalisation).

    Args:  lower, upper: finite numbers, lower < upper.
    """

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if not (-float("inf") < self.lower < self.upper < float("inf")):
            raise SettingError(
                f"bounds=({self.lower}, {self.upper}) must be finite, lower < upper; for images in [0, 1] use (0, 1)"
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
        try:
            lower, upper = value  # type: ignore[misc]
            return cls(float(lower), float(upper))
        except (TypeError, ValueError) as error:
            raise SettingError(f"bounds={value!r} must be a pair (lower, upper) of finite numbers") from error
