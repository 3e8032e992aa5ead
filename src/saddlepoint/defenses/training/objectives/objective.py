"""What every objective of training answers."""

from typing import Protocol, TypeAlias

from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Bounds
from saddlepoint.noise import Noise

Memory: TypeAlias = dict[str, Tensor]


class Objective(Protocol):
    """The outer minimum, in two halves: where the loss is taken, and the loss there.

    More fields are read where they exist: ``replays``, how often each batch is trained on before the next, 1 without;
    ``bounds``, the box of the inputs, none without; ``objective``, the one inside, whose bounds then hold here, too.
    """

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        """The inputs (n, *f) that the loss is about, such as adversarial ones; no gradient of parameters is taken.

        Args:
            x: (n, *f), input units;  y: (n,);  noise: bound to the rows' ids and this epoch.
            progress: share of the training done, in [0, 1].
            memory: the objective's own tensors by name, changed in place; empty at first, kept from batch to batch.
        """

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        """The loss of a batch, a scalar; its gradient reaches the parameters of the module."""


def bounds_of(objective: Objective) -> Bounds | None:
    """The box that an objective keeps to, its own or that of the one inside; None where neither has one."""
    found: Bounds | tuple[float, float] | None = getattr(objective, "bounds", None)
    if found is not None:
        return Bounds.of(found)
    inside: Objective | None = getattr(objective, "objective", None)
    return None if inside is None else bounds_of(inside)
