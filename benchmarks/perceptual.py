"""Attacks on colour differences beside C&W L2, DDN and PGD, on colour photographs.

``python benchmarks/perceptual.py [--table] [--only PART ...]`` fills benchmarks/results/perceptual.json, cell by cell:
what is there is not measured again, so a run that was killed goes on. It then writes perceptual.md from it.

Rows: test patches of photopatch10 that the attacked model gets right, every other one of the first 400. Distances are
means over the points that fool it. Then, of these points: how many fool a second model that is adversarially trained
(on the rows that it gets right when clean), and how many still fool the first after JPEG and after rounding to 5 bits.
The clean rows themselves stand first: so many are wrong after JPEG or rounding without any attack.
"""

import argparse
import io
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import torch
from _cells import RESULTS, Cells, environment, fill
from _tables import _table
from PIL import Image

import saddlepoint as sp
from saddlepoint.attacks import CWL2, DDN, PGD, PerCAL, PerCCW
from saddlepoint.balls import Perceptual
from saddlepoint.cli.main import _keep_memory
from saddlepoint.losses import margin

THREADS, ROWS = 1, 200
ATTACKED, SECOND, DATA = "zoo:photopatch-standard", "zoo:photopatch-pgd", "photopatch10:test"
FAR = 10.0
"""Margin in logit units of the attacks that go on beyond the boundary."""
SMALL = {"step_size": 0.1, "colour_step": 0.1}
"""Steps for images of 32 x 32; the paper's are made for 299 x 299."""

ATTACKS = {
    "clean": ("nothing: the clean rows", None),
    "pgd": ("PGD, Linf 8/255", PGD(ball=sp.Linf(8 / 255))),
    "ddn": ("DDN, 8 bits", DDN(steps=1000, levels=256)),
    "cw-l2-300": ("C&W L2, 5 x 300", CWL2(steps=300, search_steps=5)),
    "perc-al-100": ("PerC-AL, 100 steps", PerCAL(steps=100)),
    "perc-al-small": ("PerC-AL, 1,000 smaller steps", PerCAL(**SMALL)),
    "ddn-far": ("DDN, 8 bits, margin 10", DDN(steps=1000, levels=256, confidence=FAR)),
    "perc-al-far": ("PerC-AL, 300 smaller steps, margin 10", PerCAL(steps=300, **SMALL, confidence=FAR)),
    "cw-l2-far": ("C&W L2, 5 x 300, margin 10", CWL2(steps=300, search_steps=5, confidence=FAR)),
    "perc-cw-100": ("PerC-C&W, 3 x 100", PerCCW(steps=100, search_steps=3)),
    "perc-al-texture": ("PerC-AL, 300 smaller steps, texture", PerCAL(steps=300, **SMALL, texture=True)),
    "perc-al-margin": (
        "PerC-AL, 300 smaller steps, margin as loss",
        PerCAL(steps=300, **SMALL, loss=margin),
    ),
    "perc-al-300": ("PerC-AL, 300 smaller steps", PerCAL(steps=300, **SMALL)),
    "perc-al": ("PerC-AL, 1,000 steps", PerCAL()),
    "perc-cw": ("PerC-C&W, 5 x 300", PerCCW(steps=300, search_steps=5)),
    "cw-l2": ("C&W L2, 9 x 1,000", CWL2()),
}
FILES = ("_carlini", "_colour", "_minimal", "cw_l2", "ddn", "perc_al", "perc_cw")


@cache
def rows():
    """The model that is attacked, with inputs and labels of the rows."""
    model, data = sp.load_model(ATTACKED), sp.load_data(DATA)
    right = (model.predict(data.x) == data.y).nonzero().squeeze(1)[: 2 * ROWS : 2]
    return model, data.x[right], data.y[right]


def plan():
    """(name, case, measure) of every cell."""
    for task in ATTACKS:
        case = {"task": task, "model": ATTACKED, "rows": ROWS, **environment(THREADS, FILES)}
        yield task, case, partial(measure, task)


def measure(task):
    """The figures of one attack."""
    model, x, y = rows()
    wall, cpu = time.perf_counter(), time.process_time()
    attack = ATTACKS[task][1]
    result = None if attack is None else attack(model, x, y)
    seconds = [round(time.perf_counter() - wall, 1), round(time.process_time() - cpu, 1)]
    hit = torch.ones(len(x), dtype=torch.bool) if result is None else result.success
    points, clean, labels = (x if result is None else result.x)[hit], x[hit], y[hit]
    colour = Perceptual(1.0).distance(points, clean)
    delta = (points - clean).flatten(1)
    second = sp.load_model(SECOND)
    fair = second.predict(clean) == labels
    figures = {
        "success": torch.zeros(()) if result is None else hit.float().mean(),
        "colour": colour.mean(),
        "median colour": colour.median(),
        "l2": delta.norm(dim=1).mean(),
        "linf": delta.abs().amax(1).mean(),
        "transferred": (second.predict(points) != labels)[fair].float().mean(),
        "jpeg": (model.predict(jpeg(points)) != labels).float().mean(),
        "5 bits": (model.predict((points * 31).round() / 31) != labels).float().mean(),
    }
    spent = torch.zeros(()) if result is None else (result.forwards + result.backwards).float().mean()
    return {name: round(value.item(), 4) for name, value in figures.items()} | {
        "fair": int(fair.sum()), "passes": round(spent.item(), 1), "seconds": seconds,
    }  # fmt: skip


def jpeg(x, quality=75):
    """The images (n, 3, h, w) as they come back from a file of that quality."""

    def through(pixels):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    pixels = (x * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    with ThreadPoolExecutor(4) as pool:
        return torch.from_numpy(np.stack(list(pool.map(through, pixels)))).movedim(-1, 1).float() / 255


def page(cells):
    """The table, in the order of ATTACKS."""
    known = [task for task in ATTACKS if task in cells]
    case = cells[known[0]]["case"]
    where = ", ".join(f"{key} {case[key]}" for key in ("saddlepoint", "torch", "python", "processor", "threads"))
    head = ["attack", "fooled %", "total CIEDE2000: mean", "median", "L2", "Linf"]
    head += ["transferred %", "after JPEG 75 %", "after 5 bits %", "passes of a row", "CPU seconds"]
    lines = []
    for task in known:
        cell = cells[task]
        shares = [f"{100 * cell[key]:.1f}" for key in ("success", "transferred", "jpeg", "5 bits")]
        measured = [f"{cell['colour']:.1f}", f"{cell['median colour']:.1f}", f"{cell['l2']:.3f}", f"{cell['linf']:.3f}"]
        lines.append(
            [
                ATTACKS[task][0],
                shares[0],
                *measured,
                *shares[1:],
                f"{cell['passes']:,.0f}",
                f"{cell['seconds'][1]:,.0f}",
            ]
        )
    about = f"{case['rows']} rows of {DATA} against `{ATTACKED}`; transferred to `{SECOND}`."
    return "\n".join([f"Measured with {where}.", "", about, "", *_table(head, lines), ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    cells = Cells(RESULTS / "perceptual.json")
    if not asked.table:
        fill(cells, plan(), only=asked.only)
    (RESULTS / "perceptual.md").write_text(page(cells.cells), encoding="utf-8")
    print("wrote perceptual.md")


if __name__ == "__main__":
    main()
