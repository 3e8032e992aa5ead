"""``saddlepoint universal``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from saddlepoint.attacks import UniversalPerturbation
from saddlepoint.attacks.universal import RULES, Universal
from saddlepoint.cli import common, given, options, planning
from saddlepoint.errors import DataError, SettingError, SpecError, unknown
from saddlepoint.models import load_model
from saddlepoint.noise import Noise


def universal(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="zoo:NAME or py:package.module:factory.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="The data set.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file of the perturbation.")],
    norm: Annotated[str, typer.Option(help="linf or l2.")] = "linf",
    eps: Annotated[str, typer.Option(help="Radius in input units, such as 0.2 or 10/255.")] = "",
    rule: Annotated[str, typer.Option(help="sequential (as published), minibatch or ascent.")] = "sequential",
    rows: Annotated[int, typer.Option(help="Fit to the first so many rows.")] = 500,
    held_out: Annotated[int, typer.Option(help="Measure on at most so many rows after those.")] = 1000,
    rate: Annotated[float, typer.Option(help="Stop once this share of the rows is fooled.")] = 0.8,
    epochs: Annotated[int, typer.Option(help="Passes over the rows, at most.")] = 10,
    target: Annotated[int | None, typer.Option(help="A class that all rows are to be called.")] = None,
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    device: options.Device = None,
    seed: Annotated[int, typer.Option(help="Of the order of the rows.")] = 0,
    threads: options.Threads = None,
    config: Annotated[Path | None, given.option()] = None,
) -> None:
    """Fit one perturbation that fools a model on most inputs; use it with `evaluate --attacks universal:OUT`.

    Killed, it goes on where it was when the same command is run again, and ends with the same file.

    Example: saddlepoint universal zoo:mnist-standard mnist10k:test --eps 0.2 --out v.safetensors
    """
    file = given.of(ctx)
    with file.at("out"):
        common.check_fitted(out)
    with file.at("rule"):
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
    with file.at("norm"):
        common.check_norm(norm)
    with file.at("eps"):
        if not eps:
            raise SpecError(f"{file.prefix}--eps is missing: the radius in input units, such as --eps 0.2 or 10/255")
        ball = common.BALLS[norm](common.number(eps))
    with file.at():
        attack = UniversalPerturbation(ball=ball, rule=RULES[rule](), rate=rate, epochs=epochs, target=target)
    with file.at("threads"):
        common.set_threads(threads)
    with file.at("device"):
        device = common.check_device(device)
    found = planning.data_set(file, data, data_dir)
    with file.at("rows"):
        if not 1 <= rows <= len(found):
            raise DataError(f"--rows {rows} must lie in [1, {len(found)}], the rows of {found.name}")
    with file.at("held_out"):
        if held_out < 0:
            raise SettingError(f"--held-out {held_out} must be >= 0, a number of rows")
    with file.at("model"):
        loaded = load_model(model, weights=weights, device=device)
    planning.check_fit(model, loaded, found)
    others = found.x[rows : rows + held_out].to(loaded.device)
    with common.telling() as tell:
        fitted = attack.fit(
            loaded,
            found.x[:rows].to(loaded.device),
            held_out=others if len(others) else None,
            noise=Noise(seed, found.rows[:rows]),
            checkpoint=out.with_suffix(".checkpoint"),
            progress=tell,
        )
    fitted.save(out)
    _tell(fitted, out)


def _tell(found: Universal, out: Path) -> None:
    fitted, screen = found.fitted, common.console()
    assert fitted is not None
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("fooled", f"{fitted.rate:.1%}", Text(f"of {fitted.rows} rows that it was fitted to", style="dim"))
    if fitted.held_out_rate is not None:
        table.add_row("", f"{fitted.held_out_rate:.1%}", Text(f"of {fitted.held_out_rows} others", style="dim"))
    told = f"passes over the rows: {fitted.forwards} forwards, {fitted.backwards} backwards"
    table.add_row("epochs", str(fitted.epochs), Text(told, style="dim"))
    screen.print(table)
    screen.print(f"perturbation  {common.shown(out)}", highlight=False, soft_wrap=True)
