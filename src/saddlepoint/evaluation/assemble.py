"""From the outcomes of all jobs to the records of a run; the same whoever did the jobs, in whatever order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint.balls import Ball
from saddlepoint.evaluation import diagnostics, findings, pictures, precision
from saddlepoint.evaluation.adaptive import Part
from saddlepoint.evaluation.plan import Job, Plan, Subject
from saddlepoint.evaluation.stats import median
from saddlepoint.evaluation.store import Outcome, Store
from saddlepoint.evaluation.suites import minimal, settings, stops
from saddlepoint.evaluation.work import CODES
from saddlepoint.records import (
    FOOLED,
    HELD,
    UNDEFINED,
    WRONG,
    Appearance,
    AttackRecord,
    Distances,
    Finding,
    FooledPicture,
    HeldPicture,
    ModelRecord,
    Passes,
    Precision,
    ThreatRecord,
    distances,
    wilson,
)
from saddlepoint.solve import Attack

_TALLIED = ("codes", "attacked", "forwards", "backwards", "room")


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
        clean = _joined([self._read(job) for job in jobs if job.ball is None and not job.trial])
        verdicts = _letters(clean["codes"])
        self.done.findings += subject.findings
        threats = [
            self._diagnosed(
                self._threat(i, ball, [job for job in jobs if job.attack and job.threat == i], clean),
                next((job for job in jobs if job.probed and job.threat == i), None),
            )
            for i, (ball, _) in enumerate(self.plan.threats)
        ]
        module = subject.model.module
        return ModelRecord(
            name=subject.name,
            fingerprint=subject.model.fingerprint,
            parameters=sum(p.numel() for p in module.parameters()) if isinstance(module, nn.Module) else 0,
            classes=subject.model.num_classes or 0,
            bounds=(subject.model.bounds.lower, subject.model.bounds.upper),
            clean=wilson(verdicts.count(HELD), rows),
            transforms=[stage.title for stage in subject.model.stages],
            threats=threats,
            verdicts=verdicts,
            precision=self._precision(next((job for job in jobs if job.trial), None)),
        )

    def _precision(self, job: Job | None) -> Precision | None:
        """What was tried, and picked; None if nothing was to be."""
        if not self.plan.forms:
            return None
        if job is None:
            note = self.plan.untried(self.subject)
            return Precision(picked=precision.native(self.subject.model), rows=0, trials=[], note=note, seconds=0.0)
        outcome = self.store.get(job.key)
        assert outcome is not None, "assembled before every job was done"
        self.done.seconds += float(outcome["seconds"])
        return precision.conclude(self.plan.forms, outcome)[1]

    def _threat(self, number: int, ball: Ball, jobs: Sequence[Job], clean: Outcome) -> ThreatRecord:
        parts = self.plan.attacks(self.subject, number)
        attacks = [part.attack for part in parts]
        each = len(jobs) // len(attacks)
        mine = [jobs[i * each : (i + 1) * each] for i in range(len(attacks))]
        found, codes = [], clean["codes"]
        for part, some in zip(parts, mine, strict=True):
            whole = _joined([self._read(job) for job in some])
            found.append(_spread(whole, clean["codes"] if part.alone else codes))
            if (
                self.plan.suite is not None and not part.alone
            ):  # a member leaves what it was not given as those before it left it
                codes = found[-1]["codes"]
        records = [self._attack(*each) for each in zip(parts, found, _added(found), strict=True)]
        verdicts = "".join(_worst(letters) for letters in zip(*(r.verdicts for r in records), strict=True))
        shown = self._pictures(mine, attacks, found, clean["predicted"], f"{self.prefix}-{number}")
        return ThreatRecord(
            norm=ball.norm,
            eps=float(ball.eps) if math.isfinite(ball.eps) else None,
            attacks=records,
            worst=wilson(verdicts.count(HELD), len(verdicts)),
            verdicts=verdicts,
            fooled_as=_fooled_as(found),
            distances=_nearest(found) if any(map(minimal, attacks)) else None,
            passes=_passes(attacks, found),
            easiest=shown[0],
            hardest=shown[1],
        )

    def _diagnosed(self, threat: ThreatRecord, job: Job | None) -> ThreatRecord:
        """The same with its diagnosis, next to its verdicts, if the plan has one."""
        if job is None:
            return threat
        outcome = self.store.get(job.key)
        assert outcome is not None, "assembled before every job was done"
        self.done.seconds += float(outcome["seconds"])
        diagnosis = diagnostics.conclude(outcome, threat.verdicts)
        self.done.findings += findings.of_diagnosis(self.subject.name, threat, diagnosis)
        return replace(threat, diagnosis=diagnosis)

    def _attack(self, part: Part, whole: Outcome, added: int) -> AttackRecord:
        attack = part.attack
        letters, attacked = _letters(whole["codes"]), whole["attacked"]
        hit = attacked & (whole["codes"] == CODES.index(FOOLED))
        form = "" if self.subject.form == precision.FLOAT32 else self.subject.form.name
        if self.subject.model.random:  # the judge's draw is another: that some claims do not hold is to be expected
            whole["claimed"] = torch.zeros_like(whole["claimed"])
        against = (int(whole[name].sum()) for name in ("claimed", "strayed", "unreported"))
        self.done.findings += findings.of_tally(self.subject.name, attack.name, *against, form=form)
        return AttackRecord(
            name=attack.name,
            settings=settings(attack),
            role=part.role,
            robust=wilson(letters.count(HELD), len(letters)),
            fooled=int(hit.sum()),
            added=added,
            undefined=letters.count(UNDEFINED),
            attacked=int(attacked.sum()),
            forwards=int(whole["forwards"].sum()),
            backwards=int(whole["backwards"].sum()),
            distance=median([whole["distance"][hit]]),
            verdicts=letters,
            seconds=round(float(whole["seconds"].sum()), 3),
            distances=_nearest([whole]) if minimal(attack) else None,
            appearance=_appearance(whole, hit),
        )

    def _pictures(
        self,
        jobs: Sequence[Sequence[Job]],
        attacks: Sequence[Attack],
        found: Sequence[Outcome],
        predicted: Tensor,
        prefix: str,
    ) -> tuple[list[FooledPicture], list[HeldPicture]]:
        """The rows that are easiest to fool, and those that are hardest."""
        if not self.draw:
            return [], []
        data, tally = self.plan.data, _tally(found)
        easy = [
            pictures.Sample(
                row=int(data.rows[row]),
                attack=attacks[i].name,
                fooled_by=int(tally.fooled[:, row].sum()),
                passes=int(tally.passes[:, row].sum()),
                y=int(data.y[row]),
                clean_prediction=int(predicted[row]),
                adversarial_prediction=int(found[i]["predicted"][row]),
                distance=float(found[i]["distance"][row]),
                x0=data.x[row],
                x=self._point(jobs[i], row),
            )
            for row, i in tally.easiest()
        ]
        hard = [
            pictures.Held(
                int(data.rows[row]), attacks[i].name, int(data.y[row]), float(tally.room[i, row]), data.x[row]
            )
            for row, i in tally.hardest()
        ]
        k, bounds = self.subject.model.num_classes or 0, self.subject.model.bounds
        names = [*data.classes, *(str(i) for i in range(len(data.classes), k))]
        easiest, files = pictures.draw(easy, names, bounds, prefix)
        hardest, more = pictures.draw_held(hard, names, bounds, prefix)
        self.done.files.update(files | more)
        return easiest, hardest

    def _point(self, jobs: Sequence[Job], row: int) -> Tensor:
        """The point that fooled a row: read again, since keeping all of them could fill the memory."""
        outcome = self.store.get(next(job.key for job in jobs if row in job.rows))
        assert outcome is not None, "assembled before every job was done"
        return outcome["x"][outcome["found"] == row][0]

    def _read(self, job: Job) -> Outcome:
        """An outcome without its points."""
        outcome = self.store.get(job.key)
        assert outcome is not None, "assembled before every job was done"
        self.done.seconds += float(outcome["seconds"])
        return {name: tensor.reshape(-1) for name, tensor in outcome.items() if name not in ("x", "found")}


def _joined(parts: Sequence[Outcome]) -> Outcome:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _spread(whole: Outcome, clean: Tensor) -> Outcome:
    """What an attack found, on all rows: a row that was not attacked keeps its clean code, and has 0 elsewhere."""
    rows = whole["rows"]
    found = {
        name: torch.zeros(len(clean), dtype=tensor.dtype).index_put((rows,), tensor)
        for name, tensor in whole.items()
        if name not in ("rows", "seconds")
    }
    found["codes"] = clean.index_put((rows,), whole["codes"])
    found["attacked"] = torch.zeros(len(clean), dtype=torch.bool).index_fill(0, rows, True)
    found["seconds"] = whole["seconds"]
    return found


def _tally(found: Sequence[Outcome]) -> pictures.Tally:
    whole = {name: torch.stack([part[name] for part in found]) for name in _TALLIED}
    return pictures.Tally(
        fooled=(whole["codes"] == CODES.index(FOOLED)) & whole["attacked"],
        held=(whole["codes"] == CODES.index(HELD)) & whole["attacked"],
        passes=whole["forwards"] + whole["backwards"],
        room=whole["room"],
    )


def _fooled_as(found: Sequence[Outcome]) -> list[int]:
    """Of each row that an attack fooled: its class under the first attack that did."""
    hit = _hits(found)
    first = torch.stack([part["predicted"] for part in found]).gather(0, hit.byte().argmax(0, keepdim=True))
    return first[0][hit.any(0)].tolist()


def _added(found: Sequence[Outcome]) -> list[int]:
    """Of each attack: the rows that it fooled and none before it had."""
    hit = _hits(found)
    return (hit & (hit.cumsum(0) == 1)).sum(1).tolist()


def _hits(found: Sequence[Outcome]) -> Tensor:
    """(attacks, n) the rows that each attack fooled itself."""
    return torch.stack([part["attacked"] & (part["codes"] == CODES.index(FOOLED)) for part in found])


def _nearest(found: Sequence[Outcome]) -> Distances:
    """Of each row that an attack fooled: the smallest distance over the attacks that did."""
    codes, hit = torch.stack([part["codes"] for part in found]), _hits(found)
    reach = torch.stack([part["distance"] for part in found]).masked_fill(~hit, float("inf")).amin(0)
    unsolved = (codes == CODES.index(HELD)).all(0)
    return distances(reach[hit.any(0)].tolist(), int(unsolved.sum()))


def _appearance(whole: Outcome, hit: Tensor) -> Appearance | None:
    """Medians over the rows (n,) that an attack fooled; None of what is no colour image, and where there is none."""
    if "colour" not in whole or not bool(hit.any()):
        return None
    colour, high, ssim = (float(whole[name][hit].median()) for name in ("colour", "colour_high", "ssim"))
    return Appearance(colour=colour, colour_high=high, ssim=None if math.isnan(ssim) else ssim)


def _passes(attacks: Sequence[Attack], found: Sequence[Outcome]) -> Passes | None:
    """Of each row that was fooled: its passes up to the first attack that did, over those that then leave it."""
    kept = [(attack.name, part) for attack, part in zip(attacks, found, strict=True) if stops(attack)]
    if not kept:
        return None
    codes = torch.stack([part["codes"] for _, part in kept])
    spent = torch.stack([part["forwards"] + part["backwards"] for _, part in kept]).cumsum(0)
    hit = _hits([part for _, part in kept])  # in a suite, a row that another member fooled has its code here, too
    taken = spent.gather(0, hit.byte().argmax(0, keepdim=True))[0][hit.any(0)]
    held = (codes == CODES.index(HELD)).all(0)
    return Passes(
        attacks=[name for name, _ in kept],
        held=int(held.sum()),
        most=int(torch.cat([taken, spent[-1][held]]).amax()) if len(taken) or held.any() else 0,
        found=taken.tolist(),
    )


def _letters(codes: Tensor) -> str:
    return "".join(CODES[code] for code in codes.tolist())


def _worst(letters: tuple[str, ...]) -> str:
    """Wrong when clean, else fooled by any, else undefined under any, else held."""
    return next((letter for letter in (WRONG, FOOLED, UNDEFINED) if letter in letters), HELD)
