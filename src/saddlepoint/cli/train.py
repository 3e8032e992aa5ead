"""``saddlepoint train``."""

import json
import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.text import Text

from saddlepoint.cli import common, given
from saddlepoint.cli.given import Given
from saddlepoint.cli.job import Job, own_net
from saddlepoint.cli.plan_of_training import table
from saddlepoint.cli.teachers import done, taught
from saddlepoint.cli.telling import Teller
from saddlepoint.cli.training import train as run
from saddlepoint.data import Dataset, data_specs, load_data
from saddlepoint.data.reading import SPLITS
from saddlepoint.defenses.training.processes import started
from saddlepoint.defenses.training.recipes import Recipe, recipes
from saddlepoint.errors import DataError, SettingError, SpecError, shown, unknown
from saddlepoint.models.nets import ARCHITECTURES

_STRUCTURED = ("objective", "schedule", "validation", "awp")
_OF_SCHEDULE = ("epochs", "batch_size", "precision", "seed")


def train(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Argument(help="Such as pgd or fast; `saddlepoint list` shows all.")],
    out: Annotated[Path, typer.Option(help="Where the weights go: NAME.safetensors; other files go beside it.")],
    data: Annotated[
        str | None, typer.Option(help="Data set without a split: train and test are both used. Default: the recipe's.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of fashion-mnist or cifar10.")] = None,
    net: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(ARCHITECTURES)}, or py:package.module:factory. Default: the recipe's."),
    ] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Let a file of --config name a py: net, whose code runs.")
    ] = False,
    eps: Annotated[
        str | None,
        typer.Option(help="Radius to train at, such as 0.3 or 8/255; default: the recipe's, or the data set's."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Of all processes together. Default: the recipe's.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16. Default: the recipe's.")] = None,
    awp: Annotated[bool, typer.Option("--awp", help="Perturb the weights, too (Wu et al. 2020).")] = False,
    contractive: Annotated[
        float | None, typer.Option(help="Weight of a penalty on the layers' Jacobians (Gu & Rigazio 2015).")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Model to learn from; default: one is trained first.")] = None,
    start: Annotated[Path | None, typer.Option(help="Safetensors file of the weights to begin with.")] = None,
    validation: Annotated[int | None, typer.Option(help="Rows to hold out and attack after every epoch.")] = None,
    keep: Annotated[str | None, typer.Option(help="last or best: which weights, by validation.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better one.")] = None,
    guard: Annotated[str | None, typer.Option(help="Against catastrophic overfitting: stop, warn or off.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write NAME.tensorboard, too.")] = False,
    seed: Annotated[int, typer.Option(help="Of the weights, the order of the rows, and the noise.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; fix them for equal bits.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print plan and cost, and stop.")] = False,
    config: Annotated[Path | None, given.option(*_STRUCTURED)] = None,
) -> None:
    """Train a net on a data set's train split, measure it on the test split; write weights, card, record and report.

    Killed, it goes on where it was when the same command is run again, and ends with the same weights; finished, it is
    not done again, and no other training takes its place. Started by torchrun or accelerate launch, the processes share
    every batch.

    Example: saddlepoint train pgd --data mnist10k --out mnist-pgd.safetensors
    """
    known = recipes()
    if recipe not in known:
        raise unknown("recipe", recipe, known)
    if out.suffix != ".safetensors":
        raise SettingError(f"--out {out.name!r} must end in .safetensors")
    if not os.path.isdir(out.parent):
        raise SettingError(f"--out {out.name!r} lies in a folder that does not exist; make it first, or give another")
    file = given.of(ctx)
    common.set_threads(threads)
    if eps is not None and not known[recipe].robust:
        raise SettingError(f"--eps cannot be given for {recipe!r}, which trains on clean inputs")
    options = {"epochs": epochs, "batch_size": batch_size, "precision": precision, "seed": seed}
    checks = {"rows": validation, "keep": keep, "patience": patience, "guard": guard}
    chosen = _chosen(file, known[recipe], options, checks, awp)
    if contractive is not None:
        if not 0 <= contractive < math.inf:
            raise SettingError(f"--contractive {contractive:g} must be a finite weight of at least 0, such as 0.1")
        chosen = chosen.changed(objective={"contractive": contractive})
    name = chosen.data if data is None else data
    with file.at("data"):
        _check_name(name, data_dir)
    with file.at():
        ball = chosen.ball(name, None if eps is None else common.number(eps))
        chosen.validate(ball)
    where = _device(device)
    net = _checked_net(file, chosen.net if net is None else net, allow_code)
    read = load_data if data_dir is None else partial(load_data, data_dir=data_dir)
    learn, test = read(f"{name}:train"), read(f"{name}:test")
    _check_splits(learn, test)
    job = Job(
        recipe=chosen, ball=ball, out=out, learn=learn, test=test, architecture=_architecture(net, learn), device=where,
        seed=seed, start=start, tensorboard=tensorboard,
    )  # fmt: skip
    if dry_run:
        common.console().print(table(job, teacher))
        return
    first = started()[0] == 0
    with common.bar() as progress:

        def tell(what: str) -> Teller:
            folder = out.with_suffix(".tensorboard") if tensorboard else None
            return Teller(progress, what, chosen.schedule.epochs, quiet=not first, folder=folder)

        card = done(job, teacher)
        if card is not None and first:
            progress.console.print(Text(f"{out.name} is done already, by the same training"), soft_wrap=True)
        if card is None:
            module = taught(job, teacher, tell)
            card = run(job, module, tell(f"training {recipe}"))[2]
    if first:
        common.console().print_json(json.dumps(card["accuracy"]))
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _chosen(file: Given, recipe: Recipe, options: Mapping[str, Any], checks: Mapping[str, Any], awp: bool) -> Recipe:
    """The recipe with the settings of the file, and then with those of options, which go first."""
    changes: dict[str, Mapping[str, object]] = {}
    for key in _STRUCTURED:
        told = file.get(key)
        if isinstance(told, Mapping):
            changes[key] = told
        elif told is not None and key != "validation" and key != "awp":
            with file.at(key):
                raise SpecError(f"{shown(told)} must be a mapping of settings, one on each line")
    if awp and "awp" not in changes:
        changes["awp"] = {}
    schedule = {key: value for key, value in options.items() if value is not None}
    measured = {key: value for key, value in checks.items() if value is not None}
    with file.at():
        for key, told in changes.items():
            with file.at(key):
                recipe = recipe.changed(**{key: told})
                recipe.make(recipe.ball(recipe.data)) if key in ("objective", "awp") and not recipe.teacher else None
        if measured:
            if recipe.validation is None and "rows" not in measured:
                raise SettingError(
                    f"{', '.join(f'--{key}' for key in measured)} needs rows that are held out: give --validation too"
                )
            off = {} if recipe.robust or recipe.validation is not None else {"guard": "off"}
            recipe = recipe.changed(validation={**off, **measured})
        return recipe.changed(schedule=schedule)


def _device(device: str | None) -> str:
    """Where to train: of many processes on GPUs, each on its own."""
    local = os.environ.get("LOCAL_RANK", "")
    if started()[1] > 1 and local.isdecimal() and (device == "cuda" or (device is None and torch.cuda.is_available())):
        torch.cuda.set_device(int(local))
        return f"cuda:{int(local)}"
    return common.check_device(device) or "cpu"


def _checked_net(file: Given, net: str, allow_code: bool) -> str:
    """The name of a net that may be made.

    Raises:  SpecError for an unknown one;  SettingError if a file names code that was not allowed.
    """
    if net in ARCHITECTURES:
        return net
    if not net.startswith("py:"):
        raise unknown("architecture", net, [*ARCHITECTURES, "py:package.module:factory"])
    if file.get("net") is not None and not (allow_code and file.typed("allow_code")):
        raise SettingError(
            f"{file.prefix}net: {net!r} runs code; if you trust the file and the code, add --allow-code to the command"
        )
    own_net(net)
    return net


def _check_name(name: str, data_dir: Path | None) -> None:
    """Raises:  SpecError for data with a split, or without the path that they need."""
    whole, _, split = name.rpartition(":")
    if whole and split in SPLITS:
        raise SpecError(f"--data {name!r} must be the name without a split, {whole}: both are used, train and test")
    folder = data_dir if name == "cifar10" else None
    if folder is None and any(spec.startswith(f"{name}:PATH") for spec in data_specs()):
        other = ", or give --data-dir, the folder with its files" if name == "cifar10" else ""
        raise SpecError(f"data set {name!r} has no path; write --data {name}:PATH{other}")


def _check_splits(learn: Dataset, test: Dataset) -> None:
    """Refuse, before the training, what could not be measured after it.

    Raises:  DataError if the splits differ in their shape or their classes, or one has no rows.
    """
    for each in (learn, test):
        if not len(each):
            raise DataError(f"{each.name} has no rows; give at least one")
    if learn.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"the rows of {learn.name} have the shape {tuple(learn.x.shape[1:])}, those of {test.name} "
            f"{tuple(test.x.shape[1:])}; give both splits one shape"
        )
    if int(test.y.max()) >= len(learn.classes):
        raise DataError(
            f"the labels of {test.name} run up to class {int(test.y.max())}, {learn.name} has classes 0 to "
            f"{len(learn.classes) - 1}; give both splits the same classes"
        )
    for i, (one, other) in enumerate(zip(learn.classes, test.classes, strict=False)):  # unnamed, only those that occur
        if one != other:
            raise DataError(
                f"class {i} is {one!r} in {learn.name} and {other!r} in {test.name}; give both splits the same classes"
            )


def _architecture(net: str, data: Dataset) -> dict[str, Any]:
    """The net's name and arguments for inputs of this data set."""
    if net.startswith("py:"):
        return {"py": net}
    if data.x.dim() != 4 or data.x.shape[2] != data.x.shape[3]:
        shape = " x ".join(map(str, data.x.shape[2:] or data.x.shape[1:]))
        raise SettingError(f"{net} takes square images, {data.name} has {shape}")
    channels, size = data.x.shape[1:3]
    return {"name": net, "channels": channels, "size": size, "classes": len(data.classes)}
