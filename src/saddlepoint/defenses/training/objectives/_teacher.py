"""What a teacher says."""

import torch
from torch import nn

from saddlepoint._typing import Batch, Logits
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training.objectives._checks import scores
from saddlepoint.errors import ModelError


def lesson(teacher: nn.Module, x: Batch, logits: Logits, temperature: float) -> Logits:
    """The teacher's log softmax(z / T) (n, k): evaluation mode, no gradient, its flags as they were.

    Args:  logits: (n, k) of the student, for the number of classes.
    """
    with torch.no_grad(), Classifier(teacher).frozen():
        taught = scores(teacher, x.detach())
    if taught.shape != logits.shape:
        raise ModelError(
            f"the teacher has {taught.shape[1]} classes, the student {logits.shape[1]}; both need the same classes"
        )
    return (taught / temperature).log_softmax(1)
