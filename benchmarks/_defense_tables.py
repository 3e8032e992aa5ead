"""The page of benchmarks/preprocessing.py: what its cells say, and no more."""

from _defended import BLOCKS, DEFENSES
from _tables import ENVIRONMENT, _table

NONDIFFERENTIABLE = ("thermometer",)


def defense_page(cells):
    """The whole page."""
    known = [key for key in ENVIRONMENT if key != "engine"]
    where = dict.fromkeys(", ".join(f"{key} {c['case'][key]}" for key in known) for c in cells.values())
    lines = [f"Measured with {line}." for line in where] + [""]
    places = dict.fromkeys(c["case"]["data"] for c in cells.values())
    for place in places:
        lines += _place(place, [c for c in cells.values() if c["case"]["data"] == place])
    return "\n".join(lines)


def _place(place, cells):
    """All that was measured on one data set."""
    found = {(c["case"]["kind"], c["case"]["name"], c["case"].get("eps")): c for c in cells}
    lines = [f"**`{place}`**", "", *dict.fromkeys(map(_size, cells)), ""]
    radii = sorted({key[2] for key in found if key[0] == "row"})
    for eps in radii:
        rows = [[name, *_shares(found["row", name, eps])] for name in DEFENSES if ("row", name, eps) in found]
        head = [
            "defense",
            "clean %",
            "oblivious %",
            "naive, no start %",
            "naive %",
            "adaptive %",
            "codes %",
            "Square %",
        ]
        lines += [f"**Linf, eps {eps:.3g}**", "", *_table(head, rows), ""]
    far = [
        [name, c["rows"], c["fooled"], *(f"{c[key]:.3f}" if key in c else "" for key in ("mean", "median"))]
        for name in DEFENSES
        if (c := found.get(("distance", name, None)))
    ]
    if far:
        lines += ["**C&W L2, adaptive**", "", *_table(["defense", "rows", "fooled", "mean", "median"], far), ""]
    return [*lines, *_table(["what must hold", "figures", "held"], list(_claims(found, radii))), ""]


def _size(cell):
    case = cell["case"]
    train, size = "all" if case["rows"] is None else f"the first {case['rows']:,}", case["size"]
    return (
        f"Nets saw {train} training rows for {case['epochs']} epochs (autoencoders three times as many). Shares are of "
        f"{size['test']} test rows; adaptive PGD starts {size['starts']} times on each loss, Square asks "
        f"{size['queries']:,} times."
    )


def _shares(cell):
    n = cell["case"]["size"]["test"]
    keys = ("clean", "oblivious", "still", "naive", "adaptive", "codes", "square")
    return ["" if cell[key] is None else f"{100 * cell[key] / n:.1f}" for key in keys]


def _claims(found, radii):
    """[what, figures, held] of every rule whose cells are there."""

    def share(name, key, eps=radii[-1]):
        cell = found.get(("row", name, eps))
        return None if cell is None or cell[key] is None else 100 * cell[key] / cell["case"]["size"]["test"]

    def mean(name):
        cell = found.get(("distance", name, None))
        return None if cell is None else cell.get("mean")  # none where nothing was fooled

    def rule(what, test, *figures):
        if None not in figures:
            yield [what, ", ".join(f"{f:.2f}" for f in figures), "yes" if test(*figures) else "**no**"]

    for eps in radii:
        clean, still, naive = (share("thermometer", key, eps) for key in ("clean", "still", "naive"))
        at = f"at eps {eps:.3g}"
        yield from rule(f"thermometer {at}: naive PGD without a start = clean", lambda a, b: a == b, still, clean)
        yield from rule(f"thermometer {at}: naive PGD within 3 of clean", lambda a, b: a >= b - 3, naive, clean)
    for name in NONDIFFERENTIABLE:
        oblivious, adaptive = (share(name, key, radii[0]) for key in ("oblivious", "adaptive"))
        what = f"{name} at eps {radii[0]:.3g}: oblivious - adaptive >= 10"
        yield from rule(what, lambda a, b: a - b >= 10, oblivious, adaptive)
    for name in ("thermometer", "autoencoder"):
        yield from rule(f"{name}: adaptive <= 10", lambda a: a <= 10, share(name, "adaptive"))
    apart = mean("autoencoder"), mean("none")
    yield from rule("autoencoder: mean C&W L2 <= 1.1 x bare", lambda a, b: a <= 1.1 * b, *apart)
    apart = mean("contractive"), mean("none")
    yield from rule("contractive: mean C&W L2 >= 1.1 x bare", lambda a, b: a >= 1.1 * b, *apart)
    alone = share("pgd", "adaptive")
    for name in ("thermometer + LS-PGA", "autoencoder + PGD"):
        yield from rule(f"{name} beats PGD training (the survey)", lambda a, b: a > b, share(name, "adaptive"), alone)
    for kind in BLOCKS:
        plain = share(f"block {kind}", "adaptive"), share("none", "adaptive")
        yield from rule(f"block {kind} alone: within 5 of none", lambda a, b: a <= b + 5, *plain)
        both = share(f"block {kind} + PGD", "adaptive"), alone
        yield from rule(f"block {kind} + PGD: within 2 of PGD training", lambda a, b: abs(a - b) <= 2, *both)
