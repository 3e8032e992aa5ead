"""``saddlepoint doctor``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from saddlepoint.api import Checkup
from saddlepoint.api import doctor as examine
from saddlepoint.cli import common, given, options, planning
from saddlepoint.defenses.spec import load_model
from saddlepoint.report import tables, text


def doctor(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="zoo:NAME or py:package.module:factory, and filters: zoo:NAME | median:2."
        ),
    ],
    data: Annotated[str, typer.Argument(metavar="DATA", help="The data set.")],
    rows: Annotated[int | None, typer.Option(help="Rows to look at; default: 64 to 512, as the time allows.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    device: options.Device = None,
    threads: options.Threads = None,
    config: Annotated[Path | None, given.option()] = None,
) -> None:
    """Whether a model can be evaluated as it is given: range, normalisation, labels, outputs, gradients, precision.

    Ends with 1 if an error was found. Example: saddlepoint doctor zoo:mnist-standard mnist10k:test
    """
    file = given.of(ctx)
    with file.at("threads"):
        common.set_threads(threads)
    with file.at("device"):
        device = common.check_device(device)
    found = planning.data_set(file, data, data_dir)
    with file.at("model"):
        loaded = load_model(model, weights=weights, device=device)
    with file.at():
        checkup = examine(loaded, found, rows=rows, name=model)
    if json:
        typer.echo(checkup.to_json(), nl=False)
    else:
        _tell(checkup, common.console())
    if any(finding.level == "error" for finding in checkup.findings):
        raise typer.Exit(1)


def _tell(checkup: Checkup, screen: Console) -> None:
    if checkup.findings:
        screen.print(tables.told(checkup.findings))
    count = len(checkup.findings)
    said = ("healthy", "bold green") if checkup.healthy else (text.plural(count, "finding"), "bold")
    screen.print(
        Text.assemble(
            said,
            f": {text.plural(len(checkup.checks), 'check')} on {text.plural(checkup.rows, 'row')} of "
            f"{text.plain(checkup.data)} in {text.duration(checkup.seconds)}",
            (f" ({', '.join(checkup.checks)})", "dim"),
        )
    )
