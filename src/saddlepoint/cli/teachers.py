"""The model that a distillation learns from: given, found beside --out, or trained first."""

import os
from collections.abc import Callable
from typing import Any

from torch import nn

from saddlepoint.cli.job import Job, bare
from saddlepoint.cli.telling import Teller
from saddlepoint.cli.training import finished, train
from saddlepoint.errors import RecordError, SettingError
from saddlepoint.models import load_model, load_weights


def taught(job: Job, spec: str | None, tell: Callable[[str], Teller]) -> nn.Module | None:
    """The teacher that a recipe needs: the model of that spec, or else one that is trained first and kept beside out.

    Raises:  SettingError if there is a spec, and no teacher is needed.
    """
    if not job.recipe.teacher:
        if spec is not None:
            raise SettingError(f"--teacher cannot be given for {job.recipe.name!r}, which learns from labels alone")
        return None
    if spec is not None:
        return bare(load_model(spec, device=job.device), spec)
    first = job.of_teacher()
    if (module := _finished(first)) is not None:
        return module
    return train(first, None, tell(f"training the {first.recipe.name}"))[0]


def taught_by(job: Job, spec: str | None) -> nn.Module | None:
    """The teacher as :func:`taught` gives it, but not trained yet where there is no spec."""
    return job.of_teacher().net() if job.recipe.teacher and spec is None else taught(job, spec, _no_teller)


def done(job: Job, spec: str | None) -> dict[str, Any] | None:
    """The card of this training if it was finished before; nothing is trained to find out.

    Raises:  RecordError if its file is there, and of another training.
    """
    if not os.path.exists(job.out):
        return None
    job.net()  # says what is wrong with the weights to begin with
    if spec is not None or not job.recipe.teacher:
        return finished(job, taught(job, spec, _no_teller))
    first = job.of_teacher()
    if (module := _finished(first)) is None:
        raise RecordError(
            f"{job.out.name!r} is there without its teacher {first.out.name!r}; give another --out, or delete it"
        )
    return finished(job, module)


def _finished(job: Job) -> nn.Module | None:
    """The net of a training that was finished before, if its files are there and of this very training."""
    try:
        card = finished(job, None)
    except RecordError as error:
        raise RecordError(
            f"{job.out.name!r} is no teacher of this training; delete it and its .json to train one, name it with "
            "--teacher, or give another --out"
        ) from error
    if card is None:
        return None
    module = job.net()
    load_weights(module, job.out, card["sha256"])
    return module


def _no_teller(what: str) -> Teller:
    raise AssertionError(what)  # nothing is trained where there is a spec
