"""Draw docs/images/photopatch10.png: six test patches of each class, twice as large.

python recipes/photopatch10_picture.py docs/images/photopatch10.png
"""

import sys

from PIL import Image, ImageDraw, ImageFont

import saddlepoint as sp

SIDE, GAP, LINE = 64, 4, 22
WIDTH, HEIGHT = 3 * (SIDE + GAP) + 12, 2 * (SIDE + GAP) + LINE + 8


def main(out):
    data = sp.load_data("photopatch10:test")
    sheet = Image.new("RGB", (5 * WIDTH, 2 * HEIGHT), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for label, name in enumerate(data.classes):
        x, y = label % 5 * WIDTH, label // 5 * HEIGHT
        draw.text((x + GAP, y), name, fill="black", font=font)
        rows = data.x[data.y == label][::8].mul(255).round().byte().permute(0, 2, 3, 1).numpy()
        for i, row in enumerate(rows[:6]):
            patch = Image.fromarray(row).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(patch, (x + GAP + i % 3 * (SIDE + GAP), y + LINE + i // 3 * (SIDE + GAP)))
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
