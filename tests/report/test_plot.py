"""What the interactive plot is given: the numbers of the record, and names that plotly takes as text."""

import dataclasses
import json
import math

import pytest
from report_runs import HOSTILE, hostile, make_run, threat

from saddlepoint.report import text
from saddlepoint.report.charts import curves
from saddlepoint.report.groups import groups
from saddlepoint.report.plot import GLYPHS, SYMBOLS, embedded, label, traces


def drawn(run):
    """The lines of the only norm of a run."""
    (plot,) = curves(run, groups(run))
    return traces(run, text.labels(run.models), plot)


def test_every_model_has_its_worst_case_and_every_attack():
    found = drawn(make_run())
    names = ["worst case", "fgsm", "pgd", "apgd-ce", "fab", "square"]
    assert [(line["series"], line["attack"]) for line in found] == [(i, name) for i in (0, 1) for name in names]
    assert [line["worst"] for line in found] == [True, *[False] * 5] * 2


def test_a_line_runs_from_the_clean_accuracy_through_every_radius_with_its_interval():
    run = make_run()
    line = next(line for line in drawn(run) if (line["series"], line["attack"]) == (0, "fgsm"))
    shares = [run.models[0].clean, *(ball.attacks[0].robust for ball in run.models[0].threats)]
    assert line["x"] == [0.0, 0.1, 0.3]
    assert line["y"] == pytest.approx([100 * share.count / 2000 for share in shares])
    assert [y + up for y, up in zip(line["y"], line["up"], strict=True)] == pytest.approx(
        [100 * s.high for s in shares]
    )
    assert [y - d for y, d in zip(line["y"], line["down"], strict=True)] == pytest.approx([100 * s.low for s in shares])
    assert line["text"] == [
        "mnist-pgd<br>clean accuracy<br>97.4 % (96.6 to 98.0)<br>1948 of 2000 rows",
        "mnist-pgd<br>fgsm, eps 0.1<br>95.6 % (94.6 to 96.4)<br>1912 of 2000 rows",
        "mnist-pgd<br>fgsm, eps 0.3<br>93.3 % (92.1 to 94.3)<br>1866 of 2000 rows",
    ]


def test_what_was_not_measured_is_not_drawn():
    run = make_run()
    run.models[1].threats.pop(0)
    del run.models[1].threats[0].attacks[1:]
    lines = {line["attack"]: line["x"] for line in drawn(run) if line["series"] == 1}
    assert lines == {"worst case": [0.0, 0.3], "fgsm": [0.0, 0.3]}


def test_no_rows_are_no_point():
    run = make_run()
    run.models[0].threats[0] = threat(0.1, [0] * 5, 0, 0)
    assert {tuple(line["x"]) for line in drawn(run) if line["series"] == 0} == {(0.0, 0.3)}


def test_many_attacks_share_the_markers():
    run = make_run()
    ball = run.models[0].threats[1]
    ball.attacks.extend(dataclasses.replace(ball.attacks[0], name=f"mine {i}") for i in range(4))
    found = [line for line in drawn(run) if line["series"] == 0]
    assert [line["glyph"] for line in found] == [GLYPHS[0], *GLYPHS[1:], *GLYPHS[1:5]]
    assert {line["glyph"]: line["symbol"] for line in found} == dict(zip(GLYPHS, SYMBOLS, strict=True))


def test_a_hostile_name_is_escaped_for_plotly_and_for_the_page():
    run = hostile(make_run())
    said = [line for trace in drawn(run) for line in trace["text"]]
    assert all("<" not in line.replace("<br>", "") for line in said)
    assert any(line.startswith("&lt;/script&gt;&lt;") for line in said)
    content = embedded(drawn(run))
    assert not set(content) & set("<>&\u2028\u2029")
    assert json.loads(content) == drawn(run)


@pytest.mark.parametrize("name", ["a & b", "<b>", "&lt;", "<a href='javascript:alert(1)'>x</a>", "%{x}", "\u2028", "é"])
def test_whatever_is_embedded_comes_back(name):
    assert json.loads(embedded({name: [name]})) == {name: [name]}
    assert not set(embedded(name)) & set("<>&\u2028\u2029")


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded([math.nan])


def test_labels_are_short_and_on_one_line():
    assert label("net") == "net"
    assert label("a\nb\tc  d") == "a b c d"
    assert label("x" * 30) == "x" * 30
    long = label("start" + "-" * 50 + "end")
    assert len(long) == 31
    assert long.startswith("start")
    assert long.endswith("end")
    assert "…" in long
    assert label(HOSTILE * 2).startswith("&lt;/script&gt;")
