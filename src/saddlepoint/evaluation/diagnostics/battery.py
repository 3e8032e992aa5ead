"""The attacks that a diagnosis compares, each judged like those of a run, and the ladder of radii."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from saddlepoint.attacks import FGSM, PGD, Restarts, Square
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.evaluation.diagnostics.sample import Sample
from saddlepoint.evaluation.doctor.patient import chunks
from saddlepoint.evaluation.verify import judge
from saddlepoint.losses import margin
from saddlepoint.noise import Noise
from saddlepoint.records import FOOLED, HELD, UNDEFINED
from saddlepoint.result import Keep
from saddlepoint.solve import Attack

LETTERS = HELD + FOOLED + UNDEFINED
"""A verdict is stored as its place here."""

STEPS, MORE, RESTARTS, DRAWS, QUERIES, RUNG_STEPS, RUNG_ROWS = 40, 80, 3, 50, 1000, 20, 32

AT_EPS = 2
"""Place of the ball's own radius on the ladder."""


@final
@dataclass(frozen=True)
class Shots:
    """Verdicts (n,), as places in LETTERS, and losses (n,)."""

    codes: Tensor
    loss: Tensor


def battery(sample: Sample, ball: Ball, twin: Classifier | None) -> Iterator[tuple[str, Tensor]]:
    """Name and verdicts of each attack; the costly ones on the first half of the rows.

    "more" and "restarts" go on with what the better of the two runs of PGD left standing, and hold its verdicts, too.
    """
    stop = Keep.FIRST_SUCCESS
    every, half = torch.arange(len(sample)), torch.arange(sample.half)
    found = {
        "fgsm-ce": FGSM(ball=ball, keep=stop),
        "fgsm-margin": FGSM(ball=ball, keep=stop, loss=margin),
        "pgd-ce": PGD(ball=ball, keep=stop, steps=STEPS),
        "pgd-margin": PGD(ball=ball, keep=stop, steps=STEPS, loss=margin),
    }
    codes = {name: shoot(sample, attack, name, every).codes for name, attack in found.items()}
    yield from codes.items()
    better = codes["pgd-margin"] if _fooled(codes["pgd-margin"]) >= _fooled(codes["pgd-ce"]) else codes["pgd-ce"]
    loss = found["pgd-margin" if better is codes["pgd-margin"] else "pgd-ce"].loss
    again = PGD(ball=ball, keep=stop, steps=STEPS, loss=loss)
    further: dict[str, Attack] = {
        "more": replace(again, steps=MORE),
        "restarts": Restarts(attack=again, times=RESTARTS),
    }
    for name, attack in further.items():
        yield name, _beyond(sample, attack, name, better[half])
    draws = Restarts(attack=PGD(ball=ball, keep=stop, steps=0), times=DRAWS)
    yield "random", shoot(sample, draws, "random", half).codes
    square = Square(ball=ball, keep=stop, steps=QUERIES, rescale=True)
    yield "square", shoot(sample, square, "square", half).codes
    if twin is not None:
        yield "twin", shoot(sample, PGD(ball=ball, steps=STEPS), "twin", every, through=twin).codes


def ladder(sample: Sample, ball: Ball) -> dict[str, Tensor]:
    """PGD on the margin from the clean input, at radii up to the whole box: eps (k,), codes and loss (k, r)."""
    rows = torch.arange(min(len(sample), RUNG_ROWS))
    eps, widest = float(ball.eps), ball.widest(sample.model.bounds, math.prod(sample.x.shape[1:]))
    radii = sorted({min(radius, widest) for radius in (eps / 4, eps / 2, eps, (eps * widest) ** 0.5, widest)})
    shots = [
        shoot(sample, PGD(ball=replace(ball, eps=radius), steps=RUNG_STEPS, random_start=False, loss=margin), "", rows)
        for radius in radii
    ]
    return {
        "rungs.eps": torch.tensor(radii, dtype=torch.float64),
        "rungs.codes": torch.stack([shot.codes for shot in shots]),
        "rungs.loss": torch.stack([shot.loss for shot in shots]),
    }


def shoot(sample: Sample, attack: Attack, name: str, rows: Tensor, through: Classifier | None = None) -> Shots:
    """Attack some rows, of the model or ``through`` another one, and judge the points on the model."""
    if not len(rows):
        return Shots(torch.zeros(0, dtype=torch.uint8), torch.zeros(0))
    parts = chunks(lambda part: _shoot(sample, attack, name, part, through), rows, sample.batch_size)
    return Shots(torch.cat([part.codes for part in parts]), torch.cat([part.loss for part in parts]))


def _shoot(sample: Sample, attack: Attack, name: str, rows: Tensor, through: Classifier | None) -> Shots:
    x, y = sample.x[rows], sample.y[rows]
    ball: Ball = attack.ball  # type: ignore[attr-defined]  # all of them have one
    result = attack(sample.model if through is None else through, x, y, noise=sample.noise(name, rows))
    verdict = judge(
        sample.model,
        x,
        result.x,
        y,
        None,
        norm=ball.norm,
        eps=float(ball.eps),
        noise=Noise(sample.seed).at(sample.ids[rows]),
    )
    undefined = verdict.undefined | (result.undefined & ~verdict.fooled)
    codes = torch.where(verdict.fooled, LETTERS.index(FOOLED), LETTERS.index(HELD))
    codes = torch.where(undefined, LETTERS.index(UNDEFINED), codes)
    return Shots(codes.to("cpu", torch.uint8), result.loss.float().cpu())


def _beyond(sample: Sample, attack: Attack, name: str, before: Tensor) -> Tensor:
    """The verdicts after an attack on what was left standing."""
    rows = (before == LETTERS.index(HELD)).nonzero().squeeze(1)
    return before.index_copy(0, rows, shoot(sample, attack, name, rows).codes)


def _fooled(codes: Tensor) -> int:
    return int((codes == LETTERS.index(FOOLED)).sum())
