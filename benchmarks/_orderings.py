"""What must hold between objectives of training, and whether it did."""

import math

SLACK = 3.0  # points
NEAR_ZERO = 10.0  # per cent: as much as a net without a defense may keep


def _above_zero(name):
    return lambda f: f[name].robust - NEAR_ZERO


RULES = [  # what is said, whom it is about, by how much it was missed: points, of which SLACK are forgiven
    *(
        (f"{name} holds at most {NEAR_ZERO:g} %", [name], _above_zero(name))
        for name in ("standard", "distillation", "defensive-distillation")
    ),
    ("fast is within 3 points of pgd", ["fast", "pgd"], lambda f: f["pgd"].robust - 3 - f["fast"].robust),
    ("trades is within 4 points of pgd", ["trades", "pgd"], lambda f: abs(f["trades"].robust - f["pgd"].robust) - 4),
    (
        "fgsm-mixed is between standard and fast",
        ["standard", "fgsm-mixed", "fast"],
        lambda f: max(f["standard"].robust - f["fgsm-mixed"].robust, f["fgsm-mixed"].robust - f["fast"].robust),
    ),
    (
        "fast takes at most 0.45 of the CPU time of pgd",
        ["fast", "pgd"],
        lambda f: math.inf if f["fast"].minutes > 0.45 * f["pgd"].minutes else 0.0,
    ),
]


def judged(figures):
    """[what is said, the figures, "yes", "within the slack" or "no"] for each rule whose nets have been measured.

    Args:  figures: by name, each with ``robust`` in per cent and ``minutes``.
    """
    rows = []
    for said, names, short in RULES:
        if not all(name in figures for name in names):
            rows.append([said, "", "not measured yet"])
            continue
        timed = "time" in said
        seen = [f"{name} {figures[name].minutes if timed else figures[name].robust:.1f}" for name in names]
        if timed:
            seen.append(f"ratio {figures[names[0]].minutes / figures[names[1]].minutes:.2f}")
        missed = short(figures)
        verdict = "yes" if missed <= 0 else f"within the slack, missed by {missed:.1f}" if missed <= SLACK else "**no**"
        rows.append([said, ", ".join(seen), verdict])
    return rows
