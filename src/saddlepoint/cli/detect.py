"""``saddlepoint detect``."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from saddlepoint._files import write_atomic
from saddlepoint.balls import Bounds
from saddlepoint.cli import common, given, options, planning
from saddlepoint.cli.given import Given
from saddlepoint.data import Dataset
from saddlepoint.data.reading import SPLITS
from saddlepoint.defenses.spec import load_model
from saddlepoint.defenses.spec import transform as squeezer
from saddlepoint.detectors import (
    LID,
    Confidence,
    Detector,
    Energy,
    FeatureSqueezing,
    Guarded,
    KDensity,
    Mahalanobis,
    NonMaximalEntropy,
    save_detector,
    threshold,
)
from saddlepoint.detectors.squeezing import JOINT
from saddlepoint.errors import DataError, SettingError, SpecError, unknown
from saddlepoint.evaluation.detection import RATES, Attacked, Detection, Separation, detection
from saddlepoint.evaluation.suites import build, needs_eps
from saddlepoint.records import SCHEMA_VERSION
from saddlepoint.report.detection import name, write
from saddlepoint.result import Keep

DETECTORS: dict[str, type] = {
    kind.name: kind for kind in (FeatureSqueezing, KDensity, NonMaximalEntropy, Confidence, Energy, LID, Mahalanobis)
}


_FILES = ("detection.json", "report.html", "detector.safetensors", "detector.json")
_UNFITTED = (Confidence, Energy, NonMaximalEntropy)


def detect(
    ctx: typer.Context,
    detector: Annotated[str, typer.Argument(metavar="DETECTOR", help=f"One of {', '.join(DETECTORS)}.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="zoo:NAME or py:package.module:factory.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Clean rows, neither trained on nor fitted to.")],
    out: Annotated[Path, typer.Option(help="Folder for detection.json, report.html and the fitted detector.")],
    attacks: Annotated[str, typer.Option(help="Comma list; `saddlepoint list` shows all.")] = "fgsm,pgd",
    norm: options.Norm = "linf",
    eps: Annotated[str, typer.Option(help="Radius in input units: 0.3 or 8/255; cw-l2 and its like need none.")] = "",
    squeezers: Annotated[
        str | None,
        typer.Option(
            help="Of feature-squeezing: mnist, cifar10, imagenet, fashion-mnist, photopatch10, or filters such as "
            "'bit-depth:4 | median:2'. Default: those of DATA."
        ),
    ] = None,
    fit: Annotated[
        str | None, typer.Option(help="Rows to fit to; default: the split train of DATA, if the detector is fitted.")
    ] = None,
    fpr: Annotated[float, typer.Option(help="False positive rate of the threshold.")] = 0.05,
    calibrate: Annotated[int, typer.Option(help="The last rows of DATA, for the threshold only.")] = 500,
    rows: Annotated[int, typer.Option(help="The first rows of DATA, to be attacked.")] = 500,
    confidence: Annotated[float, typer.Option(help="The margin that attacks are to reach, in logit units.")] = 0.0,
    adaptive: Annotated[bool, typer.Option(help="Also attacks that know of the detector.")] = True,
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    config: Annotated[Path | None, given.option()] = None,
) -> None:
    """How well a detector tells adversarial inputs from clean ones, also those made by attacks that know of it.

    Example: saddlepoint detect feature-squeezing zoo:mnist-standard mnist10k:test --eps 0.3 --out runs/squeezing
    """
    file = given.of(ctx)
    if detector not in DETECTORS:
        raise unknown("detector", detector, DETECTORS)
    with file.at("out"):
        common.check_new(*(out / each for each in _FILES))
    with file.at("threads"):
        common.set_threads(threads)
    with file.at("device"):
        device = common.check_device(device)
    named = common.words(attacks)
    ball = common.balls(norm, eps)[0]
    if len(common.balls(norm, eps)) != 1:
        raise SettingError(f"--eps {eps!r} gives several radii; a detector is measured at one")
    if not eps and any(map(needs_eps, named)):
        raise SettingError("--eps is missing: the radius in input units, for example --eps 0.3 or 8/255")
    test = planning.data_set(file, data, data_dir)
    if rows < 1 or calibrate < 1 or rows + calibrate > len(test):
        raise DataError(
            f"--rows {rows} and --calibrate {calibrate} must be >= 1, and together at most {len(test)}, the rows of "
            f"{test.name}: no row may serve both"
        )
    learn = _learned(file, detector, data, fit, data_dir)
    with file.at("model"):
        loaded = load_model(model, weights=weights, device=device)
    for each in (test, *([] if learn is None else [learn])):
        planning.check_fit(model, loaded, each)
    with file.at("squeezers"):
        made = _made(detector, squeezers, data.partition(":")[0], loaded.bounds)
    settings = {"confidence": str(confidence)} if confidence else {}
    chosen = [build({"name": each, **settings}, ball, Keep.MAX_LOSS) for each in named]
    _make(out)
    fitted = test[:1] if learn is None else learn  # one that fits nothing only looks at the shape
    scorer = made.fit(loaded, fitted.x.to(loaded.device), fitted.y.to(loaded.device))
    limit = threshold(scorer.scores(test.x[len(test) - calibrate :].to(loaded.device)), fpr)
    with common.telling() as tell:
        found = detection(
            Guarded(loaded, scorer, limit), test[:rows], chosen, adaptive=adaptive, seed=seed, progress=tell
        )
    about = {
        "schema": SCHEMA_VERSION, "command": common.command_line(), "model": model, "data": test.name,
        "fitted_to": None if learn is None else learn.name, "calibrated_on": calibrate, "fpr": fpr, **ball.describe(),
        "seed": seed,
    }  # fmt: skip
    told = {**about, **dataclasses.asdict(found)}
    _tell(found, fpr)
    _write(out, told)
    write(told, out / "report.html")
    save_detector(scorer, out / "detector.safetensors", threshold=limit)
    common.console().print(f"report  {common.shown(out / 'report.html')}", highlight=False, soft_wrap=True)


def _learned(file: Given, detector: str, data: str, fit: str | None, data_dir: Path | None) -> Dataset | None:
    """The rows to fit to: those of --fit, or else the split train of DATA; None for a detector that fits nothing.

    Raises:  SpecError or DataError if there is no such split, with --fit as the remedy.
    """
    if fit is not None:
        return planning.data_set(file, fit, data_dir, "fit")
    if DETECTORS[detector] in _UNFITTED:
        return None
    whole, _, split = data.rpartition(":")
    spec = f"{whole if split in SPLITS else data}:train"
    try:
        return planning.data_set(file, spec, data_dir)
    except (SpecError, DataError) as error:
        raise type(error)(f"{error}; {detector} needs rows to fit to: name them with --fit") from error


def _made(kind: str, squeezers: str | None, data: str, bounds: Bounds) -> Detector:
    """The detector before its fit.

    Args:  squeezers: as typed, or None for those of the data set of that name.
    Raises:  SpecError if there are none for it.
    """
    if kind != FeatureSqueezing.name:
        made: Detector = DETECTORS[kind]()
        return made
    joint = squeezers or data
    joint = {"mnist10k": "mnist"}.get(joint, joint)
    if not squeezers and joint not in JOINT:
        raise SpecError(
            f"there are no squeezers for {data!r}; give --squeezers, one of {', '.join(JOINT)}, or filters such as "
            "'bit-depth:4 | median:2'"
        )
    if ":" not in joint and "|" not in joint:
        return FeatureSqueezing.joint(joint, bounds)
    return FeatureSqueezing(tuple(squeezer(part.strip(), bounds) for part in joint.split("|")))


def _make(out: Path) -> None:
    """Raises:  RecordError if files cannot be written to that folder, which is made where it is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise common.unwritten(out, error) from error
    for each in _FILES:
        common.check_place(out / each)


def _write(out: Path, found: dict[str, object]) -> None:
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        write_atomic(out / "detection.json", text.encode())
    except OSError as error:
        raise common.unwritten(out, error) from error


def _tell(found: Detection, fpr: float) -> None:
    screen = common.console()
    screen.print(
        f"{found.detector}: score > {found.threshold:.6g} is refused, for a false positive rate of {fpr:.1%}\n"
        f"clean: {found.accuracy.value:.1%} right, {found.rejected.value:.1%} refused, {found.accepted.value:.1%} "
        f"right and not refused; {found.robust.value:.1%} of all {found.rows} rows held under every attack",
        highlight=False,
    )
    rates = (f"TPR at\n{rate:.0%}" for rate in RATES)
    screen.print(_table(found, ("fooled", "fooled,\nnot refused", "AUC", "95 %"), _fooled))
    screen.print(_table(found, (*rates, "AUC\nfailed", "AUC\nconfident"), _told_apart))


def _table(found: Detection, heads: Sequence[str], cells: Callable[[Attacked], list[str]]) -> Table:
    """A line for each attack: one table of all figures would be cut at 80 columns, which files and pipes have."""
    table = Table(box=None, pad_edge=False)
    table.add_column("attack")  # where it is narrow, names are broken between words, and no figure is
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for each in found.attacks:
        table.add_row(Text(name(each.attack, each.adaptive, each.below)), *cells(each))
    return table


def _fooled(attacked: Attacked) -> list[str]:
    told = attacked.successful
    between = "" if told.area is None else f"{told.area.low:.3f}-{told.area.high:.3f}"
    return [f"{told.rows}/{told.rows + attacked.failed.rows}", f"{attacked.undetected.value:.1%}", _area(told), between]


def _told_apart(attacked: Attacked) -> list[str]:
    rates = [f"{share.value:.1%}" for share in attacked.successful.tpr] or [""] * len(RATES)
    return [*rates, _area(attacked.failed), _area(attacked.confident)]


def _area(told: Separation) -> str:
    return "" if told.area is None else f"{told.area.value:.3f}"
