"""The page of detectors, from its cells."""

RESAMPLINGS = 200


def page(cells):
    """Markdown from the cells: what was measured, and no more."""
    lines = []
    for kind, write in TABLES.items():
        found = [cell for cell in cells.values() if cell["case"]["kind"] == kind]
        lines += [*write(found), ""] if found else []
    return "\n".join([*lines, *verdicts(cells)]) + "\n"


def oblivious_table(cells):
    """Attacks that do not know of the detector."""
    lines = ["**Attacks that do not know of the detector**: area under the ROC curve with its 95 % interval", ""]
    lines += [
        "| model | detector | attack | rows fooled | AUC | TPR at 4 % FPR | mean L2 |",
        "|---|---|---|---|---|---|---|",
    ]
    order = sorted(cells, key=lambda c: [c["case"][key] for key in ("detector", "model", "attack")])
    return lines + [
        f"| `{c['case']['model']}` | {c['case']['detector']} | {c['case']['attack']} | {figures(c)} |" for c in order
    ]


def figures(cell):
    """The right half of a line."""
    fooled = f"{cell['fooled']} of {cell['rows']}"
    if "area" not in cell:
        return f"{fooled} | | |"
    value, low, high = cell["area"]
    return f"{fooled} | {value:.3f} ({low:.3f} to {high:.3f}) | {100 * cell['tpr']:.1f} % | {cell['l2']:.2f}"


def adaptive_table(cells):
    """Attacks that know of it."""
    lines = [
        "**C&W L2 that knows of the detector**, by `Guarded.pursued`, beside plain C&W of as many steps",
        "",
    ]
    lines += [
        "| model | detector | steps | goes for a score below | fooled and passed | rows fooled | AUC | "
        "TPR at 4 % FPR | mean L2 | plain: AUC | mean L2 |"
    ]
    lines += ["|---" * 11 + "|"]
    for c in cells:
        aim = {"threshold": "the threshold", "median": "the median of clean rows"}[c["case"]["aim"]]
        steps = f"{c['case']['attack']['search_steps']} x {c['case']['attack']['steps']:,}"
        where = f"| `{c['case']['model']}` | {c['case']['detector']} | {steps} | {aim} | {c['passed']} of {c['rows']}"
        lines.append(f"{where} | {figures(c)} | {c['plain']['area'][0]:.3f} | {c['plain']['l2']:.2f} |")
    return lines


def behind_table(cells):
    """What a squeezer alone asks of an attack."""
    lines = ["**C&W L2 on `zoo:mnist-standard` behind one squeezer**, without a detector, 9 x 1,000 steps", ""]
    lines += ["| squeezer | rows fooled | mean L2 |", "|---|---|---|"]
    told = [(f"`{c['case']['squeezer']}`", c["fooled"], c["case"]["rows"], c["l2"]) for c in cells]
    return lines + [f"| {name} | {fooled} of {rows} | {far:.2f} |" for name, fooled, rows, far in told]


def rate_table(cells):
    """The rate of refused clean rows."""
    lines = [
        "**The threshold**, from 500 clean rows at a false positive rate of 5 %, on the 1,500 others, 200 times",
        "",
    ]
    lines += [
        "| model | detector | mean rate | lowest | highest | within the 95 % interval of such a rank |",
        "|---|---|---|---|---|---|",
    ]
    for c in cells:
        shares = " | ".join(f"{100 * c[key]:.2f} %" for key in ("mean", "low", "high"))
        lines.append(
            f"| `{c['case']['model']}` | {c['case']['detector']} | {shares} | {c['inside']} of {RESAMPLINGS} |"
        )
    return lines


def cost_table(cells):
    """A pass of the guarded model."""
    lines = [
        "**One pass** behind {1-bit, median 2x2}: CPU milliseconds, the best of 15",
        "",
        "| rows | bare | guarded | ratio | three times the rows, bare | squeezers |",
        "|---|---|---|---|---|---|",
    ]
    for c in sorted(cells, key=lambda c: c["case"]["rows"]):
        told = {name: 1000 * value for name, value in c["seconds"].items()}
        squeezers = ", ".join(f"{name[9:]} {value:.2f}" for name, value in told.items() if name.startswith("squeezer"))
        times = " | ".join(f"{told[name]:.2f}" for name in ("bare", "guarded"))
        stacked = f"{told['bare, all branches at once']:.2f}"
        lines.append(f"| {c['case']['rows']} | {times} | {c['ratio']:.2f} | {stacked} | {squeezers} |")
    return lines


def training_table(cells):
    """Reversed cross-entropy beside cross-entropy."""
    lines = ["**Reversed cross-entropy**: CPU time of an epoch in units of one of cross-entropy, quartiles of 9 pairs"]
    lines += ["", "| data | ratio | test rows | errors, cross-entropy | errors, reversed |", "|---|---|---|---|---|"]
    for c in cells:
        low, middle, high = c["ratio"]
        wrong = " | ".join(f"{100 * c['errors'][kind]:.2f} %" for kind in ("leaky", "rce"))
        lines.append(f"| {c['case']['data']} | {middle:.3f} ({low:.3f} to {high:.3f}) | {c['rows']} | {wrong} |")
    return lines


def joined_table(cells):
    """A detector and a robust training together."""
    lines = ["**Detector and robust training together**: shares of all rows that hold under PGD, by feature squeezing"]
    head = ["model", "eps", "clean, right", "refused", "right and not refused", "without the detector"]
    head += ["with it, PGD that does not know of it", "PGD and orthogonal PGD that know"]
    lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for c in cells:
        keys = ("accuracy", "rejected", "accepted", "alone", "oblivious", "adaptive")
        shares = " | ".join(f"{100 * c[key]:.1f} %" for key in keys)
        lines.append(f"| `{c['case']['model']}` | {c['case']['eps']} | {shares} |")
    return lines


def verdicts(cells):
    """What a detector was expected to show, and whether it did."""
    lines = ["| what was expected | figures | held |", "|---|---|---|"]
    for text, figures, held in [*_of_squeezing(cells), *_of_twins(cells), *_of_others(cells)]:
        told = ", ".join(f"{value:.3f}" for value in figures)
        lines.append(f"| {text} | {told} | {'yes' if held else '**no**'} |")
    return lines


def _area(cells, model, detector, attack):
    return cells.get(f"{model}, {detector}, {attack}", {}).get("area", [None])[0]


def _of_squeezing(cells):
    model = "zoo:mnist-standard"
    for attack in ("c&w l2", "c&w l2, confidence 10"):
        if (found := _area(cells, model, "feature-squeezing", attack)) is not None:
            yield f"MNIST, {attack}: area of feature squeezing >= 0.95", [found], found >= 0.95
    for c in cells.values():
        if c["case"]["kind"] != "adaptive" or c["case"]["aim"] != "median" or "area" not in c:
            continue
        where = f"`{c['case']['model']}`, adaptive"
        if c["case"]["detector"] == "feature-squeezing":
            ratio = c["l2"] / c["plain"]["l2"]
            yield f"{where}: area of feature squeezing <= 0.6", [c["area"][0]], c["area"][0] <= 0.6
            yield f"{where}: L2 <= 1.5 x plain C&W's", [ratio], ratio <= 1.5
        else:
            yield f"{where}: area of K-density <= 0.55", [c["area"][0]], c["area"][0] <= 0.55


def _of_twins(cells):
    attacks = dict.fromkeys(c["case"]["attack"] for c in cells.values() if c["case"].get("detector") == "k-density"
                            and c["case"]["kind"] == "oblivious")  # fmt: skip
    for data in ("mnist", "fashion"):
        for attack in attacks:
            for metric, least in (("k-density", -0.02), ("non-me", 0.15)):
                pair = [_area(cells, f"zoo:{data}-{kind}", metric, attack) for kind in ("rce", "leaky")]
                if None not in pair:
                    text = f"{data}, {attack}: {metric} of the reversed >= that of cross-entropy {least:+.2f}"
                    yield text, pair, pair[0] - pair[1] >= least
        for kind in ("rce", "leaky"):
            areas = [_area(cells, f"zoo:{data}-{kind}", "confidence", f"c&w l2, confidence {c}") for c in (10, 30, 50)]
            areas = [area for area in areas if area is not None]
            if areas:
                yield f"`zoo:{data}-{kind}`, confident C&W: area of the confidence <= 0.2", areas, min(areas) <= 0.2


def _of_others(cells):
    for c in cells.values():
        if c["case"]["kind"] == "training":
            yield (
                f"{c['case']['data']}: time of the reversed cross-entropy <= 1.05",
                c["ratio"][1:2],
                c["ratio"][1] <= 1.05,
            )
        if c["case"]["kind"] == "cost":
            yield f"{c['case']['rows']} rows: a guarded pass <= 3.3 of a bare one", [c["ratio"]], c["ratio"] <= 3.3
    joined = {c["case"]["model"]: c for c in cells.values() if c["case"]["kind"] == "joined"}
    if robust := joined.get("zoo:fashion-pgd"):
        other = joined.get("zoo:fashion-standard", {"adaptive": 0})
        figures = [robust["adaptive"], robust["alone"], other["adaptive"]]
        text = "`zoo:fashion-pgd` behind a detector: more rows hold than without, and than of `zoo:fashion-standard`"
        yield text, figures, figures[0] > max(figures[1:])


TABLES = {
    "oblivious": oblivious_table,
    "adaptive": adaptive_table,
    "behind": behind_table,
    "joined": joined_table,
    "training": training_table,
    "rate": rate_table,
    "cost": cost_table,
}
