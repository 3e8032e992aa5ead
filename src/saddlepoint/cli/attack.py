"""``saddlepoint attack``."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from saddlepoint.api import Examples, export
from saddlepoint.cli import common, given, options, planning
from saddlepoint.errors import SettingError, unknown
from saddlepoint.evaluation.suites import build
from saddlepoint.report import tables
from saddlepoint.result import Keep

KEEPS = {keep.value: keep for keep in (Keep.FIRST_SUCCESS, Keep.MAX_LOSS, Keep.MIN_DISTANCE)}


def attack(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="zoo:NAME or py:package.module:factory, and filters: zoo:NAME | median:2."
        ),
    ],
    data: Annotated[str, typer.Argument(metavar="DATA", help="The data set.")],
    out: Annotated[Path, typer.Option(help="Folder for examples.safetensors, examples.json and images.")],
    attack: Annotated[str, typer.Option(help="One of `saddlepoint list`.")] = "pgd",
    norm: options.Norm = "linf",
    eps: Annotated[
        str, typer.Option(help="Radius in input units, such as 0.3 or 8/255; ddn and its like need none.")
    ] = "",
    keep: Annotated[str, typer.Option(help="Which point: first-success, max-loss or min-distance.")] = "first-success",
    png: Annotated[bool, typer.Option("--png", help="Also 8-bit images, judged again as they then are.")] = False,
    data_dir: options.DataDir = None,
    rows: options.Rows = None,
    target: options.Target = "none",
    weights: options.Weights = None,
    device: options.Device = None,
    batch_size: options.BatchSize = "auto",
    seed: options.Seed = 0,
    forwards: options.Forwards = None,
    backwards: options.Backwards = None,
    threads: options.Threads = None,
    shard: options.Shard = "1/1",
    dry_run: options.DryRun = False,
    config: Annotated[Path | None, given.option("attack")] = None,
) -> None:
    """Write adversarial examples: the points of one attack on one model, with the judge's verdict on each.

    Example: saddlepoint attack zoo:mnist-pgd mnist10k:test --attack pgd --eps 0.3 --rows 100 --out examples/a --png
    """
    file = given.of(ctx)
    setup = planning.Setup(
        data_dir=data_dir, rows=rows, target=target, device=device, batch_size=batch_size, seed=seed,
        forwards=forwards, backwards=backwards, threads=threads,
    )  # fmt: skip
    balls = planning.balls(file, norm, eps, "attack", attack)
    named = planning.attacks(file, "attack", attack, balls[0])
    if len(balls) != 1 or len(named) != 1:
        raise SettingError(
            f"{len(named)} attacks and {len(balls)} radii; examples are of one: run the command for each"
        )
    with file.at("keep"):
        if keep not in KEEPS:
            raise unknown("--keep", keep, KEEPS)
    with file.at("shard"):
        part = common.shard(shard)
    chosen = build(named[0], balls[0], KEEPS[keep])
    plan = setup.plan(file, [planning.Model("model", model, model, weights)], data, balls, [chosen], images=png)
    if dry_run:
        common.console().print(common.jobs(plan))
        return
    with common.telling() as tell:
        size, command = setup.size(file), common.command_line()
        found = export(plan, out, png=png, shard=part, batch_size=size, command=command, progress=tell)
    _tell(found, out, shard)


def _tell(found: Examples | None, out: Path, shard: str) -> None:
    screen = common.console()
    if found is None:
        screen.print(f"shard {shard} is done; jobs of other shards are still missing", highlight=False)
        return
    about = found.about
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in (
        ("wrong when clean", "not attacked: x is the input"),
        ("held", ""),
        ("fooled", ""),
        ("undefined", "output not finite, or the point left ball or box"),
    ):
        table.add_row(name, str(about[name.partition(" ")[0]]), Text(text, style="dim"))
    screen.print(table)
    speaking = [finding for finding in found.record.findings if finding.level != "note"]
    screen.print(tables.findings(replace(found.record, findings=speaking)))
    if about["png_files"] is not None:
        screen.print(
            f"{about['png_files']} images of points that fool; rounded to 8 bits, {about['png_fooled']} still fool, "
            f"{about['png_fooled_inside']} of them inside the ball{_reach(about)}",
            highlight=False,
            soft_wrap=True,
        )
    screen.print(f"examples  {common.shown(out / 'examples.safetensors')}", highlight=False, soft_wrap=True)


def _reach(about: Mapping[str, Any]) -> str:
    return "" if about["png_largest_distance"] is None else f" (largest distance {about['png_largest_distance']:.6g})"
