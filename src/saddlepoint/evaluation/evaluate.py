"""Attack every row, judge every answer, count."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ArgumentTypeError, SettingError, shown
from saddlepoint.evaluation import asked, findings, pictures, targets
from saddlepoint.evaluation import precision as forms
from saddlepoint.evaluation.adaptive import Against
from saddlepoint.evaluation.assemble import Assembly, assemble
from saddlepoint.evaluation.ensembles import Suite, as_suite, usual
from saddlepoint.evaluation.plan import Job, Plan, make_plan
from saddlepoint.evaluation.store import MemoryStore, Outcome, Store, opened
from saddlepoint.evaluation.suites import DEFAULT, Named, minimal
from saddlepoint.evaluation.work import Worker, standing
from saddlepoint.problem import Limits
from saddlepoint.records import DataRecord, RunRecord
from saddlepoint.solve import Attack

Progress = Callable[[int, int, str], None]
"""Called with (rows done, rows in all, what is running)."""


@final
@dataclass(frozen=True)
class Evaluated:
    """A run: its record, and the picture files that the record names."""

    record: RunRecord
    files: dict[str, bytes] = field(default_factory=dict)


def evaluate(
    models: Mapping[str, Classifier],
    data: Dataset,
    *,
    balls: Sequence[Ball],
    attacks: Sequence[Named | Attack] | None = None,
    target: str = "none",
    seed: int = 0,
    batch_size: int | None = None,
    limits: Limits = Limits(),
    suite: str | Suite | None = None,
    draw: bool = True,
    command: str = "",
    progress: Progress | None = None,
    folder: Path | None = None,
    probed: int = 0,
    precision: str = "float32",
    against: Against | None = Against(),
    surrogates: Mapping[str, Classifier] | None = None,
) -> Evaluated:
    """Robust accuracy of models under attacks inside balls, each answer judged by independent code.

    Args:
        models: by name;  data: the rows, x in every model's bounds.
        balls: one for each threat, each with one eps.
        attacks: names, names with settings, or attacks whose ball is one of ``balls``. Without them and a suite, the
            suite ``cascade``; FGSM, BIM, MI-FGSM, PGD and ILLC where it cannot be run: with a target, or in L0.
        target: "none", "least-likely", "random" or a class index.
        seed: of every random draw; a row's result depends on it and on the row's id only.
        batch_size: rows at once; None starts at 512 and halves while memory does not suffice. No number depends on it.
        limits: budget per row and attack.
        suite: run these attacks in place of ``attacks``, each on what those before it left standing.
        draw: make pictures (images only; needs Pillow).
        progress: told before every job, and at the end.
        folder: where outcomes are kept, so that a killed run goes on where it was.
        probed: rows of the diagnosis that follows the attacks of each ball; 0 leaves it out.
        precision: "float32" attacks the models as they were given; "auto" first tries, on up to 200 rows, in which form
            each is faster and loses no verdict: channels last, compiled and, if attacks are given and none looks for
            the nearest point, bfloat16.
        against: how models behind transforms are attacked beside: without knowing of them, and without gradients; where
            one is random, on means over draws. None attacks them as all others.
        surrogates: by name: from each of them MI-FGSM is transferred, after the attacks.

    Returns:  the record and the pictures.
    Raises:  SettingError, SpecError, DataError, InputError, RadiusError, ModelError, RecordError: each says what to
        change.
    """
    plan = checked_plan(
        models, data, balls=balls, attacks=attacks, target=target, seed=seed, batch_size=batch_size, limits=limits,
        suite=suite, probed=probed, precision=precision, against=against, surrogates=surrogates,
    )  # fmt: skip
    found = run(plan, batch_size=batch_size, draw=draw, command=command, progress=progress, folder=folder)
    assert found is not None, "a single process does every job"
    return found


def checked_plan(
    models: Mapping[str, Classifier],
    data: Dataset,
    *,
    balls: Sequence[Ball],
    attacks: Sequence[Named | Attack] | None = None,
    target: str = "none",
    seed: int = 0,
    batch_size: int | None = None,
    limits: Limits = Limits(),
    suite: str | Suite | None = None,
    probed: int = 0,
    precision: str = "float32",
    against: Against | None = Against(),
    surrogates: Mapping[str, Classifier] | None = None,
) -> Plan:
    """The jobs of an evaluation, after a look at everything that was given; arguments and errors as in evaluate."""
    if not isinstance(precision, str) or precision not in forms.PRECISIONS:
        raise SettingError(f"precision={shown(precision)} must be one of {', '.join(map(repr, forms.PRECISIONS))}")
    named = suite is None and attacks is not None
    if attacks is None:
        suite, attacks = usual(target, balls) if suite is None else suite, DEFAULT
    chosen = None if suite is None else as_suite(suite, target, balls)
    asked.check(models, data, balls, attacks, target=target, seed=seed, batch_size=batch_size, limits=limits)
    asked.check_surrogates(surrogates or {}, models, data, balls)
    unique = list(dict.fromkeys(balls))
    plan = make_plan(
        models,
        data,
        unique,
        attacks,
        target=target,
        seed=seed,
        limits=limits,
        suite=chosen,
        probed=probed,
        against=against,
        surrogates=surrogates,
    )
    if precision == "auto":
        nearest = any(minimal(attack) for _, members in plan.threats for attack in members)  # barely fools, if at all
        plan = replace(plan, forms=forms.offered(data.x.shape, exact=nearest or not named))
    for subject in plan.subjects:
        asked.check_labels(data, subject.name, subject.model.answers)
        targets.check(target, subject.model.answers)
        for ball in balls:  # told now, even if no row should be left to attack
            ball.check(data.x[:1], subject.model.bounds)
    return plan


def run(
    plan: Plan,
    *,
    batch_size: int | None = None,
    draw: bool = True,
    command: str = "",
    progress: Progress | None = None,
    folder: Path | None = None,
    shard: tuple[int, int] = (1, 1),
) -> Evaluated | None:
    """Do the jobs of a plan that are not done yet.

    Args:  shard: (i, m) does the jobs i, i + m, ...; m processes share a folder, and whoever comes last assembles.
    Returns:  the run; None if jobs of other shards are still missing.
    """
    if not isinstance(command, str):
        raise ArgumentTypeError(f"command={shown(command)} must be text: what reproduces the run")
    draw = draw and pictures.is_image(plan.data.x)
    if draw:
        pictures.require_pillow()
    if folder is None:
        return _run(plan, MemoryStore(), _now(), batch_size, draw, command, progress, shard)
    with opened(folder, plan.spec(), shard) as (store, started):
        return _run(plan, store, started, batch_size, draw, command, progress, shard)


def _run(
    plan: Plan,
    store: Store,
    started: str,
    batch_size: int | None,
    draw: bool,
    command: str,
    progress: Progress | None,
    shard: tuple[int, int],
) -> Evaluated | None:
    """Own jobs first; then those of others that are damaged; then, if all are there, the record."""
    worker = Worker(plan, batch_size)
    plan = worker.plan = _settled(worker, store)
    jobs = list(plan.jobs())
    mine = [job for job in jobs if job.unit % shard[1] == shard[0] - 1]
    total, done = sum(len(job.rows) for job in mine), 0
    for job in mine:
        if progress is not None:  # before it: a job can take hours, and is what the bar is to name
            progress(done, total, job.what)
        _done(worker, store, job)
        done += len(job.rows)
    if progress is not None and mine:
        progress(done, total, mine[-1].what)
    for job in jobs:
        if store.has(job.key):
            _done(worker, store, job)
    if not all(store.has(job.key) for job in jobs):
        return None
    return _recorded(plan, assemble(plan, store, draw=draw), started, command)


def _settled(worker: Worker, store: Store) -> Plan:
    """The plan with the form of every model: the keys of attacks depend on it, so all processes agree on it first."""
    trials = {job.subject.name: job for job in worker.plan.jobs() if job.trial}
    if not trials:
        return worker.plan
    picked: list[forms.Form] = []
    for subject in worker.plan.subjects:
        form = forms.FLOAT32
        if subject.name in trials:
            with store.alone():
                found = _done(worker, store, trials[subject.name])
            form, _ = forms.conclude(worker.plan.forms, found)
        picked.append(form)
    return worker.plan.settled(picked)


def _right(worker: Worker, store: Store, trial: Job) -> Tensor:
    """The first rows that are right when clean."""
    found = torch.zeros(0, dtype=torch.int64)
    for job in worker.plan.jobs():
        if job.subject is trial.subject and job.ball is None and not job.trial and len(found) < forms.ROWS:
            found = torch.cat([found, standing(job, _done(worker, store, job))])
    return found[: forms.ROWS]


def _done(worker: Worker, store: Store, job: Job) -> Outcome:
    """The outcome of a job, from the store, or found and kept there, after what it needs of other jobs."""
    outcome = store.get(job.key)
    if outcome is not None:
        return outcome
    before = job.earlier or job.clean
    if job.probed:
        outcome = worker.diagnosis(job)
    elif job.trial:
        outcome = worker.trial(job, _right(worker, store, job))
    elif before is None:
        outcome = worker.clean(job)
    else:
        outcome = worker.attack(job, standing(before, _done(worker, store, before)))
    store.put(job.key, outcome)
    return outcome


def _recorded(plan: Plan, found: Assembly, started: str, command: str) -> Evaluated:
    data = plan.data
    about = DataRecord(
        name=data.name,
        fingerprint=data.fingerprint,
        rows=len(data),
        shape=list(data.x.shape[1:]),
        classes=list(data.classes),
        labels=data.y.tolist(),
        ids=data.rows.tolist(),
    )
    told = [*found.findings, *findings.of_data(about, max(model.classes for model in found.models))]
    told += [finding for model in found.models for finding in findings.of_model(model, about, plan.target)]
    spec = {
        "models": [subject.name for subject in plan.subjects],
        "data": data.name,
        "rows": len(data),
        "suite": plan.suite,
        "attacks": [attack.name for attack in plan.threats[0][1]],
        "threats": [ball.describe() for ball, _ in plan.threats],
        "target": plan.target,
        "seed": plan.seed,
    } | ({"precision": "auto"} if plan.forms else {})
    spec |= plan.comparison
    record = RunRecord(
        spec=spec,
        command=command.encode("utf-8", "backslashreplace").decode(),  # names of files may be no text
        data=about,
        models=found.models,
        findings=sorted(told, key=lambda f: ("error", "warning", "note").index(f.level)),
        environment=_environment(plan.subjects[0].model.device),
        started=started,
        seconds=round(found.seconds, 3),
    )
    return Evaluated(record, found.files)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _environment(device: torch.device) -> dict[str, str]:
    about: dict[str, Any] = {
        "saddlepoint": metadata.version("saddlepoint"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
    return {key: str(value) for key, value in about.items()}
