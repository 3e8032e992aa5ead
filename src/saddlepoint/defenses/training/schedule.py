"""How long, how fast, and on which views of the rows a training runs: one frozen value."""

import math
from dataclasses import asdict, dataclass
from typing import Any, final

from saddlepoint.defenses.training.optimizers import SGD, Adam, Optimizer, check_whole, describe
from saddlepoint.errors import SettingError, shown, unknown

RATES = ("one-cycle", "cyclic", "piecewise", "linear", "cosine", "constant")
PRECISIONS = ("float32", "bfloat16")


@final
@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Everything about a training but its objective. Shares are of the whole training, from 0 to 1.

    Args:
        epochs, batch_size: at least 1; the batch is that of all processes together.
        peak: the highest learning rate.
        rate: its curve. ``one-cycle``: cosines from peak / 25 up to peak at ``rise`` and down to peak / 250,000
            (Smith & Topin 2019, arXiv:1708.07120). ``cyclic``: straight from 0 up to peak at ``rise`` and down to 0.
            ``piecewise``: peak, times ``factor`` from each of the shares ``drops`` on. ``linear``: straight between
            ``points``. ``cosine``: peak (1 + cos(pi t)) / 2. ``constant``: peak.
        rise: of one-cycle and cyclic;  drops, factor: of piecewise.
        points: of linear: pairs of a share and a multiple of peak, from share 0 to share 1.
        warmup: share over which cosine, constant and piecewise begin with a straight rise from 0.
        seed: of the order, the noise, dropout, and which rows are held out.
        shift: images move by up to that many pixels along each axis, filled with 0 (or the bound next to it).
        crop: images move likewise, as in padding by that many pixels and cropping at random;  flip: half of them are
            mirrored left to right;  noise: standard deviation of Gaussian noise, in input units, cut off at the
            objective's bounds where it has any.
        optimizer: Adam() or SGD();  clip: longest gradient, all parameters together (L2); None for no limit.
        ema: decay of an exponential moving average of the weights, which is then what is validated and returned.
        precision: float32, or bfloat16 for autocast; weights and optimizer stay as they are.
    """

    epochs: int = 30
    batch_size: int = 128
    peak: float = 5e-3
    rate: str = "one-cycle"
    rise: float = 0.4
    drops: tuple[float, ...] = ()
    factor: float = 0.1
    points: tuple[tuple[float, float], ...] = ()
    warmup: float = 0.0
    seed: int = 0
    shift: int = 0
    crop: int = 0
    flip: bool = False
    noise: float = 0.0
    optimizer: Optimizer = Adam()  # noqa: RUF009 (frozen)
    clip: float | None = None
    ema: float | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seed", "shift", "crop"):
            check_whole(name, getattr(self, name))
        if not isinstance(self.optimizer, Adam | SGD):
            raise SettingError(f"optimizer={shown(self.optimizer)} is none; give Adam(...) or SGD(...)")
        if self.epochs < 1 or self.batch_size < 1:
            raise SettingError(f"epochs={self.epochs} and batch_size={self.batch_size} must be at least 1")
        if self.shift < 0:
            raise SettingError(f"shift={self.shift} must be >= 0, in pixels")
        if self.crop < 0:
            raise SettingError(f"crop={self.crop} must be >= 0, in pixels of padding")
        if not 0 <= self.noise < math.inf:
            raise SettingError(f"noise={self.noise} must be a finite number >= 0, in input units")
        if not (self.peak > 0 and 0 < self.rise < 1):
            raise SettingError(f"peak={self.peak} must be positive and rise={self.rise} lie between 0 and 1")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise SettingError(f"clip={self.clip} must be positive, or None for no limit")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise SettingError(f"ema={self.ema} must lie in [0, 1), such as 0.999, or be None for no average")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        self._check_rate()

    def _check_rate(self) -> None:
        if self.rate not in RATES:
            raise unknown("rate", self.rate, RATES)
        if not 0 <= self.warmup < 1:
            raise SettingError(f"warmup={self.warmup} must lie in [0, 1): the share of training over which it rises")
        if self.warmup and self.rate not in ("cosine", "constant", "piecewise"):
            raise SettingError(f"warmup={self.warmup} cannot be given for rate {self.rate!r}, which rises anyway")
        if not self.factor > 0:
            raise SettingError(f"factor={self.factor} must be positive, such as 0.1")
        if bool(self.drops) != (self.rate == "piecewise") or bool(self.points) != (self.rate == "linear"):
            raise SettingError(
                f"drops={shown(self.drops)} and points={shown(self.points)} belong to the rates piecewise and linear, "
                f"which need them; the rate is {self.rate!r}"
            )
        if list(self.drops) != sorted(self.drops) or not all(0 < share < 1 for share in self.drops):
            raise SettingError(f"drops={shown(self.drops)} must rise between 0 and 1: shares of the training")
        shares = [share for share, _ in self.points]
        if shares and (shares != sorted(set(shares)) or shares[0] != 0 or shares[-1] != 1):
            raise SettingError(f"points={shown(self.points)} must rise from share 0 to share 1 of the training")
        if any(not 0 <= multiple < math.inf for _, multiple in self.points):
            raise SettingError(f"points={shown(self.points)} must hold multiples of peak, finite and >= 0")

    def describe(self) -> dict[str, Any]:
        """The schedule as JSON."""
        told = {**asdict(self), "optimizer": describe(self.optimizer)}
        return {**told, "drops": list(self.drops), "points": [list(pair) for pair in self.points]}
