"""Adversarial examples as 8-bit images: written, read back from the file, and judged again as they then are.

Rounding moves a point by up to half a level: it may no longer fool, and it may leave the ball. Inputs and eps on the
grid of 1/255 stay inside Linf.
"""

import io
import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint._files import write_atomic
from saddlepoint.balls import Bounds
from saddlepoint.data import Dataset
from saddlepoint.errors import SettingError
from saddlepoint.evaluation import pictures, targets
from saddlepoint.evaluation.plan import Plan
from saddlepoint.evaluation.store import Outcome
from saddlepoint.evaluation.verify import judge
from saddlepoint.noise import Noise

KEYS = ("png_files", "png_fooled", "png_fooled_inside", "png_largest_distance")
"""What is told: files, those that fool, those of them in the ball, the largest distance of a file from its input."""

_THREADS = 8
_BATCH = 64
_OURS = re.compile(r"row--?\d+-.+-as-.+\.png")
_ODD = re.compile(r"[^A-Za-z0-9]+")


def require_images(data: Dataset) -> None:
    """Refuse rows that are no images.

    Raises:  SettingError;  MissingExtraError if Pillow is not installed.
    """
    if not pictures.is_image(data.x):
        raise SettingError(
            f"png needs images (n, c, h, w) with 1 or 3 channels, {data.name} has rows of shape "
            f"{tuple(data.x.shape[1:])}; leave --png out"
        )
    pictures.require_pillow()


def write(
    plan: Plan,
    examples: Outcome,
    folder: Path,
    *,
    batch_size: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Write the rows that are fooled as PNG, read each file back, and judge what was read.

    Args:  examples: tensors as in ``Examples``;  folder: older images of ours in it are replaced.
    Returns:  the values of :data:`KEYS`.
    Raises:  OSError if a file cannot be written.
    """
    (subject,), places = plan.subjects, examples["fooled"].nonzero().squeeze(1)
    rows, labels, predicted = (examples[key][places] for key in ("rows", "y", "predicted"))
    names = file_names(rows, labels, predicted, plan.data.classes)
    folder.mkdir(exist_ok=True)
    for old in set(os.listdir(folder)) - set(names):
        if _OURS.fullmatch(old):
            (folder / old).unlink()

    def one(place: int, name: str) -> Tensor:
        return through_file(examples["x"][place], folder / name, subject.model.bounds)

    read = plan.data.x[places].clone()
    with ThreadPoolExecutor(max_workers=min(_THREADS, os.cpu_count() or 1)) as pool:
        for i, image in enumerate(pool.map(one, places.tolist(), names)):
            read[i] = image
            if progress is not None:
                progress(i + 1, len(names), "images")
    return dict(zip(KEYS, _judged(plan, places, read, batch_size or _BATCH), strict=True))


def through_file(x: Tensor, path: Path, bounds: Bounds) -> Tensor:
    """Write an input (c, h, w) as an 8-bit PNG, its bounds black and white; returns what the file's bytes say."""
    from PIL import Image

    write_atomic(path, pictures.png((x - bounds.lower) / bounds.width))
    with Image.open(io.BytesIO(path.read_bytes()), formats=("PNG",)) as image:
        levels = torch.from_numpy(np.atleast_3d(np.asarray(image)).astype(np.float32)).permute(2, 0, 1)
    return bounds.lower + levels / 255 * bounds.width


def file_names(rows: Tensor, labels: Tensor, predicted: Tensor, classes: Sequence[str]) -> list[str]:
    """A name for each row, all different, of letters, digits and dashes whatever the classes are called.

    >>> file_names(torch.tensor([7]), torch.tensor([0]), torch.tensor([2]), ["../cat", "dog"])
    ['row-000007-cat-as-2.png']
    """

    def tidy(index: int) -> str:
        name = classes[index] if index < len(classes) else ""
        return _ODD.sub("-", name).strip("-")[:40] or str(index)

    triples = zip(rows.tolist(), labels.tolist(), predicted.tolist(), strict=True)
    return [f"row-{row:06d}-{tidy(label)}-as-{tidy(wrong)}.png" for row, label, wrong in triples]


def _judged(plan: Plan, places: Tensor, x: Tensor, size: int) -> tuple[int, int, int, float | None]:
    """Files, those that fool wherever they lie, those that fool inside the ball, and the largest distance."""
    (subject,), ((ball, _),), data = plan.subjects, plan.threats, plan.data
    model, fooled, inside, farthest = subject.model, 0, 0, 0.0
    for part in torch.arange(len(places)).split(size) if len(places) else ():
        x0, y, ids = (tensor[places[part]].to(model.device) for tensor in (data.x, data.y, data.rows))
        noise = Noise(plan.seed).at(ids)
        target = targets.choose(plan.target, model, x0, y, noise)
        points = x[part].to(model.device)
        anywhere = judge(model, x0, points, y, target, norm=ball.norm, eps=math.inf, noise=noise)
        within = judge(model, x0, points, y, target, norm=ball.norm, eps=float(ball.eps), noise=noise)
        fooled += int(anywhere.fooled.sum())
        inside += int(within.fooled.sum())
        farthest = max(farthest, float(anywhere.distance.max()))
    return len(places), fooled, inside, farthest if len(places) else None
