"""Detectors that look at the logits alone, and have nothing to fit."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Logits, PerRow
from saddlepoint.classifier import Classifier
from saddlepoint.detectors._body import checked_rows
from saddlepoint.detectors.scorer import Look, Scorer
from saddlepoint.errors import ModelError


def confidence(logits: Logits) -> PerRow:
    """Minus the log-odds of the most likely class, log((1 - p) / p) with p = max softmax(z): (n,).

    Ranks inputs as 1 - p does, and still tells them apart where p rounds to 1.

    >>> confidence(torch.tensor([[0.0, 0.0], [200.0, 0.0]]))
    tensor([   0., -200.])
    """
    top = logits.topk(2, 1).values[:, 0]
    return _others(logits).logsumexp(1) - top


def energy(logits: Logits) -> PerRow:
    """-log sum exp(z): (n,).

    >>> energy(torch.tensor([[0.0, 0.0]]))
    tensor([-0.6931])
    """
    return -logits.logsumexp(1)


def non_maximal_entropy(logits: Logits) -> PerRow:
    """Minus the entropy, in nats, of the classes that are not the most likely one, their shares made to sum to 1: (n,).

    >>> non_maximal_entropy(torch.tensor([[9.0, 0.0, 0.0]]))
    tensor([-0.6931])
    """
    logs = _others(logits).log_softmax(1)
    return (logs.exp() * logs).sum(1)


def _others(logits: Tensor) -> Tensor:
    """The logits (n, k - 1) of all classes but the most likely one."""
    return logits.topk(logits.shape[1] - 1, 1, largest=False).values


_RULES = {"confidence": confidence, "energy": energy, "non-me": non_maximal_entropy}


@final
class Read(Scorer):
    """A function of the logits.

    Args:  rule: "confidence", "energy" or "non-me".
    """

    name: ClassVar[str] = "outputs"

    def __init__(self, model: Classifier, rule: str) -> None:
        super().__init__(model)
        self.rule = rule

    def look(self, x: Batch) -> Look:
        logits = self.body(x)
        return Look(logits, _RULES[self.rule](logits.double()).to(x.dtype))

    def settings(self) -> dict[str, Any]:
        return {"rule": self.rule}


@final
@dataclass(frozen=True)
class Confidence:
    """A low highest softmax probability is suspicious: the baseline of every other detector.

    Source:  Hendrycks & Gimpel 2017, arXiv:1610.02136.
    Departs:  the score is minus the log-odds, which ranks alike and does not saturate.
    """

    name: ClassVar[str] = "confidence"

    def fit(self, model: Classifier, x: Batch, y: Labels) -> Read:
        """Nothing is fitted; the rows are looked at for errors only."""
        return _read(model, x, y, self.name)


@final
@dataclass(frozen=True)
class Energy:
    """A high energy -log sum exp(z) is suspicious.

    Source:  Liu, Wang, Owens & Li 2020, arXiv:2010.03759, Eq. (4) at temperature 1.
    """

    name: ClassVar[str] = "energy"

    def fit(self, model: Classifier, x: Batch, y: Labels) -> Read:
        """Nothing is fitted; the rows are looked at for errors only."""
        return _read(model, x, y, self.name)


@final
@dataclass(frozen=True)
class NonMaximalEntropy:
    """A low entropy of the classes that are not predicted is suspicious: nets of reversed cross-entropy keep it high.

    Source:  Pang, Du, Dong & Zhu 2018, arXiv:1706.00633, section 3.
    """

    name: ClassVar[str] = "non-me"

    def fit(self, model: Classifier, x: Batch, y: Labels) -> Read:
        """Nothing is fitted; the rows are looked at for errors only.

        Raises:  ModelError for two classes, where the entropy of the only other one is always 0.
        """
        scorer = _read(model, x, y, self.name)
        with torch.no_grad(), model.frozen():
            k = scorer.body(x[:1]).shape[1]
        if k < 3:
            raise ModelError(
                "the model has two classes: the entropy of the one that is not predicted is always 0; use Confidence"
            )
        return scorer


def _read(model: Classifier, x: Batch, y: Labels, rule: str) -> Read:
    checked_rows(model, x, y)
    return Read(model, rule)
