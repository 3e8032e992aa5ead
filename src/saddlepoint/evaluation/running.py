"""One evaluation on its way: attack the rows of a model in batches, judge, count."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, final

import torch
from torch import Tensor, nn

from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.evaluation import findings, pictures, targets
from saddlepoint.evaluation.stats import median, wilson
from saddlepoint.evaluation.suites import settings
from saddlepoint.evaluation.verify import Verdicts, judge
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.records import FOOLED, HELD, UNDEFINED, WRONG, AttackRecord, Finding, ModelRecord, ThreatRecord
from saddlepoint.result import AttackResult
from saddlepoint.solve import Attack

Progress = Callable[[int, int, str], None]
"""Called with (rows done, rows in all, what is running)."""

T = TypeVar("T")
_KEPT_SAMPLES = 64


@final
@dataclass(frozen=True)
class Subject:
    """A model under attack, its verdicts and predictions (n,) on the clean rows."""

    name: str
    model: Classifier
    clean: str
    predicted: Tensor


@final
@dataclass(frozen=True)
class Answer:
    """One attacked batch: the rows' places in the data, inputs, labels, targets, what the attack returned, verdicts."""

    rows: Tensor
    x: Tensor
    y: Tensor
    target: Tensor | None
    result: AttackResult
    verdict: Verdicts


@final
@dataclass
class Tally:
    """Counts of one attack, growing batch by batch."""

    letters: list[str]
    forwards: int = 0
    backwards: int = 0
    unconfirmed: int = 0
    strayed: int = 0
    distances: list[Tensor] = field(default_factory=list)
    samples: list[pictures.Sample] = field(default_factory=list)


@final
class Running:
    """The settings of an evaluation, how far it is, and what it has found."""

    def __init__(
        self,
        data: Dataset,
        *,
        target: str,
        noise: Noise,
        batch_size: int,
        limits: Limits,
        draw: bool,
        progress: Progress | None,
        total: int,
    ) -> None:
        self.data, self.target, self.noise, self.limits = data, target, noise, limits
        self.batch_size, self.draw, self.progress, self.total = batch_size, draw, progress, total
        self.done = 0
        self.files: dict[str, bytes] = {}
        self.findings: list[Finding] = []

    def model(self, number: int, name: str, model: Classifier, plan: Mapping[Ball, Sequence[Attack]]) -> ModelRecord:
        """Judge the clean rows of one model, then every attack of every ball."""
        self.findings += findings.of_outputs(name, model, self.data.x[:16].to(model.device))
        clean, predicted = self._clean(model)
        subject = Subject(name, model, clean, predicted)
        threats = [
            self._threat(subject, ball, attacks, f"{number}-{i}") for i, (ball, attacks) in enumerate(plan.items())
        ]
        module = model.module
        return ModelRecord(
            name=name,
            fingerprint=model.fingerprint,
            parameters=sum(p.numel() for p in module.parameters()) if isinstance(module, nn.Module) else 0,
            classes=model.num_classes or 0,
            bounds=(model.bounds.lower, model.bounds.upper),
            clean=wilson(clean.count(HELD), len(self.data)),
            threats=threats,
        )

    def _clean(self, model: Classifier) -> tuple[str, Tensor]:
        """One letter per row (held means right), and the predicted classes."""
        letters, predicted = [], []

        def ask(rows: Tensor) -> Verdicts:
            x, y = self.data.x[rows].to(model.device), self.data.y[rows].to(model.device)
            return judge(model, x, x, y, None, norm=None, eps=0.0)

        for verdict in self._batches(torch.arange(len(self.data)), ask):
            letters += _letters(verdict.fooled, verdict.undefined, fooled=WRONG)
            predicted.append(verdict.predicted.cpu())
        return "".join(letters), torch.cat(predicted)

    def _threat(self, subject: Subject, ball: Ball, attacks: Sequence[Attack], prefix: str) -> ThreatRecord:
        outcomes = [self._attack(subject, attack, ball) for attack in attacks]
        verdicts = "".join(_worst(letters) for letters in zip(*(r.verdicts for r, _ in outcomes), strict=True))
        strongest, samples = min(outcomes, key=lambda outcome: outcome[0].robust.count)
        k = subject.model.num_classes or 0
        names = [*self.data.classes, *(str(i) for i in range(len(self.data.classes), k))]
        chosen = pictures.choose(samples)
        shown, files = pictures.draw(chosen, strongest.name, names, subject.model.bounds, prefix)
        self.files.update(files)
        return ThreatRecord(
            norm=ball.norm,
            eps=float(ball.eps),
            attacks=[record for record, _ in outcomes],
            worst=wilson(verdicts.count(HELD), len(self.data)),
            verdicts=verdicts,
            pictures=shown,
        )

    def _attack(self, subject: Subject, attack: Attack, ball: Ball) -> tuple[AttackRecord, Sequence[pictures.Sample]]:
        """Run one attack on the rows that are right when clean."""
        clock, tally = time.monotonic(), Tally(list(subject.clean))
        index = torch.tensor([i for i, letter in enumerate(subject.clean) if letter == HELD], dtype=torch.int64)
        self.done += len(self.data) - len(index)
        for answer in self._batches(index, lambda rows: self._answer(subject.model, attack, ball, rows)):
            self._add(tally, subject, answer)
            self.done += len(answer.rows)
            if self.progress is not None:
                self.progress(self.done, self.total, f"{subject.name}  {attack.name}  {ball.norm} {float(ball.eps):g}")
        self.findings += findings.of_tally(subject.name, attack.name, tally.unconfirmed, tally.strayed)
        return AttackRecord(
            name=attack.name,
            settings=settings(attack),
            robust=wilson(tally.letters.count(HELD), len(tally.letters)),
            fooled=tally.letters.count(FOOLED),
            undefined=tally.letters.count(UNDEFINED),
            attacked=len(index),
            forwards=tally.forwards,
            backwards=tally.backwards,
            distance=median(tally.distances),
            verdicts="".join(tally.letters),
            seconds=round(time.monotonic() - clock, 3),
        ), tally.samples

    def _batches(self, index: Tensor, work: Callable[[Tensor], T]) -> Iterator[T]:
        """What ``work`` says of these rows, batch by batch; where memory does not suffice, again with fewer at once."""
        start = 0
        while start < len(index):
            rows = index[start : start + self.batch_size]
            try:
                done = work(rows)
            except (torch.OutOfMemoryError, MemoryError):
                if len(rows) == 1:
                    raise
                self.batch_size = len(rows) // 2
                continue
            start += len(rows)
            yield done

    def _answer(self, model: Classifier, attack: Attack, ball: Ball, rows: Tensor) -> Answer:
        """Attack one batch, and judge what comes back."""
        x, y = self.data.x[rows].to(model.device), self.data.y[rows].to(model.device)
        ids = self.data.rows[rows].to(model.device)
        target = targets.choose(self.target, model, x, y, self.noise.at(ids))
        noise = self.noise.child(attack.name).at(ids)
        result = attack(model, x, y, target=target, noise=noise, limits=self.limits)
        verdict = judge(model, x, result.x, y, target, norm=ball.norm, eps=float(ball.eps))
        return Answer(rows, x, y, target, result, verdict)

    def _add(self, tally: Tally, subject: Subject, answer: Answer) -> None:
        """Enter the verdicts of one batch."""
        result, target, verdict = answer.result, answer.target, answer.verdict
        vacuous = torch.zeros_like(answer.y, dtype=torch.bool) if target is None else target == answer.y
        fooled = verdict.fooled & ~vacuous
        undefined = verdict.undefined | (result.undefined & ~fooled)
        for row, letter in zip(answer.rows.tolist(), _letters(fooled, undefined, fooled=FOOLED), strict=True):
            tally.letters[row] = letter
        tally.forwards += int(result.forwards.sum())
        tally.backwards += int(result.backwards.sum())
        tally.unconfirmed += int((result.success & ~verdict.fooled & ~verdict.undefined).sum())
        tally.strayed += int(verdict.outside.sum())
        tally.distances.append(verdict.distance[fooled].cpu())
        if self.draw and len(tally.samples) < _KEPT_SAMPLES:
            tally.samples += self._samples(subject, answer, fooled)[: _KEPT_SAMPLES - len(tally.samples)]

    def _samples(self, subject: Subject, answer: Answer, fooled: Tensor) -> list[pictures.Sample]:
        """The first fooled rows of a batch, for pictures."""
        return [
            pictures.Sample(
                row=int(self.data.rows[answer.rows[i]]),
                y=int(answer.y[i]),
                clean_prediction=int(subject.predicted[answer.rows[i]]),
                adversarial_prediction=int(answer.verdict.predicted[i]),
                distance=float(answer.verdict.distance[i]),
                x0=answer.x[i].cpu(),
                x=answer.result.x[i].cpu(),
            )
            for i in fooled.nonzero().squeeze(1).tolist()[:_KEPT_SAMPLES]
        ]


def _letters(hit: Tensor, undefined: Tensor, *, fooled: str) -> list[str]:
    pairs = zip(hit.tolist(), undefined.tolist(), strict=True)
    return [UNDEFINED if u else fooled if h else HELD for h, u in pairs]


def _worst(letters: tuple[str, ...]) -> str:
    """Wrong when clean, else fooled by any, else undefined under any, else held."""
    return next((letter for letter in (WRONG, FOOLED, UNDEFINED) if letter in letters), HELD)
