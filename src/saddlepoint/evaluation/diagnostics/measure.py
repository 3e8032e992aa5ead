"""Everything that a diagnosis measures, as tensors: what is kept in a run's folder."""

import math
import time

import torch
from torch import Tensor

from saddlepoint.balls import L1, L2, Ball, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.evaluation.diagnostics.battery import battery, ladder
from saddlepoint.evaluation.diagnostics.looks import looks
from saddlepoint.evaluation.diagnostics.sample import sample
from saddlepoint.evaluation.doctor.patient import untouched


def can_probe(ball: Ball, target: str = "none") -> bool:
    """Whether the probes can be run in a ball: they need a radius, a norm that gradient steps know, and no target."""
    return isinstance(ball, Linf | L2 | L1) and 0 < float(ball.eps) < math.inf and target == "none"


def measure(
    model: Classifier,
    data: Dataset,
    ball: Ball,
    *,
    rows: int,
    seed: int,
    batch_size: int = 512,
    twin: Classifier | None = None,
) -> dict[str, Tensor]:
    """Run every probe; nothing of the model is changed, and its meter does not move.

    Returns:  ``rows`` (n,), places in the data set; ``answers``, how many classes they have; what :func:`looks`
        says of each; ``codes.NAME`` of each attack, in the order of ``rows``; ``rungs.*``; ``passes``, forwards
        and backwards by the meter; ``seconds``.
    """
    start, watched = time.monotonic(), model.uncounted()
    other = None if twin is None else twin.uncounted()
    with untouched(model):
        chosen = sample(watched, data, rows, seed, batch_size)
        found = {"rows": chosen.places, "answers": torch.tensor(len(chosen.y.unique()))}
        if len(chosen):
            found |= looks(chosen, ball)
            found |= {f"codes.{name}": codes for name, codes in battery(chosen, ball, other)}
            found |= ladder(chosen, ball)
    meters = [each.meter for each in (watched, other) if each is not None]
    found["passes"] = torch.tensor([sum(m.forwards for m in meters), sum(m.backwards for m in meters)])
    found["seconds"] = torch.tensor(time.monotonic() - start, dtype=torch.float64)
    return found
