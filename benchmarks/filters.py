"""What the filters cost that are written here, beside the fastest library that has each of them right.

``python benchmarks/filters.py [--quick] [--only PART ...]`` fills benchmarks/results/filters.json, cell by cell: what
is there is not measured again. Both sides start from a float32 tensor (n, c, h, w) and end with one; a library that
takes one image at a time goes through them in a loop. Only libraries whose result is the same stand here: kornia's
median has no even windows, its bilateral filter a square for a disc; none has total variation with dropped pixels.
"""

import argparse
from functools import partial

import cv2
import kornia
import numpy as np
import scipy
import skimage
import torch
from _cells import RESULTS, Cells, environment, fill
from _filters import code_of
from _timing import ratios
from scipy import ndimage

import saddlepoint as sp
from saddlepoint.cli.main import _keep_memory
from saddlepoint.defenses.transforms import Bilateral, BitDepth, Gaussian, Mean, Median

THREADS, PAIRS, QUICK_PAIRS = 1, 9, 5
DATA = {"fashion-mnist:test": 1000, "photopatch10:test": 200}


def planes(run):
    """``run(image, out)`` on every channel of every image."""

    def all_of(x):
        given = x.flatten(0, 1).numpy()
        out = np.empty_like(given)
        for image, place in zip(given, out, strict=True):
            run(image, place)
        return torch.from_numpy(out).view(x.shape)

    return all_of


def images(run):
    """``run(image, out)`` on every image, channels last."""

    def all_of(x):
        given = np.ascontiguousarray(x.movedim(1, -1).numpy() if x.shape[1] > 1 else x[:, 0].numpy())
        out = np.empty_like(given)
        for image, place in zip(given, out, strict=True):
            run(image, place)
        return torch.from_numpy(out).view(len(x), *x.shape[2:], -1).movedim(-1, 1).contiguous()

    return all_of


def whole(run):
    """``run(array)`` on the batch."""
    return lambda x: torch.from_numpy(run(x.numpy()))


def fewer_levels(x):
    """Eight levels in NumPy; scikit-image, OpenCV and kornia have none that round to the nearest."""
    return np.rint(np.clip(x, 0, 1) * 7) / np.float32(7)


REFLECT = cv2.BORDER_REFLECT
# name: ours, and the same by the libraries that have it right
FILTERS = {
    "bit-depth:3": (BitDepth(3), {"NumPy": whole(fewer_levels)}),
    "median:2": (Median(2), {"scipy": whole(lambda x: ndimage.median_filter(x, (1, 1, 2, 2), mode="reflect"))}),
    "median:3": (Median(3), {"OpenCV": planes(lambda one, out: cv2.medianBlur(one, 3, dst=out))}),
    "mean:3": (
        Mean(3),
        {
            "OpenCV": planes(lambda one, out: cv2.blur(one, (3, 3), dst=out, borderType=REFLECT)),
        },
    ),
    "gaussian:1.0": (
        Gaussian(1.0),
        {
            "OpenCV": planes(lambda one, out: cv2.GaussianBlur(one, (9, 9), 1.0, dst=out, borderType=REFLECT)),
        },
    ),
    "bilateral:5,0.1,1.5": (
        Bilateral(5, 0.1, 1.5),
        {"OpenCV": images(lambda one, out: cv2.bilateralFilter(one, 5, 0.1, 1.5, dst=out))},
    ),
    "median:5": (Median(5), {"scipy": whole(lambda x: ndimage.median_filter(x, (1, 1, 5, 5), mode="reflect"))}),
}
WITH_GRADIENT = ("median:2", "median:3", "median:5", "bilateral:5,0.1,1.5")  # OpenCV cannot help there


def plan(pairs):
    """(name, case, measure) of every cell."""
    versions = {m.__name__: m.__version__ for m in (cv2, kornia, np, scipy, skimage)}
    case = {"pairs": pairs, **versions, **environment(THREADS)}
    for data, rows in DATA.items():
        for name, (ours, theirs) in FILTERS.items():
            for library in theirs:
                for graph in (False, True)[: 1 + (name in WITH_GRADIENT)]:
                    title = f"{name}, {library}, {data}{', with a graph' if graph else ''}"
                    told = {
                        "filter": name,
                        "library": library,
                        "data": data,
                        "rows": rows,
                        "graph": graph,
                        "code": code_of(ours),
                    }
                    told |= case
                    yield title, told, partial(measured, name, library, data, rows, graph, pairs)


def measured(name, library, data, rows, graph, pairs):
    """The figures of one cell; refuses a pair whose results differ."""
    x = sp.load_data(data)[:rows].x.contiguous()
    ours, theirs = FILTERS[name][0], FILTERS[name][1][library]
    apart = (ours(x) - theirs(x)).abs().max().item()
    if apart > 1e-5:
        raise AssertionError(f"{name} of {library} differs by {apart:g}")
    given = x.clone().requires_grad_() if graph else x
    return {**ratios(partial(ours, given), partial(theirs, x), pairs), "apart": apart}


def page(cells):
    """Both tables."""
    lines = []
    for graph, title in ((False, "Without a gradient"), (True, "With a graph for the gradient, beside the same")):
        lines += [f"**{title}**", "", "| filter | data | beside | wall, ratio | CPU, ratio | ours, ms | theirs, ms |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for name in FILTERS:
            for data in DATA:
                found = [c for c in cells.values() if (c["case"]["filter"], c["case"]["data"]) == (name, data)]
                found = sorted((c for c in found if c["case"]["graph"] == graph), key=lambda c: c["seconds"][1])
                lines += [row(c, fastest=c is found[0]) for c in found]
        lines.append("")
    some = next(iter(cells.values()))["case"]
    versions = ", ".join(f"{key} {some[key]}" for key in ("torch", "numpy", "scipy", "cv2"))
    return "\n".join([*lines, f"Medians and quartiles of {some['pairs']} pairs; {versions}; {some['processor']}.", ""])


def row(cell, *, fastest):
    """One line; the fastest library is bold."""
    case, mark = cell["case"], "**" if fastest else ""
    wall, cpu = (f"{v[1]:.2f} ({v[0]:.2f}–{v[2]:.2f})" for v in (cell["wall"], cell["cpu"]))
    ours, theirs = (f"{1000 * s:.1f}" for s in cell["seconds"])
    data = f"{case['rows']} x {case['data'].split(':')[0]}"
    return f"| `{case['filter']}` | {data} | {mark}{case['library']}{mark} | {wall} | {cpu} | {ours} | {theirs} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs, kept apart in results/quick/")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    _keep_memory()
    folder = RESULTS / "quick" if asked.quick else RESULTS
    cells = Cells(folder / "filters.json")
    fill(cells, plan(QUICK_PAIRS if asked.quick else PAIRS), only=asked.only)
    (folder / "filters.md").write_text(page(cells.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
