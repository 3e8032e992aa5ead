"""Knowledge distillation (Hinton et al.)."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.objectives._checks import check_share, check_teacher, check_temperature, scores
from saddlepoint.defenses.training.objectives._teacher import lesson
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.defenses.training.objectives.trades import kl
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class Distillation:
    """(1 - w) CE(softmax(z), y) + w T^2 KL(softmax(z_teacher / T) || softmax(z / T)).

    T^2 makes up for the 1 / T^2 of the soft term's gradient, so that w means the same at every temperature.

    Args:
        teacher: a trained module, asked about the very inputs that the student sees; it runs in evaluation mode, gets
            no gradient, and its flags are left as they are. Its hash is ``Classifier(teacher).fingerprint``.
        temperature: T, positive; the student is deployed at 1.
        weight: w, in [0, 1].

    Source:  Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2.
    Departs:  the soft term is a divergence, that is their cross-entropy less the teacher's own entropy.
    """

    teacher: nn.Module
    temperature: float = 4.0
    weight: float = 0.9
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_teacher(self.teacher)
        check_temperature(self.temperature)
        check_share("weight", self.weight, "the weight of the teacher's labels")

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        return x

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        logits, t = scores(module, points), self.temperature
        soft = kl(lesson(self.teacher, points, logits, t), (logits / t).log_softmax(1)).mean()
        return (1 - self.weight) * functional.cross_entropy(logits, y) + self.weight * t**2 * soft
