"""Markdown from cells: what was measured, and no more."""

SETTINGS = ["same work", "best point", "shrinking"]
ENVIRONMENT = ["saddlepoint", "engine", "torch", "python", "processor", "threads"]


def peers_page(cells):
    """The page of benchmarks/peers.py."""
    times = [cell for cell in cells.values() if cell["case"]["kind"] == "time"]
    strengths = [cell for cell in cells.values() if cell["case"]["kind"] == "strength"]
    lines = _measured(cells)
    for model, found in _grouped(times, "model"):
        lines += _times(model, found) + _passes(model, found)
    return "\n".join([*lines, *(_strengths(strengths) if strengths else [])])


def efficiency_page(cells):
    """The page of benchmarks/efficiency.py."""
    rows = []
    for cell in cells.values():
        case, seconds = cell["case"], f"{1000 * cell['seconds'][0]:.0f} ms"
        rows.append([case["model"], case["rows"], case["steps"], _ratio(cell, "wall"), _ratio(cell, "cpu"), seconds])
    head = ["model", "rows", "steps", "time / bare", "CPU time / bare", "time of one attack"]
    return "\n".join([*_measured(cells), *_table(head, rows)])


def autoattack_page(cells):
    """The page of benchmarks/autoattack.py."""
    sides = {side: [c for c in cells.values() if c["case"]["side"] == side] for side in ("ours", "theirs")}
    rows = []
    for member, of_member in _grouped(sides["theirs"], "member"):
        for model, found in _grouped(of_member, "model"):
            mine = [c for c in sides["ours"] if (c["case"]["member"], c["case"]["model"]) == (member, model)]
            if not mine:
                continue
            ours, theirs = ([100 * c["robust"] for c in cells] for cells in (mine, found))
            allowed = _mean(theirs) + max(0.5, max(theirs) - min(theirs))
            verdict = "yes" if _mean(ours) <= allowed + 1e-4 else "**no**"
            case = found[0]["case"]
            spent = [f"{_mean([sum(c['passes']) for c in cells]):.0f}" for cells in (mine, found)]
            took = [f"{_mean([c['seconds'] for c in cells]):.0f} s" for cells in (mine, found)]
            where = [member, model, case["eps"], case["rows"], f"{len(mine)}, {len(found)}"]
            rows.append([*where, _seeds(ours), _seeds(theirs), f"{allowed:.2f}", verdict, *spent, *took])
    head = ["member", "model", "eps", "rows", "seeds", "robust %: ours", "theirs", "allowed", "at par"]
    head += ["passes a row: ours", "theirs", "time: ours", "theirs"]
    lines = _measured(cells)[:-2]  # no pairs are timed here
    return "\n".join([*lines, "", *_table(head, rows)])


def cascade_page(cells):
    """The page of benchmarks/cascade.py."""
    rows = []
    for model, found in _grouped(list(cells.values()), "model"):
        suites = {cell["case"]["suite"]: cell for cell in found}
        published = suites.pop("autoattack", None)
        for suite, cell in suites.items():
            if published is None:
                continue
            both = (cell, published)
            held = [f"{c['held']}, {100 * c['held'] / c['case']['rows']:.1f} %" for c in both]
            spent = [f"{c['passes']:.0f}" for c in both]
            verdict = (
                "yes"
                if cell["held"] <= published["held"] + 1 and 5 * cell["passes"] <= published["passes"]
                else "**no**"
            )
            share = f"{cell['passes'] / published['passes']:.3f}"
            took = [f"{c['seconds']:.0f} s" for c in both]
            each = "; ".join(f"{name} {seen}, -{fell}" for name, seen, fell, _ in cell["members"])
            about = [model, cell["case"]["eps"], cell["case"]["rows"], cell["clean"]]
            rows.append([suite, *about, *held, *spent, share, verdict, *took, each])
    head = ["suite", "model", "eps", "rows", "right when clean", "held", "under autoattack", "passes a row"]
    head += ["of autoattack", "share", "one row and a fifth", "time", "of autoattack", "members: rows seen, broken"]
    return "\n".join([*_measured(cells)[:-2], "", *_table(head, rows)])


def _mean(values):
    return sum(values) / len(values)


def _seeds(values):
    """Mean and range."""
    return f"{_mean(values):.2f} ({min(values):.1f}–{max(values):.1f})"


def fastest(cells):
    """Of cells of one model and attack, the peer against which we do worst where both do the same work."""
    return max((c for c in cells if c["case"]["setting"] == "same work"), key=lambda c: c["wall"][1])["case"]["peer"]


def _measured(cells):
    """Where and with what; one line for each environment among the cells."""
    cases = [cell["case"] for cell in cells.values()]
    where = dict.fromkeys(", ".join(f"{key} {case[key]}" for key in ENVIRONMENT if key in case) for case in cases)
    pairs = sorted({case["pairs"] for case in cases if "pairs" in case})
    peers = sorted({f"{case['peer']} {case['version']}" for case in cases if "peer" in case})
    lines = [f"Measured with {line}." for line in where]
    lines += [f"Peers: {', '.join(peers)}."] if peers else []
    return [*lines, f"Medians of {' or '.join(map(str, pairs)) or 'no'} pairs, quartiles in brackets.", ""]


def _times(model, cells):
    """Our time over the peer's, for each attack and peer; the fastest peer of an attack is bold."""
    rows = []
    for attack, of_attack in _grouped(cells, "attack"):
        bold = fastest(of_attack) if any(c["case"]["setting"] == "same work" for c in of_attack) else None
        for peer, of_peer in _grouped(of_attack, "peer"):
            found = {c["case"]["setting"]: c for c in of_peer}
            took = f"{1000 * of_peer[0]['seconds'][1]:.0f} ms"
            ratios = [f"{_ratio(found[s], 'wall')}, {found[s]['cpu'][1]:.2f}" if s in found else "" for s in SETTINGS]
            rows.append([attack, of_peer[0]["case"]["steps"], f"**{peer}**" if peer == bold else peer, took, *ratios])
    title = f"**{model}**, {cells[0]['case']['rows']} rows: our time over the peer's, then the same in CPU time"
    return [title, "", *_table(["attack", "steps", "peer", "its time", *SETTINGS], rows)]


def _passes(model, cells):
    """Passes of a row, and robust accuracy, theirs and ours."""
    rows = []
    for attack, of_attack in _grouped(cells, "attack"):
        for peer, of_peer in _grouped(of_attack, "peer"):
            found = {c["case"]["setting"]: c for c in of_peer}
            passes = [f"{sum(of_peer[0]['passes'][1]):g}"]
            passes += [f"{sum(found[s]['passes'][0]):.3g}" if s in found else "" for s in SETTINGS]
            robust = [_percent(of_peer[0]["robust"][1])]
            robust += [_percent(found[s]["robust"][0]) if s in found else "" for s in SETTINGS]
            equal = _percent(found["same work"]["equal"]) if "equal" in found.get("same work", {}) else ""
            rows.append([attack, peer, *passes, *robust, equal])
    ours = [f"ours, {setting}" for setting in SETTINGS]
    head = ["attack", "peer", "passes: peer", *ours, "robust %: peer", *ours, "equal points %"]
    return [f"**{model}**: passes of a row, robust accuracy, points equal to 1e-5 (same work)", "", *_table(head, rows)]


def _strengths(cells):
    """PGD-40 from random starts: robust accuracy in per cent, mean over the seeds and its range."""
    rows = []
    for cell in cells:
        case, (ours, theirs) = cell["case"], cell["robust"]
        found = [f"{_percent(min(seeds))}–{_percent(max(seeds))}" for seeds in cell["seeds"]]
        found = [f"{100 * mean:.2f} ({seen})" for mean, seen in zip(cell["robust"], found, strict=True)]
        rows.append([case["model"], case["eps"], case["size"], case["peer"], *found, f"{100 * (ours - theirs):+.2f}"])
    case = cells[0]["case"]
    title = (
        f"**PGD-40**, {case['rows']} rows: robust accuracy in per cent, mean and range of {case['seeds']} random starts"
    )
    return [title, "", *_table(["model", "eps", "step", "peer", "ours", "theirs", "ours - theirs"], rows)]


def _grouped(cells, key):
    """The cells by one entry of their cases, in order of first appearance."""
    values = dict.fromkeys(cell["case"][key] for cell in cells)
    return [(value, [cell for cell in cells if cell["case"][key] == value]) for value in values]


def _ratio(cell, clock):
    low, middle, high = cell[clock]
    return f"{middle:.3f} ({low:.2f}–{high:.2f})"


def _percent(share):
    return f"{100 * share:.1f}"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(map(str, line))} |" for line in lines), ""]
