"""The page of benchmarks/training.py: what its cells say, and no more."""

from typing import NamedTuple

from _orderings import SLACK, judged
from _standing import first_gap
from _tables import ENVIRONMENT, _grouped, _mean, _percent, _ratio, _seeds, _table
from _trainings import REGULARISERS, TABLE

WIDE_GAP = 0.4  # of FGSM over PGD accuracy


class Figures(NamedTuple):
    """Of one objective, means over its seeds: accuracy under the strongest attack in per cent, CPU minutes."""

    robust: float
    minutes: float


def training_page(cells):
    """The whole page."""
    kinds = dict(_grouped(list(cells.values()), "kind"))
    known = [key for key in ENVIRONMENT if key != "engine"]  # each part has a hash of its own
    where = dict.fromkeys(", ".join(f"{key} {c['case'][key]}" for key in known) for c in cells.values())
    lines = [f"Measured with {line}." for line in where] + [""]
    for kind, write in PARTS.items():
        lines += write(kinds[kind]) if kind in kinds else []
    return "\n".join(lines)


def _objectives(cells):
    found = dict(_grouped(cells, "name"))
    rows, figures = [], {}
    for name in (name for name in TABLE if name in found):
        each = found[name]
        n, few = (each[0]["case"]["size"][key] for key in ("test", "suite"))
        held = [100 * c["held"] / n for c in each]
        figures[name] = Figures(_mean(held), _mean([c["cpu minutes"] for c in each]))
        took = [f"{_mean([c[clock] for c in each]):.1f}" for clock in ("minutes", "cpu minutes")]
        shares = [f"{100 * _mean([c[key] for c in each]) / n:.1f}" for key in ("clean", "fgsm")]
        entropy = _mean([100 * (c["clean"] - c["members"][0][2]) / n for c in each])
        suite = [100 * c["suite"]["held"] / few for c in each]
        rows.append([name, len(each), *took, *shares, f"{entropy:.1f}", _range(held), _range(suite)])
    head = ["objective", "seeds", "minutes", "CPU minutes", "clean %", "FGSM %", "PGD on the cross-entropy %"]
    head += ["and on the margin %", "suite cascade-1 %"]
    rules = _table(["what must hold", "figures", "held"], judged(figures))
    return [*_table(head, rows), f"{SLACK:g} points of slack are forgiven.", "", *rules]


def _range(values):
    return _seeds(values) if len(values) > 1 else f"{values[0]:.2f}"


def _wide(cells):
    rows = [
        [c["case"]["name"], *(f"{100 * c[key] / c['case']['size']['test']:.1f}" for key in ("clean", "held"))]
        for c in cells
    ]
    return ["**In L2, eps 1.5**", "", *_table(["objective", "clean %", "PGD-50 x 10 %"], rows)]


def _overfitting(cells):
    rows = []
    for name, found in _grouped(cells, "name"):
        for c in sorted(found, key=lambda c: c["case"]["guard"]):
            at = first_gap(c["epochs"], WIDE_GAP)
            *_, fgsm, pgd = max(c["epochs"], key=lambda e: e[2] - e[3])
            seen = "; ".join(f"epoch {e['epoch']}: {e['action']}" for e in c["events"]) or "nothing"
            last = [f"{100 * c[key] / c['case']['size']['test']:.1f}" for key in ("clean", "fgsm", "pgd")]
            widest = f"{100 * (fgsm - pgd):.0f} ({_percent(fgsm)}, {_percent(pgd)})"
            rows.append([name, c["case"]["guard"], len(c["epochs"]), widest, at or "never", seen, c["kept"], *last])
    head = ["single-step training, eps 0.3", "guard", "epochs run", "widest gap, points (FGSM %, PGD-20 %)"]
    head += ["first epoch above 40", "what the guard did", "epoch kept", "test: clean %", "FGSM %", "PGD-20 %"]
    return ["**Catastrophic overfitting**, held-out rows after each epoch", "", *_table(head, rows)]


def _gradients(cells):
    rows = []
    for c in cells:
        fooled = [f"{100 * (c['right'] - c[key]) / c['right']:.1f}" for key in ("cross-entropy", "margin")]
        rows.append([c["case"]["name"], c["right"], _percent(c["zero"]), *fooled])
    head = ["net", "right when clean", "gradients that are all 0 %", "fooled: PGD-50 on the cross-entropy %"]
    return ["**Defensive distillation**", "", *_table([*head, "on the margin %"], rows)]


def _carlini(cells):
    rows = [
        [
            c["case"]["attack"],
            c["case"]["name"],
            f"{c['fooled']} of {c['rows']}",
            f"{c['mean']:.3g}",
            f"{c['median']:.3g}",
        ]
        for c in cells
    ]
    return _table(["attack", "net", "fooled", "mean distance", "median"], rows)


def _diagnoses(cells):
    rows = [[c["case"]["name"], c["rows"], c["verdict"], ", ".join(c["causes"]) or "none"] for c in cells]
    return _table(["net", "rows", "`sp.diagnose`", "causes"], rows)


def _regularisers(cells):
    found, rows = dict(_grouped(cells, "name")), []
    for name in (name for name in REGULARISERS if name in found):
        wrong = [100 * c["wrong"] / c["rows"] for c in found[name]]
        rows.append([name, len(wrong), _range(wrong)])
    head = ["trained on 8,000 digits", "seeds", "error on clean test rows %"]
    return ["**As a regulariser**", "", *_table(head, rows)]


def _speed(cells):
    rows = []
    for c in cells:
        met = "yes" if c["wall"][1] <= c["goal"] else "**no**"
        rows.append([c["case"]["name"], _ratio(c, "wall"), _ratio(c, "cpu"), c["goal"], met])
    pairs = cells[0]["case"]["size"]["pairs"]
    title = f"**Time of a training epoch**, medians of {pairs} interleaved pairs, quartiles in brackets"
    return [title, "", *_table(["", "wall", "CPU", "goal", "met"], rows)]


PARTS = {
    "objective": _objectives,
    "l2": _wide,
    "overfitting": _overfitting,
    "gradients": _gradients,
    "carlini": _carlini,
    "diagnosis": _diagnoses,
    "regulariser": _regularisers,
    "speed": _speed,
}
