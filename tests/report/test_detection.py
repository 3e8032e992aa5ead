import copy
import re

import pytest
from browser import Browser
from sklearn.metrics import auc, roc_curve

from saddlepoint.records import wilson
from saddlepoint.report.detection import Scale, render, roc, write


def share(count, rows):
    return vars(wilson(count, rows))


def part(rows):
    area = {"value": 0.75, "low": 0.5, "high": 1.0}
    return {
        "rows": rows,
        "area": area if rows else None,
        "tpr": [share(0, rows), share(1, rows)] if rows else [],
        "flagged": share(1 if rows else 0, rows),
    }


def attacked(name, fooled=2, **more):
    return {
        "attack": name, "adaptive": False, "below": None, "successful": part(fooled), "failed": part(3 - fooled),
        "confident": part(0), "undetected": share(1, 3), "scores": [0.0, 0.25, 1.5],
        "success": [place < fooled for place in range(3)], **more,
    }  # fmt: skip


@pytest.fixture
def found():
    return {
        "detector": "feature-squeezing", "model": "py:/home/ada/nets.py:make", "data": "folder:/home/ada/birds",
        "fitted_to": "folder:/home/ada/birds:train", "settings": {"squeezers": [{"name": "median", "height": 2}]},
        "command": "saddlepoint detect feature-squeezing py:/home/ada/nets.py:make --out /home/ada/run",
        "threshold": 0.5, "fpr": 0.05, "calibrated_on": 40, "rows": 4, "norm": "linf", "eps": 0.3, "seed": 0,
        "accuracy": share(3, 4), "rejected": share(1, 4), "accepted": share(2, 4), "robust": share(1, 4),
        "scores": [1e-6, 1e-3, 0.2],
        "attacks": [
            attacked("pgd"), attacked("pgd", adaptive=True), attacked("pgd", 0, adaptive=True, below=1e-3),
        ],
    }  # fmt: skip


def test_a_step_of_the_curve_is_what_scikit_learn_says_ties_included():
    clean, adversarial = [0.0, 1.0, 1.0, 2.0, 3.0], [1.0, 2.0, 2.5, 4.0]
    found = roc(clean, adversarial)
    false, true, _ = roc_curve([0] * 5 + [1] * 4, clean + adversarial, drop_intermediate=False)
    best = {}
    for x, y in zip(false, true, strict=True):
        best[round(100 * x, 6)] = max(best.get(round(100 * x, 6), 0), y)
    assert dict(zip((round(x, 6) for x in found.x), (held / 4 for held in found.held), strict=True)) == best
    assert auc(false, true) < 1


def test_the_page_has_a_line_a_curve_and_a_histogram_for_each_attack(found):
    page = render(found)
    assert page.startswith("<!doctype html>")
    assert "plotly.js (basic" in page
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["pgd", "pgd adaptive", "pgd adaptive, below 0.001"]
    assert "fooled: 1 of 2 rows score" in page
    assert "clean: 1 of 3 rows score" in page
    plots = page.split('id="plots">')[1].split("</script>")[0]
    assert plots.count('"kind"') == 2, "an attack that fools nothing has no curve"
    assert page.count("data-line=") == 2


def test_it_loads_nothing_and_tells_no_place(found):
    page = render(found)
    assert "/home/ada" not in page
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", re.sub(r"(?s)<script>.*?</script>", "", page))


def test_names_are_text(found):
    hostile = copy.deepcopy(found)
    planted = "</script><script>alert(1)</script>"
    hostile["model"] = planted
    hostile["attacks"][0]["attack"] = planted
    page = render(hostile)
    assert planted not in page
    assert page.count("<script>") == render(found).count("<script>")


def test_without_an_attack_that_fools_nothing_is_plotted(found):
    found["attacks"] = [attacked("fgsm", 0)]
    page = render(found)
    assert "ROC curves</h2>" not in page
    assert "plotly.js (basic" not in page, "the library is not there for nothing"


def test_the_axis_is_logarithmic_only_where_scores_span_orders_of_magnitude():
    wide, narrow, single = Scale.of([0.0, 1e-6, 1.0]), Scale.of([-3.0, 2.0]), Scale.of([1.0, 1.0])
    assert (wide.log, narrow.log, single.log) == (True, False, False)
    assert [wide.place(score) for score in (0.0, 1e-6, 1e-3, 1.0)] == pytest.approx([0, 0, 50, 100])
    assert [narrow.place(score) for score in (-3.0, -0.5, 2.0)] == pytest.approx([0, 50, 100])
    assert single.place(1.0) == 0
    for scale in (wide, narrow):
        assert [scale.place(scale.score(x)) for x in (0.0, 30.0, 100.0)] == pytest.approx([0, 30, 100])


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    with Browser(chromium, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
def test_it_fits_fetches_nothing_and_complains_of_nothing(browser, found, tmp_path, width, scheme):
    found["attacks"][0]["attack"] = "x" * 300
    page = tmp_path / "report.html"
    write(found, page)
    browser.open(page, width=width, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    browser.wait("document.querySelectorAll('.canvas .scatterlayer .trace').length === 2")
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert browser.requests == [page.as_uri()]
    assert browser.console == []


@pytest.mark.browser
def test_a_curve_goes_and_comes_back_at_its_button(browser, found, tmp_path):
    write(found, tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    drawn = "document.querySelectorAll('.canvas .scatterlayer .trace').length"
    browser.wait(f"{drawn} === 2")
    browser.click('[data-line="1"]')
    browser.wait(f"{drawn} === 1")
    browser.click('[data-line="1"]')
    browser.wait(f"{drawn} === 2")
