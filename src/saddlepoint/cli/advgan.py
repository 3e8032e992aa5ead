"""``saddlepoint advgan``."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from saddlepoint.attacks import AdvGAN
from saddlepoint.attacks.advgan import BlackBox
from saddlepoint.balls import Linf
from saddlepoint.cli import common, given, options, planning
from saddlepoint.errors import DataError, SpecError
from saddlepoint.models import load_model
from saddlepoint.models.nets import build


def advgan(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="zoo:NAME or py:package.module:factory.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="The data set.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file of the generator.")],
    eps: Annotated[str, typer.Option(help="Linf radius in input units, such as 0.3 or 8/255.")] = "",
    target: Annotated[
        str, typer.Option(help="none, every (one generator that is told the class) or a class.")
    ] = "none",
    epochs: Annotated[int, typer.Option(help="Over the rows, in each round.")] = AdvGAN.epochs,
    black_box: Annotated[
        int | None, typer.Option(help="Only ask the model; rounds: 0 is static distillation, more is dynamic.")
    ] = None,
    copy: Annotated[str, typer.Option(help="Net that a black box is distilled into.")] = "SmallCNN",
    rows: options.Rows = None,
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    config: Annotated[Path | None, given.option()] = None,
) -> None:
    """Fit a net that makes perturbations in one pass; use it with `evaluate --attacks advgan:OUT`.

    Killed, it goes on where it was when the same command is run again, and ends with the same file.

    Example: saddlepoint advgan zoo:mnist-standard mnist10k:train --eps 0.3 --out g.safetensors
    """
    file = given.of(ctx)
    with file.at("out"):
        common.check_fitted(out)
    with file.at("eps"):
        if not eps:
            raise SpecError("--eps is missing: the radius in input units, for example --eps 0.3 or --eps 8/255")
        ball = Linf(common.number(eps))
    with file.at():
        goal = int(target) if target.isdecimal() else target
        box = None if black_box is None else BlackBox(rounds=black_box)
        settings = AdvGAN(ball=ball, target=goal, epochs=epochs, seed=seed, black_box=box)
    with file.at("threads"):
        common.set_threads(threads)
    with file.at("device"):
        device = common.check_device(device)
    found = planning.data_set(file, data, data_dir)
    with file.at("rows"):
        if rows is not None and not 1 <= rows <= len(found):
            raise DataError(f"--rows {rows} must lie in [1, {len(found)}], the rows of {found.name}")
    found = found if rows is None else found[:rows]
    with file.at("model"):
        loaded = load_model(model, weights=weights, device=device)
    planning.check_fit(model, loaded, found)
    net = None
    if box is not None:
        with file.at("copy"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels, size = found.x.shape[1], found.x.shape[-1]
            net = build({"name": copy, "channels": channels, "size": size, "classes": len(found.classes)})
    checkpoint = out.with_suffix(".checkpoint")
    with common.telling() as tell:
        attack = settings.fit(
            loaded, found.x, found.y, copy=net, checkpoint=checkpoint,
            watch=lambda done, total: tell(done, total, "fitting"),
        )  # fmt: skip
    attack.save(out)
    checkpoint.unlink(missing_ok=True)
    figures, meter = attack.history[-1].figures, loaded.meter
    screen, attacked = common.console(), "the model" if box is None else "its copy"
    screen.print(f"{figures['success']:.1%} of the rows fooled {attacked} in the last epoch", highlight=False)
    screen.print(f"passes: {meter.forwards} forwards, {meter.backwards} backwards", highlight=False)
    screen.print(f"generator  {common.shown(out)}", highlight=False, soft_wrap=True)
