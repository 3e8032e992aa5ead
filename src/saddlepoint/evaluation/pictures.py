"""Clean, adversarial and magnified difference, as PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.errors import missing
from saddlepoint.records import Picture


@final
@dataclass(frozen=True)
class Sample:
    """One fooled row on the CPU: its id, label, both predictions, distance, and both points (c, h, w)."""

    row: int
    y: int
    clean_prediction: int
    adversarial_prediction: int
    distance: float
    x0: Tensor
    x: Tensor


def is_image(x: Tensor) -> bool:
    """(n, c, h, w) with one or three channels."""
    return x.dim() == 4 and x.shape[1] in (1, 3)


def require_pillow() -> None:
    """Raises:  MissingExtraError if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise missing("Pillow", "cli") from error


def choose(samples: Sequence[Sample], count: int = 8) -> list[Sample]:
    """Up to ``count`` samples, as many different labels as there are, in order of appearance."""
    seen: dict[int, int] = {}
    ranked = []
    for i, sample in enumerate(samples):
        turn = seen[sample.y] = seen.get(sample.y, -1) + 1
        ranked.append((turn, i, sample))
    return [sample for _, _, sample in sorted(ranked, key=lambda item: item[:2])[:count]]


def draw(
    samples: Sequence[Sample], attack: str, names: Sequence[str], bounds: Bounds, prefix: str
) -> tuple[list[Picture], dict[str, bytes]]:
    """Pictures and their files, named ``pictures/<prefix>-<i>-<kind>.png``."""
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
            Picture(
                row=s.row,
                attack=attack,
                label=names[s.y],
                clean_prediction=names[s.clean_prediction],
                adversarial_prediction=names[s.adversarial_prediction],
                distance=s.distance,
                magnified=factor,
                **paths,
            )
        )
    return pictures, files


def png(image: Tensor) -> bytes:
    """An 8-bit PNG of an image (c, h, w) in [0, 1], rounded, with one or three channels."""
    from PIL import Image

    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG", optimize=True)
    return out.getvalue()
