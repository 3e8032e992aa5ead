"""Robust validation: accuracies on training rows that are held out, after every epoch."""

from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels, is_dense
from saddlepoint.attacks import FGSM, PGD
from saddlepoint.balls import Ball, Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training.guard import LEAST_ROWS
from saddlepoint.defenses.training.optimizers import check_whole
from saddlepoint.defenses.training.processes import Processes
from saddlepoint.errors import InputError, SettingError, shown, unknown
from saddlepoint.noise import Noise
from saddlepoint.result import Keep

_AT_ONCE = 512  # rows
KEEPS, GUARDS = ("last", "best"), ("stop", "warn", "off")


@final
@dataclass(frozen=True, kw_only=True)
class Validation:
    """What is measured after every epoch on rows that are not trained on, and what follows from it.

    Args:
        ball: with one eps;  bounds: the box of the inputs.
        rows: held out of the training rows, drawn by the seed of the schedule.
        steps, step_size: of PGD, in evaluation mode from a random start that is the same in every epoch.
        keep: "last" or "best": which weights are the result; the best have the highest PGD accuracy, the first of
            equals. Training longer than that may cost robustness (Rice, Wong & Kolter 2020, arXiv:2002.11569).
        patience: stop after that many epochs without a higher PGD accuracy; None for never.
        guard: against catastrophic overfitting: "stop" at the weights of the last epoch that was not suspect (where
            there is none, it warns and goes on), "warn", or "off".

    Raises:  SettingError if a value means nothing, or the guard has fewer than 512 rows.
    """

    ball: Ball
    bounds: Bounds = Bounds()
    rows: int = 1000
    steps: int = 10
    step_size: float | None = None
    keep: str = "last"
    patience: int | None = None
    guard: str = "stop"

    def __post_init__(self) -> None:
        if is_dense(self.ball.eps):
            raise SettingError("the ball has one eps per row; validation needs one eps")
        for name in ("rows", "steps", "patience"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        if self.rows < 1:
            raise SettingError(f"rows={self.rows} must be at least 1: they are held out for validation")
        if self.keep not in KEEPS:
            raise unknown("keep", self.keep, KEEPS)
        if self.guard not in GUARDS:
            raise unknown("guard", self.guard, GUARDS)
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"patience={self.patience} must be at least 1 epoch, or None")
        if self.guard != "off" and self.rows < LEAST_ROWS:
            raise SettingError(
                f"rows={self.rows} are too few for the guard, which needs {LEAST_ROWS}; hold out more, or "
                "set guard='off'"
            )
        self._attack()  # its own checks

    def describe(self) -> dict[str, Any]:
        """The validation as JSON."""
        told = {name: value for name, value in asdict(self).items() if name not in ("ball", "bounds")}
        return {"norm": self.ball.norm, "eps": self.ball.eps, **told}

    def _attack(self) -> PGD:
        return PGD(ball=self.ball, steps=self.steps, step_size=self.step_size, keep=Keep.FIRST_SUCCESS)

    def held_out(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Row numbers to train on, in their order, and row numbers to validate on.

        Raises:  InputError if nothing would be left to train on.
        """
        if n <= self.rows:
            raise InputError(f"there are {n} rows, and {shown(self.rows)} are to be held out; hold out fewer (rows=)")
        generator = torch.Generator().manual_seed(Noise(seed).child("held out").seed)
        order = torch.randperm(n, generator=generator)
        return order[self.rows :].sort().values, order[: self.rows].sort().values

    def measure(
        self, module: nn.Module, x: Batch, y: Labels, rows: Tensor, seed: int, among: Processes
    ) -> tuple[tuple[float, float, float], int]:
        """Share of these rows that are right when clean, also under FGSM, also under PGD; and the passes that it took.

        An undefined output is not right. Every process looks at its share of the rows.
        """
        model = Classifier(module, bounds=self.bounds)
        counts = torch.zeros(4, dtype=torch.int64, device=model.device)  # clean, FGSM, PGD, passes
        noise = Noise(seed).child("validation")
        for part in among.share(rows).split(_AT_ONCE):
            inputs, labels = x[part].to(model.device), y[part].to(model.device)
            right = (model.predict(inputs) == labels).nonzero().squeeze(1)
            counts[0] += len(right)
            counts[3] += len(part)
            for place, attack in enumerate((FGSM(ball=self.ball), self._attack()), 1):
                if len(right):
                    found = attack(model, inputs[right], labels[right], noise=noise.at(part.to(model.device)[right]))
                    counts[place] += (~found.success & ~found.undefined).sum()
                    # Each row's own passes: what the meter says depends on which rows share a batch.
                    counts[3] += found.forwards.sum() + found.backwards.sum() + len(right)
        clean, fgsm, pgd, passes = among.total(counts).tolist()
        return (clean / len(rows), fgsm / len(rows), pgd / len(rows)), passes
