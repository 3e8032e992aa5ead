"""What an evaluation will do: its jobs, and the key of each, a hash of everything that can move its numbers."""

import hashlib
import itertools
import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor

from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.evaluation import precision
from saddlepoint.evaluation.adaptive import Against, Part, parts
from saddlepoint.evaluation.diagnostics import can_probe
from saddlepoint.evaluation.doctor import glance
from saddlepoint.evaluation.ensembles import Suite
from saddlepoint.evaluation.findings import in_training, of_logits, twice
from saddlepoint.evaluation.likeness import likeness
from saddlepoint.evaluation.precision import FLOAT32, Form
from saddlepoint.evaluation.suites import Named, build, described, recognisable, transferred
from saddlepoint.problem import Limits
from saddlepoint.records import NUMERICS_VERSION, Finding
from saddlepoint.solve import Attack

ROWS = 500
"""Rows of one job: what a killed run can lose. No number depends on it."""

FORMAT = 3
"""Of an outcome: raised when one gains a field, so that older ones are computed again."""

_PROCESS = uuid.uuid4().hex  # in the key of what cannot be recognised in another process


@final
@dataclass(frozen=True)
class Subject:
    """A model of an evaluation.

    Args:
        fingerprint: of its parameters, class, bounds and normalisation.
        likeness: a few of its numbers on the first rows, forward and backward: its code is in no fingerprint.
        lasting: whether its numbers may be reused by another process: not if it is random, or a plain function.
        findings: of the short examination that goes before the attacks.
        form: in which attacks compute it; the judge, the clean rows and the diagnosis go by the model as it was given.
    """

    name: str
    model: Classifier
    fingerprint: str
    likeness: Mapping[str, list[float]]
    lasting: bool
    findings: Sequence[Finding]
    form: Form = FLOAT32


@final
@dataclass(frozen=True)
class Job:
    """One attack (None: the clean inputs) inside one ball on some rows of one model.

    Args:
        rows: places in the data set;  threat: place of the ball in the list of balls.
        clean: the job of the clean rows, None for itself.
        earlier: in a suite, the job of the member before on the same rows: only what it left standing is attacked.
        unit: jobs of one number must be done by one process of several.
        probed: of the diagnosis of that ball, which chooses its rows itself: how many, at most; 0 for all other jobs.
        trial: of the forms of the model, on rows that are right when clean.
    """

    subject: Subject
    ball: Ball | None
    attack: Attack | None
    rows: range
    threat: int
    key: str
    clean: "Job | None"
    earlier: "Job | None"
    unit: int
    probed: int = 0
    trial: bool = False

    @property
    def what(self) -> str:
        """For a progress bar."""
        if self.probed and self.ball is not None:
            return f"{self.subject.name}  diagnosis  {self.ball.norm} {float(self.ball.eps):g}"
        if self.trial:
            return f"{self.subject.name}  precision"
        if self.attack is None or self.ball is None:
            return f"{self.subject.name}  clean"
        eps = float(self.ball.eps)
        return f"{self.subject.name}  {self.attack.name}  {self.ball.norm}{'' if math.isinf(eps) else f' {eps:g}'}"


@final
@dataclass(frozen=True)
class Plan:
    """Every job of an evaluation, in order.

    Args:
        threats: the attacks of each ball;  target, seed, limits: as asked for.
        parts: the rows of each job and their fingerprint.
        every_point: outcomes hold the points of all rows that were attacked, not only of those that were fooled.
        suite: the attacks are its members: each sees only the rows that all before it left standing.
        probed: how many rows the diagnosis of each ball looks at; 0 leaves it out.
        against: how models behind transforms are attacked beside; None attacks them as all others.
        forms: those of which each model gets the fastest that loses no verdict, before it is attacked; none leaves it
            as it is.
    """

    data: Dataset
    subjects: Sequence[Subject]
    threats: Sequence[tuple[Ball, Sequence[Attack]]]
    target: str
    seed: int
    limits: Limits
    parts: Sequence[tuple[range, str]] = field(default=())
    every_point: bool = False
    suite: str | None = None
    probed: int = 0
    forms: Sequence[Form] = ()
    against: Against | None = None

    def attacks(self, subject: Subject, threat: int) -> list[Part]:
        """What is run on a model inside a ball, in order."""
        ball, attacks = self.threats[threat]
        return parts(subject.model, ball, attacks, self.against, suite=self.suite is not None)

    def jobs(self) -> Iterator[Job]:
        """The clean rows of a model first, then the trial of its forms, each attack of each ball, and its diagnosis."""
        units = itertools.count()
        for subject in self.subjects:
            keys = [self._key(subject, None, None, print_) for _, print_ in self.parts]
            clean = [
                Job(subject, None, None, rows, 0, key, None, None, next(units))
                for (rows, _), key in zip(self.parts, keys, strict=True)
            ]
            yield from clean
            if self.forms and not self.untried(subject):
                rows = range(min(precision.ROWS, len(self.data)))  # their number
                key = self._key(subject, None, None, self.data.fingerprint, more={"trial": self._trial})
                yield Job(subject, None, None, rows, 0, key, None, None, next(units), trial=True)
            for threat, (ball, _) in enumerate(self.threats):
                before: list[Job | None] = [None] * len(clean)
                for part in self.attacks(subject, threat):
                    attack = part.attack
                    for i, (rows, print_) in enumerate(self.parts):
                        earlier = None if part.alone else before[i]
                        key = self._key(subject, ball, attack, print_, earlier)
                        unit = next(units) if earlier is None else earlier.unit
                        job = Job(subject, ball, attack, rows, threat, key, clean[i], earlier, unit)
                        yield job
                        if self.suite is not None and not part.alone:
                            before[i] = job
                if self.probed and can_probe(ball, self.target):
                    rows = range(min(self.probed, len(self.data)))  # their number; the diagnosis chooses them
                    key = self._key(subject, ball, None, self.data.fingerprint, more={"probed": self.probed})
                    yield Job(subject, ball, None, rows, threat, key, None, None, next(units), self.probed)

    def spec(self) -> dict[str, Any]:
        """What makes this evaluation the same as another, as JSON."""
        return {
            "numerics": NUMERICS_VERSION,
            "models": {s.name: {"fingerprint": s.fingerprint, **s.likeness} for s in self.subjects},
            "data": {"name": self.data.name, "rows": len(self.data), "fingerprint": self.data.fingerprint},
            "suite": self.suite,
            "threats": [
                {"ball": ball.describe(), "attacks": [described(attack) for attack in attacks]}
                for ball, attacks in self.threats
            ],
            "target": self.target,
            "seed": self.seed,
            "limits": settings_of(self.limits),
            "points": self._points,
            "probed": self.probed or None,
            "forms": [form.name for form in self.forms] or None,
        } | self.comparison

    @property
    def comparison(self) -> dict[str, Any]:
        """How models behind transforms are attacked, as JSON, if there are any."""
        defended = self.against is not None and any(subject.model.stages for subject in self.subjects)
        return {"against": vars(self.against)} if defended else {}

    def untried(self, subject: Subject) -> str:
        """Why a model is attacked as it was given, or nothing."""
        return precision.untried(subject.model, [ball for ball, _ in self.threats], lasting=subject.lasting)

    def settled(self, forms: Sequence[Form]) -> "Plan":
        """The plan whose models, in order, are attacked in these forms."""
        subjects = [replace(each, form=form) for each, form in zip(self.subjects, forms, strict=True)]
        return replace(self, subjects=subjects)

    @property
    def _trial(self) -> Any:  # noqa: ANN401 (JSON)
        return {"forms": [form.name for form in self.forms], "balls": [ball.describe() for ball, _ in self.threats]}

    @property
    def _points(self) -> str:
        return "all" if self.every_point else "fooled"

    def _key(
        self,
        subject: Subject,
        ball: Ball | None,
        attack: Attack | None,
        rows: str,
        earlier: Job | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> str:
        model = subject.model
        lasting = subject.lasting and (attack is None or recognisable(attack))
        about = {
            "numerics": NUMERICS_VERSION,
            "format": FORMAT,
            "model": subject.fingerprint,
            "dtype": str(model.dtype),
            "autocast": str(model.autocast),
            "device": model.device.type,
            "torch": torch.__version__,
            "rows": rows,
            "ball": None if ball is None else ball.describe(),
            "attack": None if attack is None else described(attack),
            "earlier": None if earlier is None else earlier.key,
            "target": self.target,
            "seed": self.seed,
            "limits": settings_of(self.limits),
            "points": self._points,
            "process": None if lasting else _PROCESS,
        } | dict(more or {})
        if attack is not None and subject.form != FLOAT32:
            about["form"] = subject.form.name
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def make_plan(
    models: Mapping[str, Classifier],
    data: Dataset,
    balls: Sequence[Ball],
    attacks: Sequence[Named | Attack],
    *,
    target: str,
    seed: int,
    limits: Limits,
    suite: Suite | None = None,
    probed: int = 0,
    against: Against | None = None,
    surrogates: Mapping[str, Classifier] | None = None,
) -> Plan:
    """The plan of an evaluation; each model is examined on a few rows: whether it is random, and see doctor.glance."""
    blind = surrogates or {}

    def members(ball: Ball) -> Sequence[Attack]:
        if suite is not None:
            own = suite.members(ball)
        else:
            own = [build(attack, ball) if isinstance(attack, str | Mapping) else attack for attack in attacks]
        return [*own, *(transferred(ball, surrogate, name) for name, surrogate in blind.items())]

    threats = [(ball, members(ball)) for ball in balls]
    subjects = [_subject(name, model, data) for name, model in models.items()]
    ranges = [range(i, min(i + ROWS, len(data))) for i in range(0, len(data), ROWS)]
    pieces = [(rows, _rows(data, rows)) for rows in ranges]
    name = None if suite is None else suite.name + "".join(f" and transfer from {source}" for source in blind)
    return Plan(data, subjects, threats, target, seed, limits, pieces, suite=name, probed=probed, against=against)


def settings_of(limits: Limits) -> dict[str, Any]:
    """What of a budget can move a number, as JSON."""
    return {name: repr(getattr(limits, name)) for name in ("forwards", "backwards", "seconds")}


def _subject(name: str, model: Classifier, data: Dataset) -> Subject:
    x = data.x[:16].to(model.device)
    first, second = (logits.cpu() for logits in twice(model, x))
    training = in_training(model, x)
    lasting = model.lasting and torch.equal(first.nan_to_num(), second.nan_to_num())
    code = f"{type(model.bare.module).__module__}.{type(model.bare.module).__qualname__}"
    mark = f"{model.fingerprint} {code} {'' if lasting else _PROCESS}"
    known = likeness(model, x, first)
    told = [*of_logits(name, first, second, None if training is None else training.cpu()), *glance(name, model, data)]
    return Subject(name, model, hashlib.sha256(mark.encode()).hexdigest(), known, lasting, told)


def _rows(data: Dataset, rows: range) -> str:
    digest = hashlib.sha256()
    for tensor in (data.x, data.y, data.rows):
        part = tensor[rows.start : rows.stop]
        digest.update(f"{part.dtype} {tuple(part.shape)}".encode() + _bytes(part))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()
