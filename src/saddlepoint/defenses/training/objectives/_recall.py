"""A perturbation that stays from batch to batch."""

import torch
from torch import Tensor

from saddlepoint._typing import Batch
from saddlepoint.defenses.training.objectives.objective import Memory

_NAME = "delta"


def recall(memory: Memory, x: Batch) -> Batch:
    """The kept perturbation for the rows of x (n, *f), by place; 0 where there is none, or none of this shape."""
    kept = memory.get(_NAME)
    if kept is None or kept.shape[1:] != x.shape[1:]:
        return torch.zeros_like(x)
    kept = kept[: len(x)].to(x)
    return torch.cat([kept, torch.zeros_like(x[len(kept) :])])


def keep(memory: Memory, delta: Batch) -> None:
    """Keep these rows; those of a larger batch before stay behind them."""
    delta, kept = delta.detach(), memory.get(_NAME)
    fits: Tensor = delta[:0] if kept is None or kept.shape[1:] != delta.shape[1:] else kept[len(delta) :].to(delta)
    memory[_NAME] = torch.cat([delta, fits])
