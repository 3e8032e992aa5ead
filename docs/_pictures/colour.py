"""What the attacks on colour differences do to three patches of photographs, beside C&W L2 and PGD.

``python docs/_pictures/colour.py`` draws ``perc-al.png`` and ``perc-cw.png``. It takes a minute.
"""

import io
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import saddlepoint as sp
from saddlepoint.attacks import CWL2, PGD, PerCAL, PerCCW
from saddlepoint.balls import Perceptual
from saddlepoint.solve import Attack

PICTURES = Path(__file__).parents[2] / "docs/images/attacks"
MODEL, DATA, PLACES = "zoo:photopatch-standard", "photopatch10:test", (0, 55, 105)
NAMES = ("perc-al", "perc-cw")
SIDE, GAP, TIMES = 96, 8, 10
BESIDE = {"C&W L2": CWL2(), "PGD, Linf 8/255": PGD(ball=sp.Linf(8 / 255))}
DRAWN: dict[str, tuple[str, Attack]] = {
    "perc-al": ("PerC-AL", PerCAL(step_size=0.1, colour_step=0.1)),
    "perc-cw": ("PerC-C&W", PerCCW(steps=300, search_steps=5)),
}


def tile(image: Tensor) -> Image.Image:
    """An image (3, h, w) in [0, 1], enlarged."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).numpy()
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def sheet(x0: Tensor, columns: dict[str, Tensor]) -> bytes:
    """A line for each image: clean, then each attack's point and what it added, ten times and around grey."""
    wide, high = SIDE + GAP, SIDE + 30
    card = Image.new("RGB", (GAP + wide * (1 + 2 * len(columns)), 30 + len(x0) * high), "white")
    draw, font = ImageDraw.Draw(card), ImageFont.load_default(14)
    draw.text((GAP, 8), "clean", "black", font)
    for i, (name, x) in enumerate(columns.items()):
        left = GAP + wide * (1 + 2 * i)
        draw.text((left, 8), f"{name}; difference x {TIMES}", "black", font)
        totals = Perceptual(1.0).distance(x, x0).tolist()
        lengths = sp.L2(1.0).distance(x, x0).tolist()
        for row in range(len(x0)):
            top = 30 + row * high
            card.paste(tile(x0[row]), (GAP, top))
            card.paste(tile(x[row]), (left, top))
            card.paste(tile(0.5 + TIMES * (x[row] - x0[row])), (left + wide, top))
            draw.text((left, top + SIDE + 4), f"CIEDE2000 {totals[row]:.0f}   L2 {lengths[row]:.2f}", "black", font)
    out = io.BytesIO()
    card.quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Draw both."""
    torch.set_num_threads(1)
    model, data = sp.load_model(MODEL), sp.load_data(DATA)
    right = (model.predict(data.x) == data.y).nonzero().squeeze(1)
    some = data[right[list(PLACES)].tolist()]
    found = {name: attack(model, some.x, some.y).x for name, attack in BESIDE.items()}
    for name, (title, attack) in DRAWN.items():
        result = attack(model, some.x, some.y)
        (PICTURES / f"{name}.png").write_bytes(sheet(some.x, {title: result.x, **found}))
        print(name, result.success.tolist(), result.distance.tolist(), flush=True)


if __name__ == "__main__":
    main()
