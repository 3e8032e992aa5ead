"""The page of benchmarks/minimum_norm.py: markdown from cells."""

from _tables import ENVIRONMENT, _grouped, _table

TITLES = {
    "deepfool": "DeepFool, L2", "deepfool-linf": "DeepFool, Linf", "ddn": "DDN, 300 steps", "fmn-l0": "FMN, L0",
    "fmn-l1": "FMN, L1", "fmn-l2": "FMN, L2", "fmn-linf": "FMN, Linf", "cw-l2": "C&W L2, 9 x 1,000",
    "cw-linf": "C&W Linf", "cw-l0": "C&W L0", "jsma": "JSMA", "l-bfgs": "L-BFGS", "fgsm-bisect": "FGSM, bisected",
}  # fmt: skip
PUBLISHED = {"deepfool": "0.20", "l-bfgs": "0.25", "fgsm-bisect": "1.0"}
"""Moosavi-Dezfooli et al. 2016, Table 1, their LeNet on MNIST."""


def minimum_norm_page(cells):
    """The whole page; a part without cells is left out."""
    kinds = {}
    for cell in cells.values():
        kinds.setdefault(cell["case"]["kind"], []).append(cell)
    lines = _where(cells)
    for kind, part in PARTS.items():
        lines += part(kinds[kind]) if kind in kinds else []
    return "\n".join(lines)


def _where(cells):
    """Where and with what; the hash of the code is of each attack, and stands in the JSON."""
    cases = [cell["case"] for cell in cells.values()]
    keys = [key for key in ENVIRONMENT if key != "engine"]
    where = dict.fromkeys(", ".join(f"{key} {case[key]}" for key in keys) for case in cases)
    peers = sorted({f"{case['peer']} {case['version']}" for case in cases if "peer" in case})
    return [*(f"Measured with {line}." for line in where), *([f"Peers: {', '.join(peers)}."] if peers else []), ""]


def _against(cells):
    rows = []
    for task, of_task in _grouped(cells, "task"):
        for cell in of_task:
            case = cell["case"]
            pairs = case["pairs"] or 1
            distance = [_number(value) for value in cell["median"]]
            spent = [f"{sum(side):,.0f}" for side in cell["passes"]]
            success = [f"{100 * value:.1f}" for value in cell["success"]]
            ratio = f"{cell['wall'][1]:.2f}, {cell['cpu'][1]:.2f}"
            peer = case["peer"] + (f": {case['note']}" if case["note"] else "")
            rows.append([TITLES[task], peer, case["rows"], *success, *distance, *spent, f"{ratio} ({pairs})"])
    head = ["attack", "peer", "rows", "success %: ours", "theirs", "median distance: ours", "theirs"]
    head += ["passes of a row: ours", "theirs", "our time over theirs: wall, CPU (pairs)"]
    return [_title("Against the same attacks", cells[0]), "", *_table(head, rows)]


def _alone(cells):
    rows = [
        [
            TITLES[c["case"]["task"]],
            f"{100 * c['success']:.1f}",
            _number(c["median"]),
            _number(c["mean"]),
            f"{sum(c['passes']):,.0f}",
            f"{c['seconds'][1]:.1f}",
        ]
        for c in cells
    ]
    head = ["attack", "success %", "median distance", "mean", "passes of a row", "CPU seconds"]
    return [_title("How near", cells[0]), "", *_table(head, rows)]


def _targets(cells):
    (cell,) = cells
    told = ", ".join(f"{name} {cell[name]:.1f}" for name in ("best", "average", "worst"))
    return [
        f"**C&W L0 towards each of nine classes**, {cell['case']['rows']} digits: {100 * cell['success']:.1f} % reach "
        f"it; mean pixels over the classes of a digit: {told}; {cell['passes']:,} passes of a row. "
        "Published for the best class, on another net (Carlini & Wagner 2017): 8.5.",
        "",
    ]


def _batch(cells):
    (cell,) = cells
    return [
        f"**C&W L0, {cell['case']['rows']} rows in one batch** against ten of them one by one: "
        f"{cell['ratio'][0]:.1f} times faster a row by the wall, {cell['ratio'][1]:.1f} by the CPU clock.",
        "",
    ]


def _jsma(cells):
    (cell,) = cells
    return [
        f"**JSMA** (gamma 14.5 %, theta 1, logits), {cell['case']['model']}, {cell['rows']} pairs of digit and target: "
        f"success {100 * cell['success']:.1f} %, and there {100 * cell['changed']:.2f} % of the features changed. "
        "Published for another LeNet (Papernot et al. 2016): 97.10 % and 4.02 %.",
        "",
    ]


def _jsma_against(cells):
    rows = []
    for cell in cells:
        case, rate = cell["case"], [f"{100 * value:.1f}" for value in cell["success"]]
        changed = ["–" if value is None else f"{100 * value:.2f}" for value in cell["changed"]]
        peer = case["peer"] + (f": {case['note']}" if case.get("note") else "")
        times = [f"{1000 * clocks[1]:.1f}" for clocks in cell["seconds a row"]]
        rows.append([peer, cell["rows"][0], *rate, *changed, *times, f"{cell['ratio'][0]:.1f}, {cell['ratio'][1]:.1f}"])
    head = ["peer", "pairs", "success %: ours", "theirs", "changed %: ours", "theirs", "CPU ms a row: ours", "theirs"]
    return ["**JSMA against the same**", "", *_table([*head, "times faster: wall, CPU"], rows)]


def _pair(cells):
    rows = [
        [
            c["case"]["model"],
            f"{c['case']['features']:,}",
            f"{c['ms']:.1f}",
            f"{c['peak MB']:.0f}",
            "yes" if c["right"] else "NO",
        ]
        for c in cells
    ]
    head = ["slopes", "features", "ms a row", "peak MB of the process", "equal to trying all pairs"]
    return ["**JSMA, the choice of one pair**", "", *_table(head, rows)]


def _scipy(cells):
    rows = []
    for cell in cells:
        low, middle, most, worst = (f"{value:.4f}" for value in cell["ratio"])
        shares = [f"{100 * cell[key]:.0f}" for key in ("at most 1.01 x SciPy", "SciPy at most 1.01 x ours")]
        looks = [f"{value:.0f}" for value in cell["looks"]]
        rows.append([cell["case"]["const"], *shares, low, middle, most, worst, *looks])
    head = ["c", "% of rows ours <= 1.01 x SciPy's", "% SciPy's <= 1.01 x ours", "least", "median", "95 %", "largest"]
    title = f"**L-BFGS at one constant**, {cells[0]['case']['rows']} rows: our objective over that of SciPy's L-BFGS-B"
    return [title, "", *_table([*head, "looks: ours", "SciPy's"], rows)]


def _search(cells):
    (cell,) = cells
    found = [
        f"{name}: success {100 * cell['success'][i]:.0f} %, median L2 {cell['median'][i]:.3f}, "
        f"RMS {cell['rms'][i]:.4f}, {cell['seconds'][i][1]:.1f} CPU seconds"
        for i, name in enumerate(("ours", "a loop over rows with SciPy inside, nine constants"))
    ]
    return [
        f"**L-BFGS, the whole search**, {cell['case']['rows']} rows, untargeted: {'; '.join(found)}. "
        f"Our time over the loop's: {cell['ratio'][0]:.3f} (CPU {cell['ratio'][1]:.3f}). RMS is the square root of the "
        "mean squared change of a feature; published for targets on other nets (Szegedy et al. 2014): 0.058 to 0.086.",
        "",
    ]


def _relative(cells):
    rows = [
        [
            TITLES[c["case"]["task"]],
            f"{c['relative']:.3f}",
            f"{c['median']:.3f}",
            f"{100 * c['success']:.1f}",
            f"{sum(c['passes']):,.0f}",
            PUBLISHED.get(c["case"]["task"], "–"),
        ]
        for c in cells
    ]
    title = (
        f"**How large a change relative to the input**, {cells[0]['case']['model']}, {cells[0]['case']['rows']} digits"
    )
    head = [
        "attack",
        "mean of L2 over that of the input",
        "median",
        "success %",
        "passes of a row",
        "published (another net)",
    ]
    return [title, "", *_table(head, rows)]


PARTS = {
    "distance": _alone, "against": _against, "targets": _targets, "batch": _batch, "jsma": _jsma,
    "jsma against": _jsma_against, "pair": _pair, "scipy": _scipy, "search": _search, "relative": _relative,
}  # fmt: skip


def _title(what, cell):
    return f"**{what}**, {cell['case']['model']}"


def _number(value):
    return "–" if value is None else f"{value:.4g}"
