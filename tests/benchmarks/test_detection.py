"""The benchmark of detectors: what its cells measure, and what the page says of them."""

import pytest
import torch
from detected import Scaled, net_of, rows_of

from saddlepoint import Classifier
from saddlepoint.detectors import Guarded
from saddlepoint.detectors.squeezing import Squeezed


def test_points_that_fool_are_told_from_the_same_rows_when_clean(module):
    bench = module("detection")
    model, x = Classifier(net_of()), rows_of(60)
    scorer = Squeezed(model, (Scaled(0.9),))
    guard = Guarded(model, scorer, scorer.scores(x).median().item())
    y = model.predict(x)
    figures = bench.told(guard, x, y, 1.5 - x)  # clamped
    seen = guard.screen((1.5 - x).clamp(0, 1))
    fooled = seen.label != y
    assert 0 < figures["fooled"] == fooled.sum() < 60
    assert figures["passed"] == (fooled & ~seen.rejected).sum()
    same = bench.told(guard, x, y, x)
    assert (same["fooled"], same["passed"]) == (0, 0)
    assert "area" not in same


def test_the_page_says_what_the_cells_hold_and_no_more(module):
    bench = module("detection")
    case = {"kind": "oblivious", "model": "zoo:a", "detector": "k-density", "attack": "pgd"}
    plain = {"rows": 9, "fooled": 8, "passed": 1, "area": [0.9, 0.8, 0.95], "tpr": 0.5, "l2": 1.25}
    cells = {"one": {"case": case, **plain}, "none": {"case": {**case, "attack": "fgsm"}, "rows": 9, "fooled": 0}}
    page = bench.page(cells)
    assert "| `zoo:a` | k-density | pgd | 8 of 9 | 0.900 (0.800 to 0.950) | 50.0 % | 1.25 |" in page
    assert "| `zoo:a` | k-density | fgsm | 0 of 9 | | | |" in page
    assert "knows" not in page
    assert "yes" not in page
    aim = {"kind": "adaptive", "model": "zoo:a", "detector": "k-density", "aim": "median"}
    aim["attack"] = {"search_steps": 9, "steps": 1000}
    page = bench.page({"one": {"case": aim, **plain, "plain": plain}})
    assert "| 9 x 1,000 | the median of clean rows | 1 of 9 | 8 of 9 |" in page
    assert "| `zoo:a`, adaptive: area of K-density <= 0.55 | 0.900 | **no** |" in page


def test_verdicts_are_of_what_was_measured(module):
    tables = module("_detection_tables")

    def cell(area, kind="oblivious", **case):
        return {"case": {"kind": kind, **case}, "area": [area, 0, 1], "l2": 3.0, "plain": {"l2": 1.0}}

    cells = {
        f"zoo:mnist-{net}, {metric}, pgd": cell(area, detector=metric, attack="pgd")
        for net, metric, area in (("rce", "k-density", 0.8), ("leaky", "k-density", 0.81), ("rce", "non-me", 0.9))
    }
    cells["zoo:mnist-leaky, non-me, pgd"] = cell(0.8, detector="non-me", attack="pgd")
    cells["far"] = cell(0.5, "adaptive", model="m", detector="feature-squeezing", aim="median")
    cells["time"] = {"case": {"kind": "training", "data": "d"}, "ratio": [1, 1.06, 1.1]}
    cells["robust"] = {"case": {"kind": "joined", "model": "zoo:fashion-pgd"}, "adaptive": 0.7, "alone": 0.6}
    told = [line.split("|")[1:4] for line in tables.verdicts(cells)[2:]]
    assert {what.strip(): held.strip() for what, _, held in told} == {
        "mnist, pgd: k-density of the reversed >= that of cross-entropy -0.02": "yes",
        "mnist, pgd: non-me of the reversed >= that of cross-entropy +0.15": "**no**",
        "`m`, adaptive: area of feature squeezing <= 0.6": "yes",
        "`m`, adaptive: L2 <= 1.5 x plain C&W's": "**no**",
        "d: time of the reversed cross-entropy <= 1.05": "**no**",
        "`zoo:fashion-pgd` behind a detector: more rows hold than without, and than of `zoo:fashion-standard`": "yes",
    }


@pytest.mark.parametrize("tied", [False, True])
def test_the_rate_is_as_stated_also_where_scores_are_tied(module, monkeypatch, tied):
    bench = module("detection")

    class Scores:
        def scores(self, x):
            return x.flatten().round(decimals=2) if tied else x.flatten()

    guard = type("Guard", (), {"scorer": Scores()})
    rows = type("Rows", (), {"x": torch.rand(2000, generator=torch.Generator().manual_seed(0))})
    monkeypatch.setattr(bench, "guarded", lambda *_: guard)
    monkeypatch.setattr(bench.sp, "load_data", lambda _: _Whole(rows))
    found = bench.rate("m", "d", "k")
    assert found["mean"] <= 0.05 + 0.002
    if not tied:
        assert found["inside"] > 0.9 * bench.RESAMPLINGS
        assert found["expected"][0] < 75 < found["expected"][1]


class _Whole:
    """Rows, whatever part of them is asked for."""

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, _part):
        return self.rows
