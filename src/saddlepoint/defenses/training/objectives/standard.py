"""Training without an adversary."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.objectives._checks import check_temperature, scores
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class Standard:
    """Mean cross-entropy of softmax(z / temperature) on clean inputs.

    Args:  temperature: positive; teachers of :class:`DefensiveDistillation` are trained at their student's.
    """

    temperature: float = 1.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        return x

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        return functional.cross_entropy(scores(module, points) / self.temperature, y)
