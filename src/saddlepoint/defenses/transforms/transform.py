"""What stands in front of a classifier, and what an attacker may use in place of its gradient."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from saddlepoint.balls import Bounds
from saddlepoint.noise import Noise, drawn


class Transform(nn.Module, ABC):
    """A map of inputs (n, *f), between the input and the classifier.

    A subclass says what its gradient is worth, so that an attack through it is adaptive without knowing of it:
    ``differentiable``, and autograd goes through :meth:`forward`; else the backward pass goes through
    :meth:`surrogate` (BPDA). ``random``, and every pass draws anew, by row id, from :meth:`noise`.

    Args:  bounds: the box of the inputs.

    Source:  Athalye, Carlini & Wagner 2018, arXiv:1802.00420, section 4.
    """

    name: ClassVar[str]
    differentiable: ClassVar[bool] = False
    random: ClassVar[bool] = False

    def __init__(self, *, bounds: Bounds | tuple[float, float] = Bounds()) -> None:
        super().__init__()
        self.bounds = Bounds.of(bounds)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """What the classifier gets for inputs x (n, *f)."""

    def surrogate(self, x: Tensor) -> Tensor:
        """A differentiable map near this one, of the same shapes; the identity where nothing better is known."""
        return x

    def noise(self, x: Tensor) -> Noise:
        """A fresh stream for the rows of x: by their ids inside a run or an attack, else from torch's generator."""
        return drawn(x)

    def settings(self) -> dict[str, float | int | str]:
        """What its numbers depend on, apart from parameters and buffers: for keys and reports."""
        return {}
