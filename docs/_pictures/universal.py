"""One perturbation for all digits, and for all photographs: v itself, magnified, and rows with it.

``python docs/_pictures/universal.py`` writes docs/images/universal.png. It takes a few seconds.
"""

import io
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import saddlepoint as sp
from saddlepoint.attacks import Universal, UniversalPerturbation
from saddlepoint.attacks.universal import Ascent

FILE = Path(__file__).parents[1] / "images/universal.png"
TASKS = [
    ("zoo:mnist-standard", "mnist10k", 0.2, "Linf(0.2)"),
    ("zoo:fashion-standard", "fashion-mnist", 0.2, "Linf(0.2)"),
    ("zoo:photopatch-standard", "photopatch10", 10 / 255, "Linf(10 / 255)"),
]
FITTED, SHOWN = 500, 6
TILE, LARGE, EDGE, GAP = 112, 248, 20, 12
WHITE, INK, MUTED, LINE = (255, 255, 255), (31, 31, 31), (108, 108, 108), (216, 216, 216)


def fitted(model: sp.Classifier, data: str, eps: float) -> Universal:
    """One perturbation, from the first rows of the train split."""
    attack = UniversalPerturbation(ball=sp.Linf(eps), rule=Ascent())
    held_out = sp.load_data(f"{data}:test").x[:1000]
    return attack.fit(model, sp.load_data(f"{data}:train").x[:FITTED], held_out=held_out)


def tile(x: Tensor, side: int) -> Image.Image:
    """An image (c, h, w) in [0, 1], every pixel a square."""
    high = (x.expand(3, -1, -1).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(high.contiguous().numpy()).resize((side, side), Image.Resampling.NEAREST)


def line(model: sp.Classifier, data: sp.Dataset, found: Universal, title: str) -> Image.Image:
    """The perturbation, from -eps (black) to eps (white), and one row of some classes without and with it."""
    card = Image.new("RGB", (2 * EDGE + LARGE + SHOWN * (TILE + GAP) + GAP, LARGE + 92), WHITE)
    draw, right = ImageDraw.Draw(card), model.predict(data.x) == data.y
    put(card, tile(found.v[0] / (2 * float(found.ball.eps)) + 0.5, LARGE), EDGE, 44)
    assert found.fitted is not None
    rate = found.fitted.held_out_rate
    text(draw, EDGE, 10, f"{title}   fools {rate:.0%} of test rows", INK)
    text(draw, EDGE, 48 + LARGE, "v, from -eps (black) to +eps", MUTED)
    places = [int((right & (data.y == label)).nonzero()[0]) for label in range(SHOWN)]
    x = data.x[places]
    after = found(model, x, data.y[places]).x
    said = model.predict(after).tolist()
    for i in range(SHOWN):
        left = EDGE + LARGE + 2 * GAP + i * (TILE + GAP)
        put(card, tile(x[i], TILE), left, 44)
        put(card, tile(after[i], TILE), left, 44 + LARGE - TILE)
        before, then = (
            name if len(name) < 12 else f"{name[:9]}..." for name in (data.classes[i], data.classes[said[i]])
        )
        text(draw, left, 44 + TILE + 1, before, MUTED)
        text(draw, left, 48 + LARGE, then, MUTED if said[i] == i else (160, 0, 30))
    return card


def put(card: Image.Image, image: Image.Image, left: int, top: int) -> None:
    """An image with a thin frame."""
    ImageDraw.Draw(card).rectangle((left - 1, top - 1, left + image.width, top + image.height), outline=LINE)
    card.paste(image, (left, top))


def text(draw: ImageDraw.ImageDraw, left: int, top: int, words: str, ink: tuple[int, int, int]) -> None:
    """A line of text."""
    draw.text((left, top), words, ink, ImageFont.load_default(19))


def main() -> None:
    """Fit, draw, write."""
    torch.set_num_threads(1)  # sums in the same order everywhere
    cards = []
    for spec, data, eps, written in TASKS:
        model = sp.load_model(spec)
        found = fitted(model, data, eps)
        print(spec, found.fitted)
        cards.append(line(model, sp.load_data(f"{data}:test"), found, f"{spec}   {written}"))
    sheet = Image.new("RGB", (cards[0].width, sum(card.height for card in cards)), WHITE)
    for i, card in enumerate(cards):
        sheet.paste(card, (0, i * card.height))
    out = io.BytesIO()
    sheet.quantize(128).save(out, "PNG", optimize=True)
    FILE.write_bytes(out.getvalue())
    print(len(out.getvalue()))


if __name__ == "__main__":
    main()
