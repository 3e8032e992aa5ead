"""Which rows are shown, and their pictures as PNG: clean, adversarial, and the magnified difference."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.errors import missing
from saddlepoint.records import FooledPicture, HeldPicture

EASIEST, HARDEST = 4, 8
"""Rows that are shown of each kind."""


@final
@dataclass(frozen=True)
class Tally:
    """What each of ``a`` attacks found on each of ``n`` rows, (a, n) each.

    Args:
        fooled, held: the verdicts, both false where a row was not attacked or is undefined.
        passes: forwards and backwards spent;  room: logit units left until it is fooled, negative where it is.
    """

    fooled: Tensor
    held: Tensor
    passes: Tensor
    room: Tensor

    def easiest(self, count: int = EASIEST) -> list[tuple[int, int]]:
        """(row, attack): the rows fooled by the most attacks, then in the fewest passes, then furthest.

        The attack is the one that went furthest past the boundary.
        """
        room, attack = self.room.masked_fill(~self.fooled, float("inf")).min(0)
        times = self.fooled.sum(0)
        order = times.nonzero().squeeze(1)
        for key in (room, self.passes.sum(0), -times):  # stable: the last key decides first
            order = order[key[order].argsort(stable=True)]
        return [(row, int(attack[row])) for row in order[:count].tolist()]

    def hardest(self, count: int = HARDEST) -> list[tuple[int, int]]:
        """(row, attack): the rows that held under every attack, those with the most room first.

        The attack is the one that came nearest; a row's room is what it left.
        """
        room, attack = self.room.min(0)
        order = (self.held.all(0) & room.isfinite()).nonzero().squeeze(1)
        order = order[room[order].argsort(descending=True, stable=True)]
        return [(row, int(attack[row])) for row in order[:count].tolist()]


@final
@dataclass(frozen=True)
class Sample:
    """One fooled row on the CPU: its id, label, both predictions, distance, and both points (c, h, w)."""

    row: int
    attack: str
    fooled_by: int
    passes: int
    y: int
    clean_prediction: int
    adversarial_prediction: int
    distance: float
    x0: Tensor
    x: Tensor


@final
@dataclass(frozen=True)
class Held:
    """One row that held: its id, the attack that came nearest, its label, the room left, and the clean input."""

    row: int
    attack: str
    y: int
    room: float
    x0: Tensor


def is_image(x: Tensor) -> bool:
    """(n, c, h, w) with one or three channels."""
    return x.dim() == 4 and x.shape[1] in (1, 3)


def require_pillow() -> None:
    """Raises:  MissingExtraError if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise missing("Pillow", "cli") from error


def draw(
    samples: Sequence[Sample], names: Sequence[str], bounds: Bounds, prefix: str
) -> tuple[list[FooledPicture], dict[str, bytes]]:
    """Pictures of fooled rows and their files, named ``pictures/<prefix>-<i>-<kind>.png``."""
    pictures, files = [], {}
    for i, s in enumerate(samples):
        delta = (s.x - s.x0) / bounds.width
        factor = 0.5 / max(delta.abs().max().item(), 1e-12)
        images = {
            "clean": (s.x0 - bounds.lower) / bounds.width,
            "adversarial": (s.x - bounds.lower) / bounds.width,
            "difference": 0.5 + delta * factor,
        }
        paths = {kind: f"pictures/{prefix}-{i}-{kind}.png" for kind in images}
        files.update({paths[kind]: png(image) for kind, image in images.items()})
        pictures.append(
            FooledPicture(
                row=s.row,
                attack=s.attack,
                fooled_by=s.fooled_by,
                passes=s.passes,
                label=names[s.y],
                clean_prediction=names[s.clean_prediction],
                adversarial_prediction=names[s.adversarial_prediction],
                distance=s.distance,
                magnified=factor,
                **paths,
            )
        )
    return pictures, files


def draw_held(
    rows: Sequence[Held], names: Sequence[str], bounds: Bounds, prefix: str
) -> tuple[list[HeldPicture], dict[str, bytes]]:
    """Pictures of rows that held and their files, named ``pictures/<prefix>-held-<i>.png``."""
    pictures, files = [], {}
    for i, s in enumerate(rows):
        path = f"pictures/{prefix}-held-{i}.png"
        files[path] = png((s.x0 - bounds.lower) / bounds.width)
        pictures.append(HeldPicture(row=s.row, attack=s.attack, label=names[s.y], room=round(s.room, 4), clean=path))
    return pictures, files


def png(image: Tensor) -> bytes:
    """An 8-bit PNG of an image (c, h, w) in [0, 1], rounded, with one or three channels."""
    from PIL import Image

    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG", optimize=True)
    return out.getvalue()
