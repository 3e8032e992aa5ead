"""The report of a training: what it says, that it is safe, and how it looks in a browser."""

import dataclasses
import re

import pytest
from browser import Browser
from training_records import CARD, collapsed, plain

from saddlepoint.errors import RecordError
from saddlepoint.report.training import render, write
from saddlepoint.report.training_charts import charts

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def test_catastrophic_overfitting_stands_at_the_top():
    page = render(collapsed(), CARD)
    found = page.index("Catastrophic overfitting suspected in epoch 5")
    assert found < page.index("Accuracy on held-out rows</h2>")
    assert "PGD accuracy fell from 75.0 % to 2.0 %" in page
    assert "The weights are those of epoch 4: PGD accuracy 75.0 % on held-out rows." in page
    assert "5 of 10 epochs" in page
    assert "280,000 passes" in page
    assert "pgd-40 (Linf, eps 0.3)" in page


def test_a_training_without_validation_has_two_charts_and_no_guard():
    page = render(plain(), {**CARD, "accuracy": {}})
    assert [chart.title for chart in charts(plain())] == ["Loss", "Learning rate"]
    assert "Catastrophic" not in page
    assert "The guard saw nothing" not in page
    assert "On test rows" not in page


def test_charts_place_their_points():
    accuracy, loss, rate = charts(collapsed())
    clean, fgsm, pgd = accuracy.lines
    assert [x for x, _, _ in pgd.points] == [0, 25, 50, 75, 100]
    assert [round(y) for _, y, _ in pgd.points] == [40, 30, 26, 25, 98]
    assert pgd.points[-1][2] == "epoch 5: PGD 2.0 %"
    assert accuracy.gap.split()[4:6] == [fgsm.path.split()[4], pgd.path.split()[4]]
    assert accuracy.kept == 75
    assert accuracy.suspects == [(87.5, 12.5, 5)]
    assert [round(y) for _, y, _ in loss.lines[0].points] == [0, 50, 67, 75, 80]
    assert rate.y_ticks[0] == (0.0, "0.005")
    assert clean.series != fgsm.series != pgd.series


def test_nothing_that_comes_from_a_user_is_obeyed():
    card = {**CARD, "description": HOSTILE, "recipe": {HOSTILE: HOSTILE}}
    record = dataclasses.replace(collapsed(), settings={"data": HOSTILE, "path": "/home/ada/secret/net.yaml"})
    page = render(record, card)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "/home/ada" not in page
    policy = re.search(r'content="(default-src[^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in page.partition("<script")[0]


def test_it_is_small_and_written_whole(tmp_path):
    write(collapsed(), CARD, tmp_path / "net.training.html")
    assert (tmp_path / "net.training.html").stat().st_size < 100_000
    with pytest.raises(RecordError, match="cannot write the report"):
        write(collapsed(), CARD, tmp_path / "gone" / "net.training.html")


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    with Browser(chromium, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    hostile = {**CARD, "description": HOSTILE * 5, "recipe": {"name": "x" * 300, "objective": HOSTILE}}
    for name, record, card in (
        ("collapsed", collapsed(), CARD), ("plain", plain(), CARD), ("hostile", collapsed(), hostile)
    ):  # fmt: skip
        write(record, card, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in ("collapsed", "plain", "hostile")}


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
@pytest.mark.parametrize("name", ["collapsed", "plain", "hostile"])
def test_it_fits_fetches_nothing_and_complains_of_nothing(browser, pages, tmp_path, name, width, scheme):
    browser.open(pages[name], width=width, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert browser.requests == [pages[name].as_uri()]
    assert browser.console == []


@pytest.mark.browser
def test_the_collapse_is_seen(browser, pages):
    browser.open(pages["collapsed"])
    seen = "(s) => { const box = document.querySelector(s).getBoundingClientRect(); return [box.width, box.height]; }"
    for selector in (".finding.error", ".plane .suspect", ".plane .gap", ".plane .kept"):
        width, height = browser.run(f"({seen})({selector!r})")
        assert max(width, height) > 20, selector
    fill = "getComputedStyle(document.querySelector('.plane .suspect')).fill"
    light = browser.run(fill)
    for theme in ("light", "dark"):
        browser.click(".theme")
        assert browser.run("document.documentElement.dataset.theme") == theme
    assert browser.run(fill) != light
