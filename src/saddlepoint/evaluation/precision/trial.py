"""The trial: a short attack in every form, on the same rows; the fastest that loses no verdict is picked."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint.attacks import PGD
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import shown
from saddlepoint.evaluation.diagnostics import can_probe
from saddlepoint.evaluation.doctor.patient import untouched
from saddlepoint.evaluation.precision.deadline import Late, within
from saddlepoint.evaluation.precision.forms import FLOAT32, Form, copied
from saddlepoint.evaluation.verify import judge
from saddlepoint.losses import margin
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.records import Precision, Trial
from saddlepoint.result import Keep

ROWS = 200
STEPS = 10
REPEATS = 3
COMPILE_SECONDS = 120
"""Of one form: for compiling it, and for the first attack with it."""

GAIN = 0.9
"""At most this part of the time of float32 is faster; less of a gain may be noise."""

Clock = Callable[[], float]


def untried(model: Classifier, balls: Sequence[Ball], *, lasting: bool) -> str:
    """Why a model is left as it was given, or nothing."""
    if not isinstance(model.module, nn.Module):
        return "a function has no other form"
    if model.autocast is not None or model.dtype not in (None, torch.float32):
        return "the model does not compute in float32 as it was given"
    if model.stages:
        return "transforms stand in front of it"
    if not lasting:
        return "the model is random: verdicts differ from run to run"
    return "" if any(map(can_probe, balls)) else "no ball has a radius inside which gradient steps can be taken"


def measure(
    model: Classifier,
    data: Dataset,
    forms: Sequence[Form],
    balls: Sequence[Ball],
    *,
    seed: int,
    batch_size: int = 512,
    clock: Clock = time.perf_counter,
) -> tuple[dict[str, Tensor], dict[Form, Classifier]]:
    """Attack the rows of ``data`` by PGD on the margin in float32 and in each form; nothing of the model is changed.

    Verdicts are the judge's, on the bare module, in every ball with a radius. Times are of the first of these, where
    every form does the same passes, in turns.

    Returns:
        ``times`` (1 + m, repeats) in seconds, float32 first, NaN where a form could not be run; ``lost`` (m,), rows
        that float32 fools and the form does not, or whose output is not finite in the form alone, over all balls;
        ``why`` (b,), a JSON list of what kept each form from being run, as bytes; ``count``; ``seconds``.
        And the forms that ran, ready to be used.
    """
    start, usable = time.monotonic(), [ball for ball in balls if can_probe(ball)]
    times = torch.full((1 + len(forms), REPEATS), math.nan, dtype=torch.float64)
    lost, why, ready = torch.zeros(len(forms), dtype=torch.int64), [""] * len(forms), {}
    if len(data):
        ask = partial(_verdicts, data=data, balls=usable, seed=seed, batch_size=batch_size)
        with untouched(model):
            expected, twin = ask(model, model), _Twin(model)
            for i, form in enumerate(forms):
                try:
                    with form.running(), within(COMPILE_SECONDS) if form.compiled else nullcontext():
                        fast = form.of(model, twin.of(form))
                        lost[i] = _lost(expected, ask(model, fast))
                        _several_gradients(fast, data)
                    ready[form] = fast
                except Late:
                    why[i] = f"compilation took more than {COMPILE_SECONDS} s"
                except Exception as error:  # noqa: BLE001 (a module, or a compiler, may fail in any way)
                    why[i] = shown(error, 200)
            run = partial(_timed, data=data, ball=usable[0], seed=seed, batch_size=batch_size, clock=clock)
            for turn in range(REPEATS):
                times[0, turn] = run(model)
                for i, form in enumerate(forms):
                    if form in ready:
                        with form.running():
                            times[1 + i, turn] = run(ready[form])
    told = torch.tensor(list(json.dumps(why).encode()), dtype=torch.uint8)
    spent = torch.tensor(time.monotonic() - start, dtype=torch.float64)
    return {"times": times, "lost": lost, "why": told, "count": torch.tensor(len(data)), "seconds": spent}, ready


def conclude(forms: Sequence[Form], found: dict[str, Tensor]) -> tuple[Form, Precision]:
    """The form to attack in, and what a run says of it."""
    whole = [round(t, 6) for t in found["times"].median(1).values.tolist()] if int(found["count"]) else []
    why = json.loads(bytes(found["why"].tolist()).decode())
    trials, best = [], (math.inf, FLOAT32)
    for i, form in enumerate([FLOAT32, *forms] if whole else []):
        ran = not math.isnan(whole[i])
        lost = int(found["lost"][i - 1]) if i else 0
        reason, taken = why[i - 1] if i else "", whole[i] if ran else None
        trials.append(Trial(name=form.name, seconds=taken, lost=lost if ran else None, why=reason))
        if i and ran and not lost and whole[i] <= GAIN * whole[0]:
            best = min(best, (whole[i], form), key=lambda each: each[0])
    note = "" if trials else "no row is right when clean"
    rows, seconds = int(found["count"]), round(float(found["seconds"]), 3)
    return best[1], Precision(picked=best[1].name, rows=rows, trials=trials, note=note, seconds=seconds)


@final
class _Twin:
    """One copy of a module for all forms that need one: a large model is not copied four times."""

    def __init__(self, model: Classifier) -> None:
        self.module = model.module
        self.found: nn.Module | None = None

    def of(self, form: Form) -> nn.Module | None:
        """The copy, if the form needs one; those of a plan are alike in the layout of their copies."""
        if not (form.channels_last or form.compiled):
            return None
        if self.found is None:
            assert isinstance(self.module, nn.Module), "functions are not tried"
            self.found = copied(self.module, channels_last=form.channels_last)
        return self.found


def _verdicts(
    model: Classifier, form: Classifier, *, data: Dataset, balls: Sequence[Ball], seed: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """(balls * n,) each: rows that are fooled when attacked in a form, and rows that are undefined then."""
    fooled, undefined = [], []
    for ball in balls:
        attack = PGD(ball=ball, steps=STEPS, loss=margin, keep=Keep.FIRST_SUCCESS)  # as evaluations run it: rows leave
        for x, y, noise in _batches(form, data, seed, batch_size):
            found = attack(form.uncounted(), x, y, noise=noise)
            verdict = judge(model, x, found.x, y, None, norm=ball.norm, eps=float(ball.eps))
            fooled.append(verdict.fooled.cpu())
            undefined.append((verdict.undefined | (found.undefined & ~verdict.fooled)).cpu())
    return torch.cat(fooled), torch.cat(undefined)


def _lost(expected: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> int:
    return int(((expected[0] & ~found[0]) | (found[1] & ~expected[1])).sum())


def _several_gradients(form: Classifier, data: Dataset) -> None:
    """Several gradients of one forward pass, which some attacks take: a form that cannot give them is none."""
    model = form.uncounted()
    x = data.x[:2].to(model.device)
    with model.frozen(), torch.enable_grad():
        x = x.detach().requires_grad_(True)
        logits = model.logits(x)
        model.gradients(logits, x, torch.ones_like(logits).expand(2, *logits.shape))


def _timed(form: Classifier, *, data: Dataset, ball: Ball, seed: int, batch_size: int, clock: Clock) -> float:
    """Seconds of one attack in which every row takes every step, so that all forms do the same passes."""
    attack, limits = PGD(ball=ball, steps=STEPS, loss=margin), Limits(shrink_at=0)
    batches = list(_batches(form, data, seed, batch_size))
    start = clock()
    for x, y, noise in batches:
        attack(form.uncounted(), x, y, noise=noise, limits=limits).success.cpu()  # waits for the device
    return clock() - start


def _batches(form: Classifier, data: Dataset, seed: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Noise]]:
    for start in range(0, len(data), batch_size):
        x, y, ids = (each[start : start + batch_size].to(form.device) for each in (data.x, data.y, data.rows))
        yield x, y, Noise(seed).at(ids).child("precision")
