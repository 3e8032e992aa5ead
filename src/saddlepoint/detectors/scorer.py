"""What every detector answers: one score for each input, from the pass that gives the logits."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels, Logits, PerRow
from saddlepoint.checks import check_inputs
from saddlepoint.classifier import Classifier
from saddlepoint.detectors._body import Body


class Look(NamedTuple):
    """The logits (n, k) of inputs, and their scores (n,), higher = more suspicious."""

    logits: Logits
    score: PerRow


class Scorer(nn.Module, ABC):
    """A detector fitted to a model: ``scorer(x)`` is (n,), higher = more suspicious.

    A subclass takes the model, settings that JSON can hold, and tensors, by name, and keeps the tensors as buffers: so
    it can be saved and loaded without code. Its score is differentiable in x wherever that means something.

    Args:  model: that it was fitted to.
    """

    name: ClassVar[str]
    ratio: ClassVar[bool] = False
    """Whether scores are >= 0 and span orders of magnitude: who lowers them follows their logarithm."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.body = Body(model)

    @abstractmethod
    def look(self, x: Batch) -> Look:
        """Logits and scores of inputs (n, *f) in the box, with their graph, in the mode that the module is in."""

    def pursuit(self, x: Batch) -> Look:
        """What an attacker climbs in place of :meth:`look`: a score with a gradient where that one has none.

        The score is its logarithm if it is a ``ratio``. The points are judged by :meth:`look`: these logits need not be
        highest for the same class.
        """
        return self.look(x)

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All arguments that are neither the model nor tensors, as JSON."""

    def forward(self, x: Batch) -> PerRow:
        """Scores (n,), with their graph."""
        return self.look(x).score

    def scores(self, x: Batch, *, batch_size: int = 512) -> PerRow:
        """Scores (n,) in evaluation mode, without gradients, in chunks; no score depends on the chunk.

        Raises:  InputError for inputs outside the bounds, or on another device.
        """
        x = check_inputs(self.model, x)
        with torch.no_grad(), self.model.frozen():
            parts = [self(part) for part in x.split(batch_size) if len(part)]
        return torch.cat(parts) if parts else x.new_zeros(0)

    def tensors(self) -> dict[str, Tensor]:
        """What was fitted, by name."""
        return dict(self.named_buffers(recurse=False))

    def keep(self, **tensors: Tensor) -> None:
        """Register what was fitted, on the model's device."""
        for name, tensor in sorted(tensors.items()):  # as a file gives them
            self.register_buffer(name, tensor.detach().to(self.model.device))


class Detector(Protocol):
    """Settings of a detector, before it has seen a model; implementations are frozen dataclasses."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def fit(self, model: Classifier, x: Batch, y: Labels) -> Scorer:
        """Fit to clean rows x (n, *f) with true labels y (n,), which are not to be tested on."""
