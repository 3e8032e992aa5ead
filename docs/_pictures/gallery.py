"""The gallery: the same eight photographs under every attack of the package, and how far each moved them.

``python docs/_pictures/gallery.py`` writes docs/images/gallery/*.webp and the table of docs/gallery.md. It takes a few
minutes and goes on where it was: points are kept in ``runs/gallery`` until a line of the package changes.
"""

import hashlib
import io
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file, save_file
from torch import Tensor

import saddlepoint as sp
from saddlepoint.attacks import (
    APGD,
    CWL0,
    CWL2,
    EOT,
    MIFGSM,
    PGD,
    AdvGAN,
    Bisect,
    Cascade,
    CWLinf,
    EachTarget,
    PerCAL,
    PerCCW,
    Restarts,
    Square,
    Transferred,
    UniversalPerturbation,
)
from saddlepoint.attacks.universal import Ascent
from saddlepoint.balls import Perceptual
from saddlepoint.evaluation import attack_classes
from saddlepoint.evaluation.suites import PRESETS, build, described
from saddlepoint.solve import Attack

ROOT = Path(__file__).parents[2]
PICTURES, POINTS = ROOT / "docs/images/gallery", ROOT / "runs/gallery"
TABLE = Path(__file__).with_name("gallery-table.txt")
MODEL, SURROGATE, DATA, CLASSES = "zoo:photopatch-standard", "zoo:photopatch-pgd", "photopatch10", range(8)
EPS, WRITTEN = 8 / 255, "Linf 8/255"
BALL = sp.Linf(EPS)
NORMS: tuple[type[sp.Ball], ...] = (sp.Linf, sp.L2, sp.L1, sp.L0, Perceptual)
FITTED, EPOCHS = 1000, 20
"""Training rows of the universal perturbation and of AdvGAN, and epochs of AdvGAN."""
ZOOM, GAP, LEFT, EDGE = 2, 6, 190, 16
INK, MUTED, RED = (32, 32, 32), (100, 100, 100), (170, 0, 30)


class Asked(NamedTuple):
    """An attack, and the picture that it stands in."""

    attack: Attack
    picture: str


@dataclass(frozen=True)
class Points:
    """Images (n, 3, h, w) before and after, and what the model calls them."""

    x0: Tensor
    x: Tensor
    label: list[int]
    said: list[int]

    @property
    def fooled(self) -> int:
        """How many images have another class now."""
        return sum(a != b for a, b in zip(self.label, self.said, strict=True))

    def distances(self) -> list[float]:
        """Means over the images that have another class now, in the order of NORMS."""
        hit = [i for i, (a, b) in enumerate(zip(self.label, self.said, strict=True)) if a != b]
        return [float(norm(1.0).distance(self.x[hit], self.x0[hit]).mean()) for norm in NORMS]


def asked(model: sp.Classifier) -> dict[str, Asked]:
    """Every attack by name: in the ball, for the least distance, by norm, then around others, and fitted ones."""
    inside, least = {}, {}
    for name, cls in sorted(attack_classes().items()):
        ball = cls.__dataclass_fields__["ball"].default
        if isinstance(ball, sp.Ball):
            least[name] = Asked(cls(), "least")
        else:
            inside[name] = Asked(cls(ball=BALL), "inside")
    shorter = [CWLinf(steps=100), CWL0(steps=100), CWL2(steps=300, search_steps=5)]
    shorter += [PerCAL(steps=300, step_size=0.1, colour_step=0.1), PerCCW(steps=200, search_steps=4)]
    least |= {attack.name: Asked(attack, "least") for attack in shorter}
    order = [norm.norm for norm in NORMS]
    least = dict(sorted(least.items(), key=lambda item: order.index(item[1].attack.ball.norm)))
    pgd = PGD(ball=BALL)
    first = PGD(ball=BALL, keep=sp.Keep.FIRST_SUCCESS)
    around: dict[str, Attack] = {name: build(name, BALL, sp.Keep.MAX_LOSS) for name in PRESETS}
    around |= {
        "Restarts of pgd": Restarts(attack=pgd, times=5),
        "EachTarget of pgd": EachTarget(attack=pgd),
        "Cascade of apgd, square": Cascade(attacks=[APGD(ball=BALL), Square(ball=BALL, steps=1000)]),
        "EOT of pgd": EOT(attack=pgd, draws=2),
        "Bisect of pgd": Bisect(attack=first),
        "Transferred mi-fgsm": Transferred(
            attack=MIFGSM(ball=BALL, keep=sp.Keep.MAX_LOSS), surrogate=sp.load_model(SURROGATE), source=SURROGATE
        ),
    }
    rows = sp.load_data(f"{DATA}:train")[:FITTED]
    around["Universal"] = UniversalPerturbation(ball=BALL, rule=Ascent()).fit(model, rows.x)
    around["AdvGANAttack"] = generator(model, rows)
    return {**inside, **least, **{name: Asked(attack, "around") for name, attack in around.items()}}


def generator(model: sp.Classifier, rows: sp.Dataset) -> Attack:
    """AdvGAN, fitted quickly; a fit that was killed goes on."""
    POINTS.mkdir(parents=True, exist_ok=True)
    path = POINTS / f"advgan-{code()}.safetensors"
    if not path.exists():
        settings = AdvGAN(ball=BALL, epochs=EPOCHS, norm_weight=0.01, confidence=2.0)
        settings.fit(model, rows.x, rows.y, checkpoint=path.with_suffix(".checkpoint")).save(path)
        path.with_suffix(".checkpoint").unlink(missing_ok=True)
    return sp.attacks.AdvGANAttack.load(path)


def code() -> str:
    """A hash of the package."""
    files = sorted((ROOT / "src/saddlepoint").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def photographs(model: sp.Classifier) -> sp.Dataset:
    """The second test patch of each class that the model gets right."""
    data = sp.load_data(f"{DATA}:test")
    right = (model.predict(data.x) == data.y).nonzero().squeeze(1)
    return data[[int(right[data.y[right] == label][1]) for label in CLASSES]]


def attacked(model: sp.Classifier, data: sp.Dataset, name: str, attack: Attack) -> Points:
    """The points of an attack, from ``runs/gallery`` where they were found before by the same code."""
    POINTS.mkdir(parents=True, exist_ok=True)
    told = json.dumps([described(attack), model.fingerprint, DATA, data.rows.tolist()], default=str)
    stem = "".join(c if c.isalnum() else "-" for c in name)
    file = POINTS / f"{stem}-{hashlib.sha256((code() + told).encode()).hexdigest()[:16]}.safetensors"
    if not file.exists():
        found = attack(model, data.x, data.y, noise=sp.Noise(0, data.rows)).x
        for old in POINTS.glob(f"{stem}-{'?' * 16}.safetensors"):
            old.unlink()
        save_file({"x": found.contiguous()}, file)
    x = load_file(file)["x"]
    return Points(data.x, x, data.y.tolist(), model.predict(x).tolist())


def tile(image: Tensor) -> Image.Image:
    """An image (3, h, w) in [0, 1], every pixel a square."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).contiguous().numpy()
    high, wide = image.shape[1:]
    return Image.fromarray(pixels).resize((ZOOM * wide, ZOOM * high), Image.Resampling.NEAREST)


def magnified(delta: Tensor) -> tuple[Tensor, list[float]]:
    """Differences (n, 3, h, w) around grey, the largest of each image at black or white, and so many times enlarged."""
    largest = delta.abs().amax((1, 2, 3))
    times = torch.where(largest > 0, 0.5 / largest, 1)
    return 0.5 + times.view(-1, 1, 1, 1) * delta, times[largest > 0].tolist()


def amounts(distances: Iterable[float]) -> list[str]:
    """Distances in the order of NORMS as text."""
    linf, l2, l1, l0, colour = distances
    return [f"{linf:.3f}", f"{l2:.2f}", f"{l1:.1f}", f"{l0:.0f}", f"{colour:.0f}"]


def sheet(x0: Tensor, found: dict[str, Points]) -> bytes:
    """The clean images, then a band for each attack: its name and distances, the images, and below what was added."""
    count, _, high, wide = x0.shape
    high, wide = ZOOM * high, ZOOM * wide
    first, band = high + 24, 2 * high + 20
    card = Image.new("RGB", (LEFT + count * (wide + GAP) + EDGE, first + len(found) * band + EDGE), "white")
    draw = ImageDraw.Draw(card)
    draw.text((EDGE, EDGE), "clean", INK, ImageFont.load_default(15))
    for j in range(count):
        card.paste(tile(x0[j]), (LEFT + j * (wide + GAP), EDGE))
    for i, (name, points) in enumerate(found.items()):
        write(card, points, name, EDGE + first + i * band)
    out = io.BytesIO()
    card.save(out, "WEBP", quality=86, method=6)
    return out.getvalue()


def write(card: Image.Image, points: Points, name: str, top: int) -> None:
    """The band of one attack."""
    draw, small = ImageDraw.Draw(card), ImageFont.load_default(13)
    high, wide = (ZOOM * side for side in points.x.shape[2:])
    draw.text((EDGE, top), name, INK, ImageFont.load_default(15))
    named = ["CIEDE2000" if norm is Perceptual else norm.__name__ for norm in NORMS]
    lines = [f"{points.fooled} of {len(points.x)} fooled"]
    lines += [f"{norm}  {text}" for norm, text in zip(named, amounts(points.distances()), strict=True)]
    added, times = magnified(points.x - points.x0)
    ends = dict.fromkeys(f"{end:.{1 if end < 1 else 0}f}" for end in (min(times), max(times)))
    for j, line in enumerate([*lines, f"enlarged x {' to '.join(ends)}"]):
        draw.text((EDGE, top + 21 + 16 * j), line, MUTED, small)
    for j in range(len(points.x)):
        left = LEFT + j * (wide + GAP)
        card.paste(tile(points.x[j]), (left, top))
        card.paste(tile(added[j]), (left, top + high + 3))
        if points.label[j] == points.said[j]:
            draw.rectangle((left - 3, top - 3, left + wide + 2, top + high + 1), outline=RED, width=3)


def table(found: dict[str, Points]) -> str:
    """The distances as Markdown."""
    head = ["attack", "fooled", "Linf", "L2", "L1", "L0", "CIEDE2000"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, points in found.items():
        cells = [f"{points.fooled} of {len(points.x0)}", *amounts(points.distances())]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Attack, draw, write."""
    torch.set_num_threads(1)  # sums in the same order everywhere
    model = sp.load_model(MODEL)
    data, known, found = photographs(model), asked(model), {}
    for name, (attack, _) in known.items():
        start = time.process_time()
        found[name] = attacked(model, data, name, attack)
        assert all(map(math.isfinite, found[name].distances())), f"{name} fooled none"
        print(f"{name}: {found[name].fooled} fooled, {time.process_time() - start:.1f} s", flush=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for picture in dict.fromkeys(each.picture for each in known.values()):
        mine = {name: points for name, points in found.items() if known[name].picture == picture}
        (PICTURES / f"{picture}.webp").write_bytes(sheet(data.x, mine))
    TABLE.write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
