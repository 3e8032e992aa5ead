"""What must hold between objectives of training, and whether it did."""

SLACK = 3.0  # points
NEAR_ZERO = 10.0  # per cent: as much as a net without a defense may keep


def _fragile(f, name):
    return f[name].robust <= NEAR_ZERO + SLACK


RULES = [  # what is said, whom it is about, whether it held
    *(
        (f"{name} holds at most {NEAR_ZERO:g} %", [name], lambda f, name=name: _fragile(f, name))
        for name in ("standard", "distillation", "defensive-distillation")
    ),
    ("fast is within 3 points of pgd", ["fast", "pgd"], lambda f: f["fast"].robust >= f["pgd"].robust - 3),
    (
        "fast takes at most 0.45 of the CPU time of pgd",
        ["fast", "pgd"],
        lambda f: f["fast"].minutes <= 0.45 * f["pgd"].minutes,
    ),
    ("trades is within 4 points of pgd", ["trades", "pgd"], lambda f: abs(f["trades"].robust - f["pgd"].robust) <= 4),
    (
        "fgsm-mixed is between standard and fast",
        ["standard", "fgsm-mixed", "fast"],
        lambda f: f["standard"].robust - SLACK <= f["fgsm-mixed"].robust <= f["fast"].robust + SLACK,
    ),
]


def judged(figures):
    """[what is said, the figures, "yes" or "no"] for each rule whose nets have been measured.

    Args:  figures: by name, each with ``robust`` in per cent and ``minutes``.
    """
    rows = []
    for said, names, holds in RULES:
        if not all(name in figures for name in names):
            rows.append([said, "", "not measured yet"])
            continue
        timed = "time" in said
        seen = [f"{name} {figures[name].minutes if timed else figures[name].robust:.1f}" for name in names]
        if timed:
            seen.append(f"ratio {figures[names[0]].minutes / figures[names[1]].minutes:.2f}")
        rows.append([said, ", ".join(seen), "yes" if holds(figures) else "**no**"])
    return rows
