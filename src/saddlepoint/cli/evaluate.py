"""``saddlepoint evaluate``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from saddlepoint.api import complete, prepare
from saddlepoint.cli import common
from saddlepoint.data import load_data
from saddlepoint.errors import DataError, SettingError, SpecError
from saddlepoint.evaluation.suites import DEFAULT, build
from saddlepoint.models import load_model
from saddlepoint.records import RunRecord
from saddlepoint.report import tables


def evaluate(
    specs: Annotated[list[str], typer.Argument(metavar="MODEL [MODEL ...] DATA", help="Models, then the data set.")],
    attacks: Annotated[str, typer.Option(help="Comma list; `saddlepoint list` shows all.")] = ",".join(DEFAULT),
    norm: Annotated[str, typer.Option(help="Norm of the ball: linf, l2 or l1.")] = "linf",
    eps: Annotated[str, typer.Option(help="Radius in input units, or a comma list: 0.3 or 4/255,8/255.")] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of fashion-mnist or cifar10.")] = None,
    rows: Annotated[int | None, typer.Option(help="Only the first rows.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for run.json, pictures and report.html.")] = None,
    target: Annotated[str, typer.Option(help="none, least-likely, random, or a class index.")] = "none",
    weights: Annotated[Path | None, typer.Option(help="Safetensors file for a py: model.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; default: where the model is.")] = None,
    batch_size: Annotated[str, typer.Option(help="auto, or rows at once; no number depends on it.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: torch's choice.")] = None,
    shard: Annotated[str, typer.Option(help="i/m: do every m-th job from the i-th, in a shared --out.")] = "1/1",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs and stop.")] = False,
    fail_under: Annotated[
        float | None,
        typer.Option(help="Exit with 1 if a worst case is below this percentage, or an error was found."),
    ] = None,
) -> None:
    """How robust models are: attack every row, judge every answer by independent code, report.

    Example: saddlepoint evaluate zoo:mnist-standard zoo:mnist-pgd mnist10k:test --eps 0.3 --out runs/a
    """
    if len(specs) < 2:
        raise SpecError(f"give at least one model and then the data set, for example {specs[0]} mnist10k:test")
    if not eps:
        raise SpecError("--eps is missing: the radius in input units, for example --eps 0.3 or --eps 8/255")
    common.set_threads(threads)
    if fail_under is not None and not 0 <= fail_under <= 100:
        raise SettingError(f"--fail-under {fail_under:g} must lie in [0, 100], in percent")
    threats, names = common.balls(norm, eps), common.words(attacks)
    for name in names:
        build(name, threats[0])  # an unknown name is told before anything is loaded
    read = load_data if data_dir is None else partial(load_data, data_dir=data_dir)
    data = read(specs[-1])
    if rows is not None:
        if not 1 <= rows <= len(data):
            raise DataError(f"--rows {rows} must lie in [1, {len(data)}], the rows of {data.name}")
        data = data[:rows]
    where = common.check_device(device)
    models = {spec: load_model(spec, weights=weights, device=where) for spec in dict.fromkeys(specs[:-1])}
    part, size = common.shard(shard), common.batch_size(batch_size)
    plan = prepare(models, data, ball=threats, attacks=names, target=target, seed=seed, batch_size=size)
    screen = common.console()
    if dry_run:
        screen.print(common.jobs(plan))
        return
    with common.bar() as progress:
        task = progress.add_task("starting", total=None)

        def tell(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=what)

        command = common.command_line()
        result = complete(plan, out=out, shard=part, batch_size=size, command=command, progress=tell)
    if result is None:
        screen.print(f"shard {shard} is done; jobs of other shards are still missing", highlight=False)
        return
    for show in (tables.summary, tables.findings, tables.cite):
        screen.print(show(result.record))
    if out is not None:
        screen.print(f"report  {common.shown(out / 'report.html')}", highlight=False, soft_wrap=True)
    if fail_under is not None and _fails(result.record, fail_under):
        raise typer.Exit(1)


def _fails(record: RunRecord, percent: float) -> bool:
    """Whether a worst case is below the bar, or something speaks against the numbers."""
    worst = min(100 * threat.worst.value for model in record.models for threat in model.threats)
    return worst < percent or any(finding.level == "error" for finding in record.findings)
