"""``saddlepoint.evaluate`` and what it returns: evaluation and report in one call."""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from saddlepoint._files import write_atomic
from saddlepoint._typing import is_dense
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ArgumentTypeError, DataError, RecordError, SettingError, shown
from saddlepoint.evaluation import Progress, asked, checked_plan, diagnostics
from saddlepoint.evaluation import run as run_plan
from saddlepoint.evaluation.adaptive import Against
from saddlepoint.evaluation.doctor import Checkup, examine
from saddlepoint.evaluation.ensembles import Suite
from saddlepoint.evaluation.examples import Examples, export
from saddlepoint.evaluation.plan import Plan
from saddlepoint.evaluation.store import called, usable
from saddlepoint.evaluation.suites import Named
from saddlepoint.evaluation.transfer import DEFAULT as TRANSFERRED
from saddlepoint.evaluation.transfer import transfer as make_transfer
from saddlepoint.problem import Limits
from saddlepoint.records import Diagnosis, Finding, RunRecord, Share, TransferRecord
from saddlepoint.solve import Attack

__all__ = [
    "Checkup",
    "Diagnosis",
    "Examples",
    "Rows",
    "Run",
    "as_dataset",
    "complete",
    "diagnose",
    "doctor",
    "evaluate",
    "export",
    "prepare",
    "transfer",
]

_MOST_CLASSES = 100_000
_OUR_PICTURE = re.compile(r"\d+-\d+-(\d+-(clean|adversarial|difference)|held-\d+)\.png")  # see pictures.py

Rows = Dataset | tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]


@final
@dataclass(frozen=True)
class Run:
    """A finished evaluation.

    Attributes:
        record: every number, as plain values;  folder: where ``run.json`` and the pictures lie, if anywhere.
    """

    record: RunRecord
    folder: Path | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def robust_accuracy(self) -> float:
        """Worst case over the attacks, as a share of all rows.

        Raises:  SettingError if the run has several models or radii, for which ``record`` holds one number each, or no
            radius: then it holds distances.
        """
        return self._worst().value

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of :attr:`robust_accuracy`; raises as it does."""
        worst = self._worst()
        return worst.low, worst.high

    @property
    def findings(self) -> list[Finding]:
        """What to know before citing the number, errors first."""
        return self.record.findings

    def save(self, folder: str | Path) -> "Run":
        """Write ``run.json``, the pictures and ``report.html``; returns the run with its folder.

        Raises:  RecordError if the folder holds something that is no run.
        """
        folder = usable(Path(folder))
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            for name, content in self.files.items():
                write_atomic(folder / name, content)
            write_atomic(folder / "run.json", self.record.to_json().encode())
            for old in (folder / "pictures").iterdir():  # those of a run that was here before
                if _OUR_PICTURE.fullmatch(old.name) and f"pictures/{old.name}" not in self.files:
                    old.unlink(missing_ok=True)
        except OSError as error:
            raise RecordError(
                f"the run cannot be written to {called(folder)!r} ({error.strerror}); finished jobs are kept: "
                "make room and run the same command again"
            ) from error
        saved = Run(self.record, folder, self.files)
        saved.to_html(folder / "report.html")
        return saved

    def to_html(self, path: str | Path) -> None:
        """Write the report: one file that opens offline."""
        from saddlepoint.report import html

        with tempfile.TemporaryDirectory() as scratch:
            folder = self.folder
            if folder is None:
                folder = Path(scratch)
                (folder / "pictures").mkdir()
                for name, content in self.files.items():
                    (folder / name).write_bytes(content)
            html.write(self.record, folder, Path(path))

    def _worst(self) -> Share:
        threats = [threat for model in self.record.models for threat in model.threats]
        if len(threats) != 1:
            raise SettingError(
                f"this run has {len(threats)} robust accuracies, one per model and radius; "
                "read them from run.record.models[i].threats[j].worst"
            )
        if threats[0].eps is None:
            raise SettingError(
                "this run has no radius, so no one robust accuracy; read run.record.models[0].threats[0].distances, or "
                f"give a radius: ball={threats[0].norm.capitalize()}(eps)"
            )
        return threats[0].worst


def evaluate(
    model: Classifier | Mapping[str, Classifier],
    data: Rows,
    *,
    ball: Ball | Sequence[Ball],
    attacks: Sequence[Named | Attack] | None = None,
    target: str = "none",
    seed: int = 0,
    batch_size: int | None = None,
    limits: Limits = Limits(),
    suite: str | Suite | None = None,
    diagnose: bool = False,
    precision: str = "float32",
    draws: int = 10,
    queries: int = 1000,
    surrogate: Classifier | Mapping[str, Classifier] | None = None,
    out: str | Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Run:
    """How robust a model is: attack every row, judge every answer by independent code, count.

    Args:
        model: one classifier, or several by name.
        data: a Dataset, a pair (x, y) of x (n, *f) in the model's bounds and y (n,), or a DataLoader of such pairs.
        ball: the threat, or several: ``Linf(8 / 255)``. Where every attack looks for the nearest point, it may have
            no border: ``L2(math.inf)``.
        attacks: names (``saddlepoint list``), names with settings, such as ``{"name": "pgd", "steps": 100}``, or
            attacks with that ball. Without them and a suite, the suite "cascade"; FGSM, BIM, MI-FGSM, PGD, ILLC where
            that cannot be run: with a target, or in L0.
        target: "none", "least-likely", "random", or a class index as text.
        seed: of every random draw.
        batch_size: rows at once; None finds one that fits. No number depends on it.
        limits: budget per row and attack.
        suite: the name of a suite, run in place of ``attacks``: each member on what those before it left standing.
        diagnose: afterwards ask, on up to 60 rows, whether the attacks were good enough: see :func:`diagnose`. A ball
            without a radius, an L0 ball, or attacks with a target are not diagnosed.
        precision: "float32" attacks the model as it was given. "auto" first tries, on up to 200 rows, in which form it
            is faster and loses no verdict: channels last, compiled and, if attacks are given and none looks for the
            nearest point, bfloat16. Verdicts are always those of the model as it was given.
        draws, queries: of a model behind transforms (see :meth:`Classifier.prepend`), which is also attacked by one
            who does not know of them, and without gradients, in so many queries. Where a transform is random, attacks
            through it look at means over so many draws.
        surrogate: another model of the same inputs and classes, or several by name: from each of them MI-FGSM is
            transferred after the attacks. An attacker who cannot ask the model may do that much.
        out: folder for ``run.json``, pictures, ``report.html`` and the outcomes of every job: a run that was killed
            goes on where it was when the same call is made again.
        command: recorded as what reproduces the run.
        progress: told after every job: (rows done, rows in all, what is running).

    Returns:  a Run; ``run.robust_accuracy``, ``run.interval``, ``run.findings``, ``run.to_html(path)``.
    Raises:  a SaddlepointError that says what to change.
    """
    if out is not None:
        _folder(out)  # told before anything runs
    plan = prepare(
        model, data, ball=ball, attacks=attacks, target=target, seed=seed, batch_size=batch_size, limits=limits,
        suite=suite, diagnose=diagnose, precision=precision, against=Against(draws=draws, queries=queries),
        surrogate=surrogate,
    )  # fmt: skip
    run = complete(plan, out=out, batch_size=batch_size, command=command, progress=progress)
    assert run is not None, "a single process does every job"
    return run


def doctor(model: Classifier, data: Rows, *, rows: int | None = None, name: str = "model") -> Checkup:
    """Whether a model can be evaluated at all as it was given: input range, labels, outputs, gradients, precision.

    Nothing is attacked and nothing of the model is changed. Every finding has its evidence, its consequence and its
    remedy; what was not found may still be there.

    Args:
        model: one classifier;  data: as in :func:`evaluate`.
        rows: how many to look at, from all over the data; None takes 64 to 512, as many as about twenty seconds allow.
        name: what findings call the model.

    Returns:  a Checkup: ``findings``, ``healthy``, ``checks``, ``seconds``, ``to_json()``.
    Raises:  a SaddlepointError that says what to change, if there is nothing to look at.

    >>> import torch
    >>> doctor(Classifier(torch.nn.Softmax(1)), (torch.rand(8, 3), torch.arange(8) % 3)).findings[0].title
    'The outputs look like probabilities'
    """
    if not isinstance(model, Classifier):
        raise ArgumentTypeError(
            f"the model is {type(model).__name__}; wrap it, so that its input range is clear: "
            "saddlepoint.Classifier(model, bounds=(0, 1))"
        )
    if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
        raise SettingError(f"rows={shown(rows)} must be an integer >= 1, or None")
    found = as_dataset(data, (model.bounds.lower, model.bounds.upper))
    if not len(found):
        raise DataError(f"{found.name} has no rows; give at least one")
    return examine(name, model, found, rows)


def diagnose(
    model: Classifier,
    data: Rows,
    *,
    ball: Ball,
    twin: Classifier | None = None,
    rows: int = diagnostics.MOST,
    seed: int = 0,
) -> Diagnosis:
    """Whether a robustness number of this model in this ball can be trusted, and why not.

    Strong and weak attacks, with gradients and without, are set against each other on the same rows, and the logits
    and gradients are looked at; every probe has its numbers. The verdict is of what PGD on the cross-entropy would say;
    :func:`evaluate` with ``diagnose=True`` judges the attacks of a run instead. Nothing of the model is changed.

    Args:
        model: one classifier;  data: as in :func:`evaluate`;  ball: Linf, L2 or L1, with one radius.
        twin: an undefended model of the same inputs and classes, from which attacks are transferred.
        rows: how many to look at, of those that are right when clean, from all over the data; the costly probes take
            half of them.
        seed: of every random draw.

    Returns:  a Diagnosis: ``verdict`` ("trust", "doubt", "do not cite"), ``causes``, ``probes``, ``rungs``.
    Raises:  a SaddlepointError that says what to change.

    >>> import torch
    >>> from saddlepoint import Linf
    >>> net = Classifier(lambda x: torch.stack([x.sum(1), 3 - x.sum(1)], 1))
    >>> x = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    >>> diagnose(net, (x, net.predict(x)), ball=Linf(0.1)).verdict
    'trust'
    """
    for each, what in ((model, "model"), (twin, "twin")):
        if not isinstance(each, Classifier) and (what == "model" or each is not None):
            raise ArgumentTypeError(
                f"the {what} is {type(each).__name__}; wrap it, so that its input range is clear: "
                "saddlepoint.Classifier(model, bounds=(0, 1))"
            )
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise SettingError(f"rows={shown(rows)} must be an integer >= 1")
    found = as_dataset(data, (model.bounds.lower, model.bounds.upper))
    models = {"model": model} | ({"twin": twin} if twin is not None else {})
    asked.check(models, found, [ball], ["fgsm"], target="none", seed=seed, batch_size=None, limits=Limits())
    if not diagnostics.can_probe(ball):
        raise SettingError(f"ball={ball!r} cannot be diagnosed; give Linf, L2 or L1 with a radius above 0")
    ball.check(found.x[:1], model.bounds)
    for name, each in models.items():
        looked = each.uncounted()
        looked.predict(found.x[:1])
        asked.check_labels(found, name, looked.answers)
    return diagnostics.conclude(diagnostics.measure(model, found, ball, rows=rows, seed=seed, twin=twin))


def transfer(
    sources: Mapping[str, Classifier],
    targets: Mapping[str, Classifier],
    data: Rows,
    *,
    ball: Ball,
    attacks: Sequence[Named | Attack] = TRANSFERRED,
    steps: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    limits: Limits = Limits(),
    out: str | Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> TransferRecord:
    """How far attacks transfer: the points of every attack on every source, judged on every target.

    Args:
        sources, targets: classifiers by name; :func:`saddlepoint.models.ensemble` makes one out of several.
        data: as in :func:`evaluate`;  ball: one, with one radius;  attacks: as there, each of another name.
        steps: of every attack by name, each of size eps / steps; None leaves them as they are.
        seed, batch_size, limits, command, progress: as in :func:`evaluate`.
        out: folder for the points, ``transfer.json`` and ``report.html``; made again with the same sources, nothing is
            attacked anew, also for other targets.

    Returns:  a TransferRecord: ``cell(source, target, attack).fooled``, ``to_json()``.
    Raises:  a SaddlepointError that says what to change.
    """
    bounds = next((each.bounds for each in sources.values() if isinstance(each, Classifier)), None)
    folder = None if out is None else _folder(out)
    record = make_transfer(
        sources, targets, as_dataset(data, (bounds.lower, bounds.upper) if bounds else (0.0, 1.0)), ball=ball,
        attacks=attacks, steps=steps, seed=seed, batch_size=batch_size, limits=limits, command=command,
        progress=progress, folder=folder,
    )  # fmt: skip
    if folder is not None:
        from saddlepoint.report.transfer import write

        write(record, folder / "report.html")
    return record


def prepare(
    model: Classifier | Mapping[str, Classifier],
    data: Rows,
    *,
    ball: Ball | Sequence[Ball],
    attacks: Sequence[Named | Attack] | None = None,
    target: str = "none",
    seed: int = 0,
    batch_size: int | None = None,
    limits: Limits = Limits(),
    suite: str | Suite | None = None,
    diagnose: bool = False,
    precision: str = "float32",
    against: Against | None = Against(),
    surrogate: Classifier | Mapping[str, Classifier] | None = None,
) -> Plan:
    """The jobs of an evaluation, none of them done; arguments and errors as in :func:`evaluate`.

    Args:  against: ``draws`` and ``queries``; None attacks models behind transforms as all others.
    """
    models = dict(model) if isinstance(model, Mapping) else {"model": model}
    for name, each in models.items():
        if not isinstance(each, Classifier):
            raise ArgumentTypeError(
                f"{name} is {type(each).__name__}; wrap it, so that its input range is clear: "
                "saddlepoint.Classifier(model, bounds=(0, 1))"
            )
    bounds = next(iter(models.values())).bounds if models else None
    return checked_plan(
        models,
        as_dataset(data, (bounds.lower, bounds.upper) if bounds else (0.0, 1.0)),
        balls=ball if isinstance(ball, list | tuple) else [ball],  # type: ignore[list-item]  # checked there
        attacks=attacks,
        target=target,
        seed=seed,
        batch_size=batch_size,
        limits=limits,
        suite=suite,
        probed=diagnostics.WITHIN if diagnose else 0,
        precision=precision,
        against=against,
        surrogates=surrogate if isinstance(surrogate, Mapping) or surrogate is None else {"surrogate": surrogate},
    )


def complete(
    plan: Plan,
    *,
    out: str | Path | None = None,
    shard: tuple[int, int] = (1, 1),
    batch_size: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Run | None:
    """Do the jobs of a plan that are not done yet in the folder ``out``; other arguments as in :func:`evaluate`.

    Args:  shard: (i, m): of m processes that share ``out``, this is number i from 1.
    Returns:  the run, written to ``out``; None while jobs of other shards are missing.
    """
    if shard != (1, 1) and (out is None or not 1 <= shard[0] <= shard[1]):
        raise SettingError(f"shard={shard[0]}/{shard[1]} must be i/m with 1 <= i <= m, and needs out, a shared folder")
    if progress is not None and not callable(progress):
        raise ArgumentTypeError(f"progress={shown(progress)} must be a function of (rows done, rows in all, what)")
    folder = None if out is None else _folder(out)
    found = run_plan(plan, batch_size=batch_size, command=command, progress=progress, folder=folder, shard=shard)
    if found is None:
        return None
    run = Run(found.record, None, found.files)
    return run if folder is None else run.save(folder)


def as_dataset(data: Rows, bounds: tuple[float, float]) -> Dataset:
    """A Dataset of a pair (x, y) or of a loader's pairs; a Dataset is returned as it is.

    Raises:  DataError if it is none of these.
    """
    if isinstance(data, Dataset):
        return data
    pairs = [data] if isinstance(data, tuple) else list(_pairs(data))
    if not pairs or not all(map(_is_batch, pairs)):
        got = ", ".join(_kind(part) for part in pairs[0]) if pairs else "nothing"
        raise DataError(
            "data must be a Dataset, a pair of tensors (x, y) with y (n,), or a DataLoader of such pairs, got "
            f"{got}; for one-hot rows give y.argmax(1)"
        )
    try:
        x, y = (torch.cat(part).cpu() for part in zip(*pairs, strict=True))
    except RuntimeError as error:
        raise DataError(f"the batches of data cannot be joined: {shown(error, 200)}; give rows of one kind") from error
    counted = y.dtype == torch.int64 and is_dense(y) and y.numel()
    highest = int(y.max()) if counted else 0
    if highest >= _MOST_CLASSES:
        raise DataError(f"y runs up to {highest}; class indices must lie in [0, {_MOST_CLASSES - 1}]")
    classes = tuple(str(i) for i in range(max(highest, 0) + 1))
    return Dataset(x, y, classes=classes, name="data", bounds=bounds)


def _folder(out: str | Path) -> Path:
    """The folder of that path, if a run can go there."""
    if not isinstance(out, str | Path):
        raise ArgumentTypeError(f"out={shown(out)} must be the path of a folder")
    return usable(Path(out))


def _is_batch(pair: tuple[object, ...]) -> bool:
    """Two tensors, the second with one axis: inputs and labels."""
    return (
        len(pair) == 2 and all(isinstance(part, Tensor) and part.dim() for part in pair) and pair[1].dim() == 1  # type: ignore[attr-defined]
    )


def _kind(part: object) -> str:
    return f"{part.dtype} {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__


def _pairs(data: object) -> Iterable[tuple[Tensor, Tensor]]:
    try:
        if isinstance(data, Tensor | str):  # they can be taken apart, too
            raise TypeError
        yield from ((batch[0], batch[1]) for batch in data)  # type: ignore[attr-defined]
    except (TypeError, IndexError, KeyError) as error:
        raise DataError(
            f"data is {type(data).__name__}; it must be a Dataset, a pair (x, y), or a DataLoader of such pairs"
        ) from error
