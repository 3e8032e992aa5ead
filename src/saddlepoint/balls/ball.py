"""The perturbation set around x0: what every norm must answer, and the checks that all share."""

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from saddlepoint._typing import Batch, PerRow, is_dense, is_number
from saddlepoint.balls.bounds import Bounds
from saddlepoint.errors import RadiusError, shown
from saddlepoint.noise import Noise


@dataclass(frozen=True, eq=False)
class Ball(ABC):
    """All points within ``eps`` of x0, always intersected with the box.

    Args:  eps: radius in input units, >= 0, one number or one per row (n,); 0 is the identity, inf is for minimum-norm
        attacks.
    """

    eps: float | Tensor
    norm: ClassVar[str]

    def check_eps(self) -> None:
        """Raises:  RadiusError for a negative, missing or misshapen eps."""
        eps = self.eps
        if isinstance(eps, Tensor):
            if not is_dense(eps) or eps.dim() != 1 or not eps.is_floating_point():
                raise RadiusError(
                    f"a per-row eps must be a dense float tensor (n,), got {tuple(eps.shape)} {eps.dtype}; "
                    "give float(eps) for one radius"
                )
            if not bool((eps >= 0).all()):
                raise RadiusError(f"every eps must be >= 0 and not NaN; the smallest is {eps.min().item():g}")
        elif isinstance(eps, bool) or not is_number(eps) or not eps >= 0:
            raise RadiusError(f"eps={shown(eps)} must be a number >= 0, or a float tensor with one per row")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ball) and type(self) is type(other) and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((self.norm, str(self.describe()["eps"])))

    def describe(self) -> dict[str, Any]:
        """Norm and radius as JSON; a per-row eps is recorded by its hash."""
        if not isinstance(self.eps, Tensor):
            return {"norm": self.norm, "eps": "inf" if math.isinf(self.eps) else float(self.eps)}
        digest = hashlib.sha256(self.eps.detach().to("cpu", torch.float64).numpy().tobytes()).hexdigest()
        return {"norm": self.norm, "eps": {"rows": len(self.eps), "sha256": digest}}

    def take(self, rows: Tensor) -> Self:
        """The ball of these rows; itself where all share one eps."""
        return replace(self, eps=self.eps.index_select(0, rows)) if isinstance(self.eps, Tensor) else self

    def radius(self, x: Batch) -> float | Tensor:
        """eps, shaped to broadcast against x (n, *f), of its type and device."""
        return self.eps.to(x).view(-1, *[1] * (x.dim() - 1)) if isinstance(self.eps, Tensor) else self.eps

    def fitted(self, x0: Batch, bounds: Bounds) -> Self:
        """The ball as it is for these inputs: itself, unless its distance depends on the bounds or on the shape."""
        return self

    def check(self, x0: Batch, bounds: Bounds) -> None:
        """Refuse a radius that no point of the box can use up.

        Raises:  RadiusError if there is not one eps per row, or an eps above the largest distance in the box.
        """
        if isinstance(self.eps, Tensor) and len(self.eps) != len(x0):
            raise RadiusError(
                f"eps has {len(self.eps)} entries, the batch {len(x0)} rows; give one eps, or one per row"
            )
        eps = self.eps.max().item() if isinstance(self.eps, Tensor) and len(self.eps) else self.eps
        widest = self.widest(bounds, math.prod(x0.shape[1:]))
        if isinstance(eps, Tensor) or math.isinf(eps) or eps <= widest * (1 + 1e-6):
            return
        raise RadiusError(
            f"eps={eps:g} must lie in [0, {widest:g}], the largest {self.norm} distance in the box "
            f"[{bounds.lower:g}, {bounds.upper:g}]; did you mean {eps / 255:.4g}, that is {eps:g}/255?"
        )

    @abstractmethod
    def widest(self, bounds: Bounds, features: int) -> float:
        """The largest distance between two points of the box."""

    @abstractmethod
    def distance(self, x: Batch, x0: Batch) -> PerRow:
        """Distance of each row from x0, in input units."""

    @abstractmethod
    def project(self, x: Batch, x0: Batch, bounds: Bounds) -> Batch:
        """The point of ball and box that is nearest to x (Euclidean); idempotent. x0 lies in the box."""

    @abstractmethod
    def random_start(self, x0: Batch, bounds: Bounds, noise: Noise) -> Batch:
        """A uniform draw from the ball, then moved into the box."""

    @abstractmethod
    def steepest_step(self, grad: Batch, x: Batch | None = None, bounds: Bounds | None = None) -> Batch:
        """The d that maximises <grad, d> over norm(d) = 1; zero where the gradient is zero.

        Args:  x, bounds: where the step starts; a norm that moves few features passes over those that the box stops.
        """


def flat_norm(x: Batch) -> Tensor:
    """Euclidean norm of each row, shaped to broadcast against x; safe from underflow and overflow."""
    flat = x.flatten(1)
    scale = flat.abs().amax(1, keepdim=True) if flat.shape[1] else flat.new_zeros(len(flat), 1)
    unit: Tensor = torch.linalg.vector_norm(flat / scale.clamp_min(torch.finfo(x.dtype).tiny), dim=1, keepdim=True)
    return (unit * scale).view(-1, *[1] * (x.dim() - 1))


def movable(grad: Tensor, x: Tensor, bounds: Bounds) -> Tensor:
    """Size of each slope (n, d), 0 where the box stops the feature that would follow it."""
    stuck = ((x >= bounds.upper) & (grad > 0)) | ((x <= bounds.lower) & (grad < 0))
    return torch.where(stuck, 0, grad.abs())
