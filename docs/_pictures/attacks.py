"""What every attack does to the same eight digits, as one picture each, and a gallery of one digit under them all.

``python docs/_pictures/attacks.py [NAME ...]`` draws all, or the named ones and the gallery. It takes a few minutes and
goes on where it was: points are kept in ``runs/pictures`` until a line of the package changes.
"""

import argparse
import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file, save_file
from torch import Tensor

import saddlepoint as sp
from saddlepoint.attacks import PGD, Bisect
from saddlepoint.evaluation import attack_classes
from saddlepoint.evaluation.suites import settings
from saddlepoint.solve import Attack

ROOT = Path(__file__).parents[2]
PICTURES, POINTS = ROOT / "docs/images/attacks", ROOT / "runs/pictures"
MODEL, DATA, CLASSES, SHOWN = "zoo:mnist-standard", "mnist10k:test", range(8), 3
EPS = 0.2
CLEAN = "clean"
COLOURS = ("perc-al", "perc-cw")
"""Drawn by colour.py: they need RGB images."""
NORMS = (sp.L0, sp.L1, sp.L2, sp.Linf)

# Indices of the palette: greys from black to white, then differences from blue (less) over white to red (more).
GREYS, SIDE = 100, 64
BLUE, RED = ((5, 48, 97), (67, 147, 195)), ((103, 0, 31), (214, 96, 77))
WHITE, LINE, MUTED, INK = GREYS - 1, 84, 42, 12
EDGE = 20


class Asked(NamedTuple):
    """An attack, and how its settings are written."""

    attack: Attack
    ball: sp.Ball
    written: str


@dataclass(frozen=True)
class Points:
    """Digits (n, 28, 28) in [0, 1] before and after, and what the model calls them, (n,) each."""

    x0: Tensor
    x: Tensor
    label: list[int]
    said: list[int]

    def distances(self, norm: type[sp.Ball]) -> list[float]:
        """How far each digit was moved."""
        return norm(1.0).distance(self.x, self.x0).tolist()


def asked() -> dict[str, Asked]:
    """Every attack by name: first those in a ball of radius EPS, then those for the least distance, by norm."""
    fixed, least = {}, {}
    for name, cls in sorted(attack_classes().items()):
        if name in COLOURS:
            continue
        ball = cls.__dataclass_fields__["ball"].default
        if isinstance(ball, sp.Ball):
            least[name] = Asked(cls(), ball, f"{cls.__name__}()")
        else:
            fixed[name] = Asked(cls(ball=sp.Linf(EPS)), sp.Linf(EPS), f"{cls.__name__}(ball=Linf({EPS}))")
    least = dict(sorted(least.items(), key=lambda item: item[1].ball.norm))
    inside = PGD(ball=sp.Linf(EPS), keep=sp.Keep.FIRST_SUCCESS)
    written = f"Bisect(attack=PGD(ball=Linf({EPS}), keep=Keep.FIRST_SUCCESS))"
    return {**fixed, **least, "pgd-bisect": Asked(Bisect(attack=inside), inside.ball, written)}


def digits(model: sp.Classifier) -> sp.Dataset:
    """The first test digit of each class that the model gets right."""
    data = sp.load_data(DATA)
    right = (model.predict(data.x) == data.y).nonzero().squeeze(1)
    return data[[int(right[data.y[right] == label][0]) for label in CLASSES]]


def attacked(model: sp.Classifier, data: sp.Dataset, name: str, attack: Attack) -> Points:
    """The points of an attack, from ``runs/pictures`` where they were found before by the same code."""
    POINTS.mkdir(parents=True, exist_ok=True)
    code = b"".join(path.read_bytes() for path in sorted((ROOT / "src/saddlepoint").rglob("*.py")))
    told = json.dumps([settings(attack), model.fingerprint, DATA, data.rows.tolist()], default=str)
    file = POINTS / f"{name}-{hashlib.sha256(code + told.encode()).hexdigest()[:16]}.safetensors"
    if not file.exists():
        result = attack(model, data.x, data.y, noise=sp.Noise(0, data.rows))
        for old in POINTS.glob(f"{name}-{'?' * 16}.safetensors"):
            old.unlink()
        save_file({"x": result.x.contiguous()}, file)
    x = load_file(file)["x"]
    return Points(data.x.squeeze(1), x.squeeze(1), data.y.tolist(), model.predict(x).tolist())


def palette() -> list[int]:
    """Red, green and blue of every index."""
    colours = [(round(255 * i / (GREYS - 1)),) * 3 for i in range(GREYS)]
    for (far, half), order in ((BLUE, range(SIDE, 0, -1)), (RED, range(SIDE + 1))):
        for i in order:
            share, ends = (2 * i / SIDE, ((255,) * 3, half)) if 2 * i <= SIDE else (2 * i / SIDE - 1, (half, far))
            colours.append(tuple(round(a + share * (b - a)) for a, b in zip(*ends, strict=True)))
    return [value for colour in colours for value in colour]


def tile(indices: Tensor, zoom: int) -> Image.Image:
    """Indices (h, w) of the palette as an image, every one a square of ``zoom`` pixels."""
    high, wide = indices.shape
    image = Image.frombytes("L", (wide, high), bytes(indices.to(torch.uint8).flatten().tolist()))
    return image.resize((zoom * wide, zoom * high), Image.Resampling.NEAREST)


def grey(x: Tensor) -> Tensor:
    """Indices of values in [0, 1]."""
    return (x.clamp(0, 1) * (GREYS - 1)).round()


def signed(delta: Tensor, scale: float) -> Tensor:
    """Indices of differences in [-scale, scale]."""
    return GREYS + SIDE + (delta / (scale or 1) * SIDE).round()


class Card:
    """A white picture in the making."""

    def __init__(self, wide: int, high: int) -> None:
        self.image = Image.new("L", (wide, high), WHITE)

    def tile(self, left: int, top: int, indices: Tensor, zoom: int) -> None:
        """Values on a grid, with a thin frame around them."""
        image = tile(indices, zoom)
        frame = (left - 1, top - 1, left + image.width, top + image.height)
        ImageDraw.Draw(self.image).rectangle(frame, outline=LINE)
        self.image.paste(image, (left, top))

    def write(self, left: float, top: int, text: str, size: int = 20, ink: int = INK, anchor: str = "ma") -> None:
        """A line of text; anchors as in Pillow."""
        mask = Image.new("L", self.image.size, 0)
        ImageDraw.Draw(mask).text((left, top), text, 255, ImageFont.load_default(size), anchor)
        shade = mask.point([round(WHITE + (ink - WHITE) * i / 255) for i in range(256)])
        self.image.paste(shade, mask=mask.point([0, *[255] * 255]))

    def arrow(self, left: float, top: int) -> None:
        """An arrow to the right beside a line of text of 20 pixels; the font has none."""
        draw, middle = ImageDraw.Draw(self.image), top + 11
        draw.rectangle((left, middle - 1, left + 12, middle), fill=MUTED)
        draw.polygon(
            [(left + 11, middle - 6), (left + 18, middle - 1), (left + 18, middle), (left + 11, middle + 5)], MUTED
        )

    def png(self) -> bytes:
        """The finished file."""
        self.image.putpalette(palette())
        out = io.BytesIO()
        self.image.save(out, "PNG", optimize=True)
        return out.getvalue()


def amount(norm: type[sp.Ball], distance: float) -> str:
    """A distance with its norm."""
    digits = {"l0": 0, "linf": 3}.get(norm.norm, 1 if distance >= 10 else 2)
    return f"{norm.__name__}  {distance:.{digits}f}"


def sheet(points: Points, norm: type[sp.Ball], written: str, zoom: int = 4) -> bytes:
    """The digits of one attack, and below them what it added."""
    size, delta = zoom * 28, points.x - points.x0
    scale = delta.abs().max().item()
    wide = max(len(points.x) * (size + 12) - 12, 700) + 2 * EDGE
    card = Card(wide, 2 * size + 160)
    for i, (before, after, distance) in enumerate(zip(points.label, points.said, points.distances(norm), strict=True)):
        left, fooled = EDGE + i * (size + 12), before != after
        card.tile(left, EDGE, grey(points.x[i]), zoom)
        below = EDGE + size + 6
        if fooled:
            card.write(left + size / 2 - 22, below, str(before))
            card.arrow(left + size / 2 - 9, below)
            card.write(left + size / 2 + 22, below, str(after))
        else:
            card.write(left + size / 2, below, f"{before} held", ink=MUTED)
        card.tile(left, EDGE + size + 40, signed(delta[i], scale), zoom)
        card.write(left + size / 2, EDGE + 2 * size + 46, amount(norm, distance))
    foot, bar = EDGE + 2 * size + 94, torch.arange(-SIDE, SIDE + 1).expand(16, -1)
    card.write(EDGE, foot, written, 18, MUTED, "la")
    right = wide - EDGE - 60
    card.tile(right - bar.shape[1], foot + 2, signed(bar, SIDE), 1)
    card.write(right + 8, foot, f"+{scale:.2f}", 18, MUTED, "la")
    card.write(right - bar.shape[1] - 8, foot, f"-{scale:.2f}", 18, MUTED, "ra")
    return card.png()


def gallery(found: dict[str, Points], row: int, columns: int = 5, zoom: int = 3) -> bytes:
    """One digit under every attack: the digit, what was added on a scale of its own Linf, and its four distances."""
    size = zoom * 28
    step, high = 2 * size + 30, size + 96
    card = Card(columns * step - 24 + 2 * EDGE, -(-len(found) // columns) * high + 2 * EDGE - 14)
    for i, (name, points) in enumerate(found.items()):
        left, top = EDGE + i % columns * step, EDGE + i // columns * high
        delta, before, after = points.x[row] - points.x0[row], points.label[row], points.said[row]
        card.tile(left, top, grey(points.x[row]), zoom)
        card.tile(left + size + 6, top, signed(delta, delta.abs().max().item()), zoom)
        card.write(left, top + size + 5, name, 18, INK, "la")
        right = left + 2 * size + 6
        card.write(right, top + size + 5, str(after), 18, INK, "ra")
        if after != before:
            card.arrow(right - 36, top + size + 4)
        texts = [amount(norm, points.distances(norm)[row]) for norm in NORMS] if name != CLEAN else []
        for j, text in enumerate(texts):
            place = (left, "la") if j % 2 == 0 else (right, "ra")
            card.write(place[0], top + size + 29 + j // 2 * 22, text, 16, MUTED, place[1])
    return card.png()


def main(names: Sequence[str]) -> None:
    """Draw the pictures of these attacks, of all where none is named, and the gallery."""
    torch.set_num_threads(1)  # sums in the same order everywhere
    model, known = sp.load_model(MODEL), asked()
    data, found = digits(model), {}
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, (attack, ball, written) in known.items():
        found[name] = attacked(model, data, name, attack)
        if not names or name in names:
            (PICTURES / f"{name}.png").write_bytes(sheet(found[name], type(ball), written))
            print(name, found[name].said, [round(d, 3) for d in found[name].distances(type(ball))], flush=True)
    clean = dataclasses.replace(found["pgd"], x=found["pgd"].x0, said=found["pgd"].label)
    (PICTURES / "gallery.png").write_bytes(gallery({CLEAN: clean, **found}, SHOWN))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks to draw; all where none is given")
    main(parser.parse_args().names)
