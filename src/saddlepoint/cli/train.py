"""``saddlepoint train``."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from saddlepoint._files import locked, write_atomic
from saddlepoint.attacks import PGD
from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.cli import common, given
from saddlepoint.data import Dataset, load_data
from saddlepoint.defenses.training import fit
from saddlepoint.defenses.training.checkpoint import Checkpoint
from saddlepoint.defenses.training.recipes import RECIPES, Recipe, customary
from saddlepoint.errors import RecordError, SettingError, unknown
from saddlepoint.evaluation import evaluate
from saddlepoint.models import file_sha256, save_weights
from saddlepoint.models.nets import ARCHITECTURES, build
from saddlepoint.records import HELD
from saddlepoint.result import Keep
from saddlepoint.solve import Attack

_MEASURED = 2000  # test rows: ten random starts on more take longer than the training


def train(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Argument(help="standard or pgd; `saddlepoint list` shows all.")],
    out: Annotated[Path, typer.Option(help="Where the weights go: NAME.safetensors; NAME.json goes beside it.")],
    data: Annotated[str, typer.Option(help="Data set; its splits train and test are used.")] = "mnist10k",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of fashion-mnist or cifar10.")] = None,
    net: Annotated[str, typer.Option(help="Architecture: SmallCNN, LeNet or PoolCNN.")] = "SmallCNN",
    eps: Annotated[
        str | None,
        typer.Option(help="Radius to train at, such as 0.3 or 8/255; default: the data set's customary one."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Of the weights, the order of the rows, and the noise.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; fix them for equal bits.")] = None,
    config: Annotated[Path | None, given.option()] = None,
) -> None:
    """Train a small net on a data set's train split, measure it on the test split, write weights and card.

    Killed, it goes on where it was when the same command is run again, and ends with the same weights.

    Example: saddlepoint train pgd --data mnist10k --out mnist-pgd.safetensors
    """
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    if net not in ARCHITECTURES:
        raise unknown("architecture", net, ARCHITECTURES)
    if out.suffix != ".safetensors":
        raise SettingError(f"--out {out.name!r} must end in .safetensors")
    if not out.parent.is_dir():
        raise SettingError(f"--out {out.name!r} lies in a folder that does not exist; make it first, or give another")
    common.set_threads(threads)
    chosen = RECIPES[recipe]
    if eps is not None and not chosen.robust:
        raise SettingError(f"--eps cannot be given for {recipe!r}, which trains on clean inputs")
    changes: dict[str, Any] = {
        key: value for key, value in (("epochs", epochs), ("batch_size", batch_size)) if value is not None
    }
    with given.of(ctx).at():
        radius = customary(data) if eps is None else common.number(eps)
        schedule = replace(chosen.schedule, seed=seed, **changes)
    where = common.check_device(device) or "cpu"
    read = load_data if data_dir is None else partial(load_data, data_dir=data_dir)
    learn, test = read(f"{data}:train"), read(f"{data}:test")
    architecture = _architecture(net, learn)
    module = _net(architecture, seed).to(where)
    how = chosen.describe(schedule, radius)
    about = {
        "recipe": {"name": recipe, **how},
        "data": learn.fingerprint,
        "environment": _environment(),
        "device": where,
    }
    checkpoint = Checkpoint(out.with_suffix(".checkpoint"), about)
    with _alone(checkpoint.path), common.bar() as progress:
        task = progress.add_task(f"training {recipe}")
        losses = fit(
            module,
            learn.x,
            learn.y,
            chosen.make(radius),
            schedule,
            watch=lambda done, total: progress.update(task, completed=done, total=total),
            checkpoint=checkpoint,
        )
        progress.update(task, description="measuring", total=None)
        accuracy = measure(Classifier(module), test[:_MEASURED], radius)
        save_weights(module, out)
        card = _card(recipe, chosen, out, learn, architecture, module, accuracy)
        card["recipe"].update(how, final_loss=round(losses.epochs[-1].loss, 6))
        write_atomic(out.with_suffix(".json"), (json.dumps(card, indent=1, allow_nan=False) + "\n").encode())
        checkpoint.remove()
    common.console().print_json(json.dumps(card["accuracy"]))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else trains into the same file meanwhile.

    Raises:  RecordError if somebody does.
    """
    lock = path.with_suffix(".lock")
    try:
        with locked(lock):
            yield
            lock.unlink(missing_ok=True)
    except BlockingIOError as error:
        raise RecordError(
            f"another process trains into {path.with_suffix('.safetensors').name!r}; wait for it, or give another --out"
        ) from error


def _environment() -> dict[str, Any]:
    """What the bits of the weights depend on, beside the recipe."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def measure(model: Classifier, test: Dataset, eps: float) -> dict[str, Any]:
    """Clean accuracy, PGD-40, and PGD-100 from 10 random starts (worst case), on the test rows; steps of eps / 30."""
    ball = Linf(eps)
    short: Attack = PGD(ball=ball, steps=40, step_size=eps / 30, keep=Keep.FIRST_SUCCESS)
    long: Attack = PGD(ball=ball, steps=100, step_size=eps / 30, keep=Keep.FIRST_SUCCESS)
    first = evaluate({"model": model}, test, balls=[ball], attacks=[short], draw=False).record.models[0]
    held = torch.tensor([letter == HELD for letter in first.threats[0].verdicts])
    weak = int(held.sum())
    for seed in range(1, 11):
        left = held.nonzero().squeeze(1)
        if not len(left):
            break
        run = evaluate({"model": model}, test[left], balls=[ball], attacks=[long], seed=seed, draw=False)
        held[left] = torch.tensor([v == HELD for v in run.record.models[0].threats[0].verdicts])
    return {
        "data": test.name,
        "rows": len(test),
        "clean": first.clean.count / len(test),
        "linf": {"eps": eps, "pgd-40": weak / len(test), "pgd-40 and pgd-100 x 10": int(held.sum()) / len(test)},
    }


def _architecture(net: str, data: Dataset) -> dict[str, Any]:
    """The net's name and arguments for inputs of this data set."""
    channels, height, width = data.x.shape[1:]
    if height != width:
        raise SettingError(f"{net} takes square images, {data.name} has {height} x {width}")
    return {"name": net, "channels": channels, "size": height, "classes": len(data.classes)}


def _net(architecture: dict[str, Any], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture)


def _card(
    name: str,
    recipe: Recipe,
    out: Path,
    data: Dataset,
    net: dict[str, Any],
    module: nn.Module,
    accuracy: dict[str, Any],
) -> dict[str, Any]:
    return {
        "description": f"{net['name']} on {data.name.partition(':')[0]}: {recipe.description}",
        "architecture": net,
        "bounds": list(data.bounds),
        "classes": len(data.classes),
        "parameters": sum(p.numel() for p in module.parameters()),
        "sha256": file_sha256(out),
        "recipe": {"name": name, "data": data.name, "rows": len(data), "data_sha256": data.fingerprint},
        "environment": _environment(),
        "accuracy": accuracy,
    }
