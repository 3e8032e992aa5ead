"""Reversed cross-entropy (Pang et al.)."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.defenses.training.objectives._checks import scores
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.noise import Noise


@final
@dataclass(frozen=True, kw_only=True)
class ReversedLabelCrossEntropy:
    """-sum_{i != y} log F_i / (k - 1): the label the least likely class of F, all others equally likely.

    F = softmax(Z), with Z the negated logits of the module. So the module that is trained is the classifier that is
    deployed, softmax(-Z): its most likely class is the label, and the others stay alike, which makes its features, and
    the entropy of the other classes, easier to judge (:class:`KDensity`, :class:`NonMaximalEntropy`). The least value
    is log(k - 1). With two classes it is the cross-entropy.

    Source:  Pang, Du, Dong & Zhu 2018, arXiv:1706.00633, section 3.
    Departs:  the authors train Z and negate it afterwards; here the last layer holds the sign. A net that was trained
        elsewhere, and returns Z, is deployed by :class:`saddlepoint.models.Negated`. Not the "reverse cross-entropy" of
        work on noisy labels, which is another loss.
    """

    replays: ClassVar[int] = 1

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        return x

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        logs = (-scores(module, points)).log_softmax(1)
        return ((logs.gather(1, y[:, None]).squeeze(1) - logs.sum(1)) / (logs.shape[1] - 1)).mean()
