"""Three patches of photopatch10 before and after each filter, as one picture: ``python docs/_pictures/filters.py``."""

import io
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import saddlepoint as sp
from saddlepoint.defenses.transforms import (
    JPEG,
    Bilateral,
    BitDepth,
    Gaussian,
    GaussianNoise,
    Mean,
    Median,
    NonLocalMeans,
    TotalVariation,
    Transform,
)
from saddlepoint.noise import Noise, drawing

PICTURE = Path(__file__).parents[2] / "docs/images/filters.png"
DATA, SHOWN = "photopatch10:test", (450, 151, 192)
ZOOM, GAP, EDGE, TITLE, COLUMNS = 3, 6, 16, 26, 6
FILTERS: dict[str, Transform | None] = {
    "clean": None,
    "bit-depth:2": BitDepth(2),
    "bit-depth:2,truncate": BitDepth(2, "truncate"),
    "median:2": Median(2),
    "median:3": Median(3),
    "mean:3": Mean(3),
    "gaussian:1.0": Gaussian(1.0),
    "bilateral:5,0.1,1.5": Bilateral(5, 0.1, 1.5),
    "non-local-means:11,3,0.05": NonLocalMeans(11, 3, 0.05),
    "jpeg:25": JPEG(25),
    "total-variation:0.03": TotalVariation(0.03),
    "gaussian-noise:0.1": GaussianNoise(0.1),
}


def filtered(x: Tensor) -> dict[str, Tensor]:
    """The patches after each filter."""
    with drawing(Noise(0)):
        return {name: x if transform is None else transform(x) for name, transform in FILTERS.items()}


def picture(found: dict[str, Tensor]) -> bytes:
    """A column of patches under the name of each filter."""
    count, _, high, wide = next(iter(found.values())).shape
    block = ZOOM * wide + 2 * (EDGE + 24), TITLE + count * (ZOOM * high + GAP) + EDGE
    card = Image.new("RGB", (COLUMNS * block[0], -(-len(found) // COLUMNS) * block[1] + EDGE), "white")
    draw = ImageDraw.Draw(card)
    for i, (name, x) in enumerate(found.items()):
        left, top = i % COLUMNS * block[0], EDGE + i // COLUMNS * block[1]
        draw.text((left + block[0] / 2, top), name, "#202020", ImageFont.load_default(13), "ma")
        for j, patch in enumerate(x.mul(255).round().to(torch.uint8).movedim(1, -1).numpy()):
            tile = Image.fromarray(patch).resize((ZOOM * wide, ZOOM * high), Image.Resampling.NEAREST)
            card.paste(tile, (left + (block[0] - tile.width) // 2, top + TITLE + j * (tile.height + GAP)))
    out = io.BytesIO()
    card.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    torch.set_num_threads(1)
    PICTURE.write_bytes(picture(filtered(sp.load_data(DATA).x[list(SHOWN)])))
