"""The rows that a diagnosis looks at: right when clean, from all over the data."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.evaluation.doctor.patient import chunks
from saddlepoint.evaluation.verify import judge
from saddlepoint.noise import Noise

MOST = 200
"""Rows of a diagnosis on its own."""

WITHIN = 60
"""Rows of the diagnosis that is part of an evaluation: about five seconds of a core for a small net."""

LEAST = 20
"""Rows below which nothing is called sound: the tests could not tell."""

_CHUNK = 256


@final
@dataclass(frozen=True)
class Sample:
    """The rows, in an order drawn at random, so that the first of them stand for all.

    Args:
        model: with a meter of its own;  places (n,) in the data set;  x (n, *f), y (n,), ids (n,): on its device.
        seed: of every random draw;  batch_size: rows at once.
    """

    model: Classifier
    places: Tensor
    x: Batch
    y: Labels
    ids: Tensor
    seed: int
    batch_size: int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def half(self) -> int:
        """How many rows the costly probes take, of the first ones."""
        return (len(self) + 1) // 2

    def noise(self, name: str, rows: Tensor) -> Noise:
        """The draws of one probe for some of the rows."""
        return Noise(self.seed).at(self.ids[rows]).child(f"diagnosis {name}")


def sample(model: Classifier, data: Dataset, rows: int, seed: int, batch_size: int) -> Sample:
    """At most that many rows that the judge finds right when clean; four times as many are looked at."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[: 4 * rows]
    kept: list[Tensor] = []
    for places in order.split(_CHUNK):
        if sum(map(len, kept)) < rows:
            x, y, ids = (tensor[places].to(model.device) for tensor in (data.x, data.y, data.rows))
            right = chunks(lambda x, y, ids: _right(model, x, y, Noise(seed).at(ids)), x, batch_size, y, ids)
            kept.append(places[torch.cat(right).cpu()])
    places = torch.cat(kept)[:rows] if kept else order
    x, y, ids = (tensor[places].to(model.device) for tensor in (data.x, data.y, data.rows))
    bounds = model.bounds
    return Sample(model, places, x.clamp(bounds.lower, bounds.upper), y, ids, seed, batch_size)


def _right(model: Classifier, x: Tensor, y: Tensor, noise: Noise) -> Tensor:
    verdict = judge(model, x, x, y, None, norm=None, eps=0.0, noise=noise)
    return ~(verdict.fooled | verdict.undefined)
