"""Defensive distillation (Papernot et al.)."""

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.objectives._checks import check_teacher, check_temperature, scores
from saddlepoint.defenses.training.objectives._teacher import lesson
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.errors import UniformLabelsWarning
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class DefensiveDistillation:
    """-sum_i s_i log softmax(z / T)_i, s = softmax(z_teacher / T): the teacher's soft labels alone, at a high T.

    Two nets of the same architecture: the teacher is trained with ``Standard(temperature=T)``, the student with this,
    and the student is deployed at temperature 1, where its logits are about T times larger. That saturates the softmax:
    in float32 the gradient of the cross-entropy is exactly 0 for most inputs, which misleads attacks that follow it,
    and no others. A loss on logits, or on z / T, finds the adversarial examples: measure with those.

    Args:
        teacher: a trained module, as in :class:`Distillation`.
        temperature: T, positive. The gradient carries a factor 1 / T, which plain SGD feels and Adam does not.

    Warns:  UniformLabelsWarning if all labels of a batch are uniform within 1e-6 nats: T is too large for the teacher.
    Source:  Papernot et al. 2016, arXiv:1511.04508, section IV; how it is broken: Carlini & Wagner, arXiv:1607.04311.
    Departs:  the labels are computed for each batch as the student sees it, after any augmentation.
    """

    teacher: nn.Module
    temperature: float = 100.0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_teacher(self.teacher)
        check_temperature(self.temperature)

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        return x

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        logits = scores(module, points)
        soft = lesson(self.teacher, points, logits, self.temperature)
        _warn_if_uniform(soft, self.temperature)
        return -(soft.exp() * (logits / self.temperature).log_softmax(1)).sum(1).mean()


def _warn_if_uniform(soft: Tensor, temperature: float) -> None:
    entropy = -(soft.exp() * soft).sum(1).double()
    if len(soft) and float(entropy.min()) > math.log(soft.shape[1]) - 1e-6:
        warnings.warn(
            f"temperature={temperature:g} makes all of the teacher's labels uniform, so that they teach nothing; "
            "lower it, or train the teacher for longer",
            UniformLabelsWarning,
            stacklevel=3,
        )
