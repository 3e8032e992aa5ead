"""Doing one job: attack its rows in batches, judge the answers, return what is to be kept."""

import time
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ArgumentTypeError, InputError
from saddlepoint.evaluation import diagnostics, precision, targets
from saddlepoint.evaluation.plan import Job, Plan, Subject
from saddlepoint.evaluation.precision import Form
from saddlepoint.evaluation.store import Outcome
from saddlepoint.evaluation.verify import judge
from saddlepoint.noise import Noise
from saddlepoint.records import FOOLED, HELD, UNDEFINED, WRONG
from saddlepoint.result import AttackResult
from saddlepoint.solve import Attack, IterativeAttack

CODES = (HELD, WRONG, FOOLED, UNDEFINED)
"""A verdict is stored as its place here."""

_LARGEST_BATCH = 512


@final
@dataclass(frozen=True)
class Answer:
    """One attacked batch: what was given, what the attack returned, and the passes that it kept to itself."""

    x: Tensor
    y: Tensor
    target: Tensor | None
    noise: Noise
    result: AttackResult
    unreported: int


def standing(job: Job, outcome: Outcome) -> Tensor:
    """The places (m,) of the rows that a job, of the clean rows or of an attack, left standing."""
    held = outcome["codes"] == CODES.index(HELD)
    return outcome["rows"][held] if job.attack else held.nonzero().squeeze(1) + job.rows.start


@final
class Worker:
    """Does jobs; learns how many rows fit into memory at once.

    Args:  batch_size: None starts at 512 and halves while memory does not suffice.
    """

    def __init__(self, plan: Plan, batch_size: int | None) -> None:
        self.plan = plan
        self.batch_size = batch_size or _LARGEST_BATCH
        self._fast: dict[tuple[str, Form], Classifier] = {}

    def clean(self, job: Job) -> Outcome:
        """Verdicts (held means right) and predictions of the clean rows."""
        start, model, data = time.monotonic(), job.subject.model, self.plan.data
        codes, predicted, done = [], [], job.rows.start
        while done < job.rows.stop:
            rows = slice(done, min(done + self.batch_size, job.rows.stop))
            x, y, ids = (tensor[rows].to(model.device) for tensor in (data.x, data.y, data.rows))
            try:
                verdict = judge(model, x, x, y, None, norm=None, eps=0.0, noise=Noise(self.plan.seed).at(ids))
            except (torch.OutOfMemoryError, MemoryError):
                self._halve(len(x))
                continue
            codes.append(_codes(verdict.fooled, verdict.undefined, WRONG))
            predicted.append(verdict.predicted.cpu())
            done = rows.stop
        return {"codes": torch.cat(codes), "predicted": torch.cat(predicted), "seconds": _since(start)}

    def attack(self, job: Job, rows: Tensor) -> Outcome:
        """Attack rows of the data set.

        Args:  rows: (m,) places, of rows that are right when clean.
        Returns:  rows (m,): places in the data set that were attacked;  codes, predicted, forwards, backwards,
            distance, room, claimed, strayed (m,);  found (f,) and x (f, *f): places and points of the fooled rows,
            or of all that were attacked if the plan wants every point.
        """
        assert job.attack is not None
        start, data = time.monotonic(), self.plan.data
        parts: list[Outcome] = []
        done = 0
        while done < len(rows):
            part = rows[done : done + self.batch_size]
            answer = self._batch(job, job.attack, part)
            if answer is not None:  # else memory did not suffice: the same rows again, fewer at once
                parts.append(_judged(job, part, answer, every_point=self.plan.every_point))
                done += len(part)
        if not parts:
            parts = [_nothing(data)]
        outcome = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return {**outcome, "seconds": _since(start)}

    def diagnosis(self, job: Job) -> Outcome:
        """What the probes measure in a ball."""
        assert job.ball is not None
        return diagnostics.measure(
            job.subject.model,
            self.plan.data,
            job.ball,
            rows=job.probed,
            seed=self.plan.seed,
            batch_size=self.batch_size,
        )

    def trial(self, job: Job, rows: Tensor) -> Outcome:
        """What the forms of a model take and lose on rows that are right when clean; the picked one is kept ready."""
        plan = self.plan
        while True:
            try:
                outcome, ready = precision.measure(
                    job.subject.model,
                    plan.data[rows],
                    plan.forms,
                    [ball for ball, _ in plan.threats],
                    seed=plan.seed,
                    batch_size=self.batch_size,
                )
                break
            except (torch.OutOfMemoryError, MemoryError):
                self._halve(min(len(rows), self.batch_size))
        picked, _ = precision.conclude(plan.forms, outcome)
        if picked in ready:  # compiled already
            self._fast[job.subject.name, picked] = ready[picked]
        return outcome

    def _attacked(self, subject: Subject) -> Classifier:
        """The model in the form in which it is attacked."""
        if subject.form == precision.FLOAT32:
            return subject.model
        key = subject.name, subject.form
        if key not in self._fast:
            self._fast[key] = subject.form.of(subject.model)
        return self._fast[key]

    def _batch(self, job: Job, attack: Attack, rows: Tensor) -> Answer | None:
        """Attack one batch; None after halving the batch size because memory did not suffice."""
        data, model = self.plan.data, job.subject.model
        x, y, ids = (tensor[rows].to(model.device) for tensor in (data.x, data.y, data.rows))
        noise = Noise(self.plan.seed).at(ids)
        try:
            target = targets.choose(self.plan.target, model, x, y, noise)
            before = model.meter.forwards, model.meter.backwards
            fast, draws = self._attacked(job.subject), noise.child(attack.name)
            with job.subject.form.running():
                result = attack(fast, x, y, target=target, noise=draws, limits=self.plan.limits)
        except (torch.OutOfMemoryError, MemoryError):
            self._halve(len(rows))
            return None
        if not isinstance(result, AttackResult):
            raise ArgumentTypeError(f"{attack.name} returned {type(result).__name__}; it must return an AttackResult")
        seen = model.meter.forwards - before[0], model.meter.backwards - before[1]
        return Answer(x, y, target, noise, result, _unreported(attack, seen, result))

    def _halve(self, rows: int) -> None:
        """Half as many at once as did not fit; raises the error at hand if that was one row."""
        if rows == 1:
            raise  # noqa: PLE0704 (called while it is handled)
        self.batch_size = rows // 2


def _judged(job: Job, rows: Tensor, answer: Answer, *, every_point: bool) -> Outcome:
    """Verdicts on one batch, as kept."""
    assert job.ball is not None
    result, target = answer.result, answer.target
    if result.x.shape != answer.x.shape:
        raise InputError(
            f"{job.what} returned points of shape {tuple(result.x.shape)}; they must be like x, {tuple(answer.x.shape)}"
        )
    model, norm, eps = job.subject.model, job.ball.norm, float(job.ball.eps)
    verdict = judge(model, answer.x, result.x, answer.y, target, norm=norm, eps=eps, noise=answer.noise)
    vacuous = torch.zeros_like(answer.y, dtype=torch.bool) if target is None else target == answer.y
    fooled = verdict.fooled & ~vacuous
    undefined = verdict.undefined | (result.undefined & ~fooled)
    kept = (fooled & ~undefined).cpu() | every_point
    return {
        "rows": rows,
        "codes": _codes(fooled, undefined, FOOLED),
        "predicted": verdict.predicted.cpu(),
        "forwards": result.forwards.cpu(),
        "backwards": result.backwards.cpu(),
        "distance": verdict.distance.float().cpu(),
        "room": torch.where(vacuous, float("inf"), verdict.room).float().cpu(),
        "claimed": (result.success & ~verdict.fooled & ~verdict.outside).cpu(),
        "strayed": verdict.outside.cpu(),
        "unreported": (torch.arange(len(rows)) == 0) * answer.unreported,  # of the batch, beside its first row
        "found": rows[kept],
        "x": result.x.detach().cpu()[kept],
    }


def _unreported(attack: Attack, seen: tuple[int, int], result: AttackResult) -> int:
    """Passes of rows that the meter saw beyond those that an attack from elsewhere may account for.

    That is every row in as many passes as the busiest row tells of, and one more forward to verify. The driver counts
    for attacks of its own kind, and the meter for functions.
    """
    if isinstance(attack, IterativeAttack) or type(attack).__module__.startswith("saddlepoint."):
        return 0
    told = [len(passes) * int(passes.max()) for passes in (result.forwards + 1, result.backwards)]
    return sum(max(0, counted - most) for counted, most in zip(seen, told, strict=True))


def _nothing(data: Dataset) -> Outcome:
    """The outcome of a job without rows to attack."""
    whole, flag = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool)
    names = dict.fromkeys(("rows", "predicted", "forwards", "backwards", "unreported", "found"), whole)
    return {
        **{name: tensor.clone() for name, tensor in names.items()},
        "codes": torch.zeros(0, dtype=torch.uint8),
        "distance": torch.zeros(0),
        "room": torch.zeros(0),
        "claimed": flag,
        "strayed": flag.clone(),
        "x": data.x[:0].clone(),
    }


def _codes(hit: Tensor, undefined: Tensor, letter: str) -> Tensor:
    codes = torch.where(hit, CODES.index(letter), CODES.index(HELD))
    return torch.where(undefined, CODES.index(UNDEFINED), codes).to("cpu", torch.uint8)


def _since(start: float) -> Tensor:
    return torch.tensor(time.monotonic() - start, dtype=torch.float64)
