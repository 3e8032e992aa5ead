"""Points made on some models, and judged on others: how far attacks transfer."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor

from saddlepoint._files import write_atomic
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ArgumentTypeError, RecordError, SettingError, shown
from saddlepoint.evaluation import asked
from saddlepoint.evaluation.evaluate import Progress, run
from saddlepoint.evaluation.plan import Job, Plan, make_plan
from saddlepoint.evaluation.store import FolderStore, Outcome, Store, called, usable
from saddlepoint.evaluation.suites import Named, attack_classes, build, settings
from saddlepoint.evaluation.verify import judge
from saddlepoint.evaluation.work import CODES
from saddlepoint.models.ensemble import Ensemble, ensemble
from saddlepoint.problem import Limits
from saddlepoint.records import HELD, Handed, Made, RunRecord, TransferRecord, wilson
from saddlepoint.result import Keep
from saddlepoint.solve import Attack

DEFAULT = ("bim", "mi-fgsm")
_CHUNK = 512


@final
@dataclass(frozen=True)
class Answers:
    """What a target says of rows: (n,) each."""

    fooled: Tensor
    undefined: Tensor


def transfer(
    sources: Mapping[str, Classifier],
    targets: Mapping[str, Classifier],
    data: Dataset,
    *,
    ball: Ball,
    attacks: Sequence[Named | Attack] = DEFAULT,
    steps: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    limits: Limits = Limits(),
    command: str = "",
    progress: Progress | None = None,
    folder: Path | None = None,
) -> TransferRecord:
    """Every attack made on every source, and its points judged on every target.

    A source's points are those of the rows that it gets right when clean, of every such row, fooled or not; the attack
    goes on after its first success. A cell counts the rows that source and target both get right when clean, and of
    them those that the judge finds fooled on the target: the bare module's answer, inside ball and box.

    Args:
        sources, targets: by name; the same name, or the same parameters, is the white-box diagonal.
        data: the rows, in the bounds of the first source; models of other bounds see them stretched into their own.
        ball: Linf, L2 or L1 with one eps;  attacks: as in evaluate, each of another name.
        steps: of every named attack that has a number of steps, each of size eps / steps where it has a size; None
            leaves both as they are.
        seed, batch_size, limits, command, progress: as in evaluate.
        folder: where the points are kept: a call that was killed goes on when it is made again, and one with other
            targets makes none anew.

    Raises:  a SaddlepointError that says what to change.
    Source:  protocol after Dong et al. 2018, arXiv:1710.06081, and Xie et al. 2019, arXiv:1803.06978.
    """
    if not isinstance(sources, Mapping) or not isinstance(targets, Mapping):
        raise ArgumentTypeError("sources and targets must be classifiers by name, such as {'a': model}")
    for name, model in (*sources.items(), *targets.items()):
        if not isinstance(model, Classifier):
            raise ArgumentTypeError(f"{shown(name)} is {type(model).__name__}; wrap it: saddlepoint.Classifier(model)")
    both = {**targets, **sources}
    if any(both[name].fingerprint != model.fingerprint for name, model in targets.items()):
        raise SettingError("a source and a target of one name are different models; give each its own name")
    asked.check(both, data, [ball], attacks, target="none", seed=seed, batch_size=batch_size, limits=limits)
    if not targets or not sources:
        raise SettingError("a transfer needs at least one source and one target")
    made = [_made(attack, ball, steps) for attack in attacks]
    names = [attack.name for attack in made]
    if len(set(names)) < len(names):
        raise SettingError(f"the attacks {', '.join(names)} must have different names; give one at a time")
    box = next(iter(sources.values())).bounds
    seen = {name: each if each.bounds == box else ensemble([each], bounds=box) for name, each in both.items()}
    plan = make_plan(
        {name: seen[name] for name in sources}, data, [ball], made, target="none", seed=seed, limits=limits
    )
    plan = replace(plan, every_point=True)
    for name, model in seen.items():
        twin = model.uncounted()
        twin.predict(data.x[:1].to(model.device))
        asked.check_labels(data, name, twin.answers)
        ball.check(data.x[:1], model.bounds)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "run" if folder is None else usable(folder)
        found = run(plan, batch_size=batch_size, draw=False, command=command, progress=progress, folder=home)
        assert found is not None, "a single process does every job"
        record = _matrix(plan, FolderStore(home), seen, both, list(targets), found.record, batch_size or _CHUNK)
        if folder is not None:
            try:
                write_atomic(folder / "transfer.json", record.to_json().encode())
            except OSError as error:
                raise RecordError(
                    f"transfer.json cannot be written to {called(folder)!r} ({error.strerror}); the points are kept: "
                    "make room and run the same command again"
                ) from error
    return record


def _made(attack: Named | Attack, ball: Ball, steps: int | None) -> Attack:
    """The attack, every step of it."""
    if not isinstance(attack, str | Mapping):
        return attack
    named = {"name": attack} if isinstance(attack, str) else dict(attack)
    plain = build(named, ball, Keep.MAX_LOSS)
    if steps is None or type(plain) not in attack_classes().values():
        return plain
    fields = [name for name in ("steps", "step_size") if name in settings(plain)]
    own = {"steps": steps, "step_size": float(ball.eps) / max(1, steps)} if isinstance(steps, int) else {"steps": steps}
    return build({name: own[name] for name in fields if name in own} | named, ball, Keep.MAX_LOSS)


def _matrix(
    plan: Plan,
    store: Store,
    seen: Mapping[str, Classifier],
    given: Mapping[str, Classifier],
    targets: Sequence[str],
    about: RunRecord,
    size: int,
) -> TransferRecord:
    """Judge every point on every target; all jobs are done."""
    data, ((ball, attacks),), jobs = plan.data, plan.threats, list(plan.jobs())
    right = {name: _right(seen[name], data, size) for name in targets}
    for subject in plan.subjects:
        clean = [_outcome(store, job) for job in jobs if job.subject is subject and job.attack is None]
        right[subject.name] = torch.cat([part["codes"] for part in clean]) == CODES.index(HELD)
    every = torch.stack(list(right.values())).all(0)
    made, handed = [], []
    for subject in plan.subjects:
        for attack in attacks:
            mine = [job for job in jobs if job.subject is subject and job.attack is attack]
            points, told = _points(store, mine)
            made.append(
                Made(
                    source=subject.name,
                    attack=attack.name,
                    settings=settings(attack),
                    rows=len(points["rows"]),
                    forwards=int(told["forwards"].sum()),
                    backwards=int(told["backwards"].sum()),
                    seconds=round(float(told["seconds"].sum()), 3),
                )
            )
            for target in targets:
                rows = points["rows"]
                answers = _answers(seen[target], data, rows, points["x"], ball, size)
                both = right[target][rows]
                all_right = every[rows]
                handed.append(
                    Handed(
                        source=subject.name,
                        target=target,
                        attack=attack.name,
                        knowledge=_knowledge(given[subject.name], given[target]),
                        fooled=wilson(int((answers.fooled & both).sum()), int(both.sum())),
                        common=wilson(int((answers.fooled & all_right).sum()), int(all_right.sum())),
                        undefined=int((answers.undefined & both).sum()),
                    )
                )
    models = {
        name: {"fingerprint": given[name].fingerprint, "clean": vars(wilson(int(mask.sum()), len(data)))}
        for name, mask in right.items()
    }
    return TransferRecord(
        norm=ball.norm,
        eps=float(ball.eps),
        seed=plan.seed,
        data={"name": data.name, "fingerprint": data.fingerprint, "rows": len(data)},
        models=models,
        sources=[subject.name for subject in plan.subjects],
        targets=list(targets),
        attacks=[attack.name for attack in attacks],
        made=made,
        handed=handed,
        command=about.command,
        environment=about.environment,
        started=about.started,
    )


def _knowledge(source: Classifier, target: Classifier) -> Literal["white-box", "in the ensemble", "black-box"]:
    if source.fingerprint == target.fingerprint:
        return "white-box"
    members = source.module.members if isinstance(source.module, Ensemble) else ()
    return "in the ensemble" if target.fingerprint in [each.fingerprint for each in members] else "black-box"


def _outcome(store: Store, job: Job) -> Outcome:
    outcome = store.get(job.key)
    assert outcome is not None, "read before every job was done"
    return outcome


def _points(store: Store, jobs: Sequence[Job]) -> tuple[Outcome, Outcome]:
    """Rows (m,) and x (m, *f) of one attack on one source; and what it took."""
    parts = [_outcome(store, job) for job in jobs]
    told = {
        name: torch.cat([part[name].reshape(-1) for part in parts]) for name in ("forwards", "backwards", "seconds")
    }
    return {"rows": torch.cat([p["found"] for p in parts]), "x": torch.cat([p["x"] for p in parts])}, told


def _right(model: Classifier, data: Dataset, size: int) -> Tensor:
    """(n,) the rows that the judge finds right when clean."""
    parts = []
    for x, y in zip(data.x.split(size), data.y.split(size), strict=True):
        x, y = x.to(model.device), y.to(model.device)
        verdict = judge(model, x, x, y, None, norm=None, eps=0.0)
        parts.append(~(verdict.fooled | verdict.undefined).cpu())
    return torch.cat(parts)


def _answers(model: Classifier, data: Dataset, rows: Tensor, x: Tensor, ball: Ball, size: int) -> Answers:
    """The judge's verdicts on points (m, *f) of rows (m,) of the data."""
    fooled, undefined = torch.zeros(2, len(rows), dtype=torch.bool)
    for part in torch.arange(len(rows)).split(size) if len(rows) else ():
        x0, points, y = (each.to(model.device) for each in (data.x[rows[part]], x[part], data.y[rows[part]]))
        verdict = judge(model, x0, points, y, None, norm=ball.norm, eps=float(ball.eps))
        fooled[part], undefined[part] = verdict.fooled.cpu(), verdict.undefined.cpu()
    return Answers(fooled, undefined)
