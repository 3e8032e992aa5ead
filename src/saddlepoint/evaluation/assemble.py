"""From the outcomes of all jobs to the records of a run; the same whoever did the jobs, in whatever order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint.balls import Ball
from saddlepoint.evaluation import findings, pictures
from saddlepoint.evaluation.plan import Job, Plan, Subject
from saddlepoint.evaluation.stats import median, wilson
from saddlepoint.evaluation.store import Outcome, Store
from saddlepoint.evaluation.suites import settings
from saddlepoint.evaluation.work import CODES
from saddlepoint.records import FOOLED, HELD, UNDEFINED, WRONG, AttackRecord, Finding, ModelRecord, ThreatRecord
from saddlepoint.solve import Attack

_MOST_SAMPLES = 64


@final
@dataclass
class Assembly:
    """What has been put together: models, findings, picture files by name, seconds of work."""

    models: list[ModelRecord]
    findings: list[Finding]
    files: dict[str, bytes]
    seconds: float = 0.0


def assemble(plan: Plan, store: Store, *, draw: bool) -> Assembly:
    """Read every outcome of the plan; all must be there."""
    jobs = list(plan.jobs())
    done = Assembly([], [], {})
    for number, subject in enumerate(plan.subjects):
        mine = [job for job in jobs if job.subject is subject]
        builder = _Builder(plan, store, subject, f"{number}", done, draw)
        done.models.append(builder.model(mine))
    return done


@final
@dataclass(frozen=True)
class _Builder:
    """The record of one model."""

    plan: Plan
    store: Store
    subject: Subject
    prefix: str
    done: Assembly
    draw: bool

    def model(self, jobs: Sequence[Job]) -> ModelRecord:
        subject, rows = self.subject, len(self.plan.data)
        first = [self._read(job.key) for job in jobs if job.attack is None]
        clean = _letters(torch.cat([part["codes"] for part in first]))
        predicted = torch.cat([part["predicted"] for part in first])
        self.done.findings += findings.of_logits(subject.name, *subject.looks)
        threats = [
            self._threat(i, ball, attacks, [job for job in jobs if job.attack and job.threat == i], clean, predicted)
            for i, (ball, attacks) in enumerate(self.plan.threats)
        ]
        module = subject.model.module
        return ModelRecord(
            name=subject.name,
            fingerprint=subject.model.fingerprint,
            parameters=sum(p.numel() for p in module.parameters()) if isinstance(module, nn.Module) else 0,
            classes=subject.model.num_classes or 0,
            bounds=(subject.model.bounds.lower, subject.model.bounds.upper),
            clean=wilson(clean.count(HELD), rows),
            threats=threats,
        )

    def _threat(
        self, number: int, ball: Ball, attacks: Sequence[Attack], jobs: Sequence[Job], clean: str, predicted: Tensor
    ) -> ThreatRecord:
        each = len(jobs) // len(attacks)
        records, found = [], []
        for i, attack in enumerate(attacks):
            parts = [self._read(job.key) for job in jobs[i * each : (i + 1) * each]]
            records.append(self._attack(attack, parts, clean))
            found.append(self._samples(parts, predicted))
        verdicts = "".join(_worst(letters) for letters in zip(*(r.verdicts for r in records), strict=True))
        strongest = min(range(len(records)), key=lambda i: records[i].robust.count)
        k = self.subject.model.num_classes or 0
        names = [*self.plan.data.classes, *(str(i) for i in range(len(self.plan.data.classes), k))]
        shown, files = pictures.draw(
            pictures.choose(found[strongest]),
            records[strongest].name,
            names,
            self.subject.model.bounds,
            f"{self.prefix}-{number}",
        )
        self.done.files.update(files)
        return ThreatRecord(
            norm=ball.norm,
            eps=float(ball.eps),
            attacks=records,
            worst=wilson(verdicts.count(HELD), len(verdicts)),
            verdicts=verdicts,
            pictures=shown,
        )

    def _attack(self, attack: Attack, parts: Sequence[Outcome], clean: str) -> AttackRecord:
        whole = {name: torch.cat([part[name] for part in parts]) for name in ("rows", "codes", "claimed", "strayed")}
        letters = list(clean)
        for row, letter in zip(whole["rows"].tolist(), _letters(whole["codes"]), strict=True):
            letters[row] = letter
        self.done.findings += findings.of_tally(
            self.subject.name, attack.name, int(whole["claimed"].sum()), int(whole["strayed"].sum())
        )
        hit = CODES.index(FOOLED)
        return AttackRecord(
            name=attack.name,
            settings=settings(attack),
            robust=wilson(letters.count(HELD), len(letters)),
            fooled=letters.count(FOOLED),
            undefined=letters.count(UNDEFINED),
            attacked=len(whole["rows"]),
            forwards=sum(int(part["forwards"].sum()) for part in parts),
            backwards=sum(int(part["backwards"].sum()) for part in parts),
            distance=median([part["distance"][part["codes"] == hit] for part in parts]),
            verdicts="".join(letters),
            seconds=round(sum(float(part["seconds"]) for part in parts), 3),
        )

    def _samples(self, parts: Sequence[Outcome], predicted: Tensor) -> list[pictures.Sample]:
        """The first fooled rows, for pictures."""
        data, samples = self.plan.data, list[pictures.Sample]()
        for part in parts if self.draw else ():
            place = {row: i for i, row in enumerate(part["rows"].tolist())}
            for point, row in zip(part["x"], part["found"].tolist(), strict=True):
                if len(samples) == _MOST_SAMPLES:
                    return samples
                samples.append(
                    pictures.Sample(
                        row=int(data.rows[row]),
                        y=int(data.y[row]),
                        clean_prediction=int(predicted[row]),
                        adversarial_prediction=int(part["predicted"][place[row]]),
                        distance=float(part["distance"][place[row]]),
                        x0=data.x[row],
                        x=point,
                    )
                )
        return samples

    def _read(self, key: str) -> Outcome:
        outcome = self.store.get(key)
        assert outcome is not None, "assembled before every job was done"
        self.done.seconds += float(outcome["seconds"])
        return outcome


def _letters(codes: Tensor) -> str:
    return "".join(CODES[code] for code in codes.tolist())


def _worst(letters: tuple[str, ...]) -> str:
    """Wrong when clean, else fooled by any, else undefined under any, else held."""
    return next((letter for letter in (WRONG, FOOLED, UNDEFINED) if letter in letters), HELD)
