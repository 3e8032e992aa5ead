"""``saddlepoint transfer``."""

from pathlib import Path
from typing import Annotated

import typer

from saddlepoint.api import transfer as run
from saddlepoint.cli import common, given, options, planning
from saddlepoint.errors import DataError, SettingError, SpecError
from saddlepoint.evaluation.transfer import DEFAULT
from saddlepoint.report.transfer import summary


def transfer(
    ctx: typer.Context,
    sources: Annotated[
        str, typer.Argument(metavar="SOURCES", help="Comma list of models; a+b averages the logits of two.")
    ],
    targets: Annotated[str, typer.Argument(metavar="TARGETS", help="Comma list of models.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="The data set.")],
    attacks: Annotated[str, typer.Option(help="Comma list; `saddlepoint list` shows all.")] = ",".join(DEFAULT),
    norm: options.Norm = "linf",
    eps: Annotated[str, typer.Option(help="Radius in input units, such as 0.3 or 8/255.")] = "",
    steps: Annotated[
        int | None, typer.Option(help="Steps of every attack, each of size eps / steps; without: each attack's own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the points, transfer.json and report.html; used again.")
    ] = None,
    data_dir: options.DataDir = None,
    rows: options.Rows = None,
    device: options.Device = None,
    batch_size: options.BatchSize = "auto",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    config: Annotated[Path | None, given.option("attacks")] = None,
) -> None:
    """How far attacks transfer: points made on each source, judged on each target.

    Example: saddlepoint transfer zoo:mnist-standard,zoo:mnist-pgd zoo:mnist-standard,zoo:mnist-pgd mnist10k:test
    --eps 0.2 --steps 10 --rows 500 --out runs/transfer
    """
    file = given.of(ctx)
    with file.at("threads"):
        common.set_threads(threads)
    with file.at("device"):
        device = common.check_device(device)
    with file.at("batch_size"):
        size = common.batch_size(batch_size)
    if not eps:
        raise SpecError(f"{file.prefix}--eps is missing: the radius in input units, for example --eps 0.2 or 8/255")
    (ball, *more) = planning.balls(file, norm, eps, "attacks", attacks)
    if more:
        raise SettingError("transfer takes one radius; run the command for each")
    named = planning.attacks(file, "attacks", attacks, ball)
    found = planning.data_set(file, data, data_dir)
    if rows is not None:
        with file.at("rows"):
            if not 1 <= rows <= len(found):
                raise DataError(f"--rows {rows} must lie in [1, {len(found)}], the rows of {found.name}")
        found = found[:rows]
    with file.at("sources"):
        first = {name: planning.averaged(name, device) for name in common.words(sources)}
    with file.at("targets"):
        second = {
            name: first[name] if name in first else planning.averaged(name, device) for name in common.words(targets)
        }
    with common.telling() as tell:
        record = run(
            first, second, found, ball=ball, attacks=named, steps=steps, seed=seed, batch_size=size, out=out,
            command=common.command_line(), progress=tell,
        )  # fmt: skip
    screen = common.console()
    screen.print(summary(record))
    if out is not None:
        screen.print(f"report  {common.shown(out / 'report.html')}", highlight=False, soft_wrap=True)
