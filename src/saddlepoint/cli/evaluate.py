"""``saddlepoint evaluate``."""

import math
from pathlib import Path
from typing import Annotated

import typer

from saddlepoint.api import complete
from saddlepoint.cli import common, given, options, planning
from saddlepoint.errors import SettingError
from saddlepoint.evaluation.adaptive import Against
from saddlepoint.evaluation.suites import DEFAULT
from saddlepoint.records import RunRecord
from saddlepoint.report import diagnoses, knowing, precisions, tables
from saddlepoint.report.citation import barred


def evaluate(
    ctx: typer.Context,
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL [MODEL ...] DATA",
            help="Models, each perhaps behind filters (zoo:NAME | median:2), then the data set.",
        ),
    ] = None,
    attacks: Annotated[
        str, typer.Option(help="Comma list; `saddlepoint list` shows all. Default: the suite cascade.")
    ] = "",
    suite: Annotated[
        str | None, typer.Option(help="Named attacks, each on what is left; in place of --attacks.")
    ] = None,
    norm: options.Norm = "linf",
    eps: Annotated[
        str, typer.Option(help="Radius in input units, or a comma list: 0.3 or 4/255,8/255; without: distances.")
    ] = "",
    data_dir: options.DataDir = None,
    rows: options.Rows = None,
    out: Annotated[Path | None, typer.Option(help="Folder for run.json, pictures and report.html.")] = None,
    target: options.Target = "none",
    weights: options.Weights = None,
    device: options.Device = None,
    batch_size: options.BatchSize = "auto",
    seed: options.Seed = 0,
    forwards: options.Forwards = None,
    backwards: options.Backwards = None,
    threads: options.Threads = None,
    shard: options.Shard = "1/1",
    diagnose: Annotated[
        bool, typer.Option(help="Ask afterwards, on some rows, whether the attacks were good enough.")
    ] = True,
    precision: Annotated[
        str, typer.Option(help="float32, or auto: attack in the fastest form that loses no verdict in a short trial.")
    ] = "float32",
    draws: Annotated[
        int, typer.Option(help="Behind a random filter: draws over which looks at the model are averaged.")
    ] = 10,
    queries: Annotated[int, typer.Option(help="Behind filters: queries of the attack without gradients.")] = 1000,
    surrogate: Annotated[
        str, typer.Option(help="Models to transfer MI-FGSM from, after the attacks; a+b averages their logits.")
    ] = "",
    dry_run: options.DryRun = False,
    fail_under: Annotated[
        float | None,
        typer.Option(
            help="Exit with 1 if a worst case is below this percentage, or not to be cited, or an error was found."
        ),
    ] = None,
    config: Annotated[Path | None, given.option("models", "data", "attacks", "threats")] = None,
) -> None:
    """How robust models are: attack every row, judge every answer by independent code, report.

    Example: saddlepoint evaluate zoo:mnist-standard zoo:mnist-pgd mnist10k:test --eps 0.3 --out runs/a
    """
    file = given.of(ctx)
    setup = planning.Setup(
        data_dir=data_dir, rows=rows, target=target, device=device, batch_size=batch_size, seed=seed,
        forwards=forwards, backwards=backwards, threads=threads,
    )  # fmt: skip
    models, data = planning.models_and_data(file, specs or [], weights)
    by_hand = file.names("attacks")
    attacks = attacks if by_hand else ",".join(DEFAULT)
    in_place = (None, None) if by_hand else (suite, target)
    threats = planning.balls(file, norm, eps, "attacks", attacks, *in_place)
    named = planning.attacks(file, "attacks", attacks, threats[0])
    chosen = planning.suite(file, suite, target, threats)
    with file.at("fail_under"):
        if fail_under is not None and not 0 <= fail_under <= 100:
            raise SettingError(f"--fail-under {fail_under:g} must lie in [0, 100], in percent")
        if fail_under is not None and not all(math.isfinite(ball.eps) for ball in threats):
            raise SettingError(
                f"--fail-under {fail_under:g} needs --eps: without a radius there is no one robust accuracy to compare"
            )
    with file.at():
        against = Against(draws=draws, queries=queries)
    with file.at("shard"):
        part = common.shard(shard)
    with file.at("surrogate"):
        surrogates = common.words(surrogate) if surrogate else []
    plan = setup.plan(
        file,
        models,
        data,
        threats,
        named if by_hand else None,
        suite=chosen,
        diagnose=diagnose,
        precision=precision,
        against=against,
        surrogates=surrogates,
    )
    screen = common.console()
    if dry_run:
        screen.print(common.jobs(plan))
        return
    with common.resumable(out), common.telling() as tell:
        command = common.command_line()
        result = complete(plan, out=out, shard=part, batch_size=setup.size(file), command=command, progress=tell)
    if result is None:
        screen.print(f"shard {shard} is done; jobs of other shards are still missing", highlight=False)
        return
    for show in (tables.summary, knowing.summary, diagnoses.summary, precisions.summary, tables.findings, tables.cite):
        screen.print(show(result.record))
    if out is not None:
        screen.print(f"report  {common.shown(out / 'report.html')}", highlight=False, soft_wrap=True)
    if fail_under is not None and _fails(result.record, fail_under):
        raise typer.Exit(1)


def _fails(record: RunRecord, percent: float) -> bool:
    """Whether a worst case is below the bar, or something speaks against the numbers."""
    threats = [threat for model in record.models for threat in model.threats]
    if any(map(barred, threats)) or any(finding.level == "error" for finding in record.findings):
        return True
    return min(100 * threat.worst.value for threat in threats) < percent
