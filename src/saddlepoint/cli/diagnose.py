"""``saddlepoint diagnose``."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from saddlepoint._files import write_atomic
from saddlepoint.api import diagnose as examine
from saddlepoint.cli import common, given, options, planning
from saddlepoint.defenses.spec import load_model
from saddlepoint.errors import SpecError
from saddlepoint.evaluation.diagnostics import MOST
from saddlepoint.records import SCHEMA_VERSION
from saddlepoint.report import diagnoses


def diagnose(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="zoo:NAME or py:package.module:factory, and filters: zoo:NAME | median:2."
        ),
    ],
    data: Annotated[str, typer.Argument(metavar="DATA", help="The data set.")],
    norm: options.Norm = "linf",
    eps: Annotated[str, typer.Option(help="Radius in input units: 0.3 or 8/255.")] = "",
    rows: Annotated[int, typer.Option(help="Rows to look at, of those that are right when clean.")] = MOST,
    twin: Annotated[str | None, typer.Option(help="An undefended model, to transfer attacks from.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for every number.")] = None,
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    config: Annotated[Path | None, given.option()] = None,
) -> None:
    """Whether a robustness number of a model can be trusted: attacks set against each other, gradients looked at.

    Ends with 1 on "do not cite". Example: saddlepoint diagnose zoo:mnist-pgd mnist10k:test --eps 0.3
    """
    file = given.of(ctx)
    if out is not None:
        with file.at("out"):
            common.check_place(out)
    with file.at("threads"):
        common.set_threads(threads)
    with file.at("device"):
        device = common.check_device(device)
    if not eps:
        raise SpecError(f"{file.prefix}--eps is missing: the radius in input units, for example --eps 0.3 or 8/255")
    with file.at("norm"):
        common.check_norm(norm)
    with file.at("eps"):
        ball = common.BALLS[norm](common.number(eps))
    found = planning.data_set(file, data, data_dir)
    with file.at("model"):
        loaded = load_model(model, weights=weights, device=device)
    with file.at("twin"):
        other = None if twin is None else load_model(twin, device=device)
    with file.at(), common.waiting(f"{model}  diagnosis  {norm} {float(ball.eps):g}"):
        diagnosis = examine(loaded, found, ball=ball, twin=other, rows=rows, seed=seed)
    screen = common.console()
    screen.print(diagnoses.table(diagnosis))
    screen.print(diagnoses.verdict_line(diagnosis))
    if out is not None:
        about = {"schema": SCHEMA_VERSION, "model": model, "twin": twin, "data": found.name, **ball.describe()}
        _write(out, {**about, "seed": seed, **dataclasses.asdict(diagnosis)})
    if diagnosis.verdict == "do not cite":
        raise typer.Exit(1)


def _write(path: Path, found: dict[str, object]) -> None:
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise common.unwritten(path, error) from error
