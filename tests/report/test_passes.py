"""Robust accuracy against passes: the steps and their places on the logarithmic axis, by hand."""

import dataclasses
import json

import pytest
from report_runs import make_passes, make_run

from saddlepoint.records import Passes
from saddlepoint.report import text
from saddlepoint.report.groups import groups
from saddlepoint.report.html import render
from saddlepoint.report.passes import plots, steps


def drawn(run):
    """The only plot of a run."""
    (plot,) = plots(run, text.labels(run.models), groups(run))
    return plot


def test_a_line_counts_the_rows_that_stand_after_each_number_of_passes():
    line = steps(Passes(attacks=["pgd"], held=5, most=90, found=[2, 90, 2, 21]), 10)
    assert (line.x, line.held, line.rows) == ([1.0, 2.0, 21.0, 90.0], [9, 7, 6, 5], 10)
    assert steps(Passes(attacks=["pgd"], held=2, most=40, found=[1]), 3).held == [2, 2]


def test_every_model_has_a_line_that_names_the_attacks():
    plot = drawn(make_passes())
    assert [(line["series"], line["attack"], line["word"]) for line in plot.traces] == [
        (0, "fgsm, pgd", "after"), (1, "fgsm, pgd", "after"),
    ]  # fmt: skip
    assert (plot.widest, plot.axis) == (90.0, "passes per row")
    assert [label for _, label in plot.ticks] == ["1", "2", "5", "10", "20", "50"]
    assert [90 ** (place / 100) for place, _ in plot.ticks] == pytest.approx([1, 2, 5, 10, 20, 50])


def test_the_plain_line_is_on_the_same_axis():
    spots = [tuple(map(float, spot.split(","))) for spot in drawn(make_passes()).lines[0].points.split()]
    assert spots[0] == (0.0, 10.0)
    assert spots[-1] == (100.0, 50.0)


def test_a_wide_axis_has_powers_of_ten():
    run = make_passes()
    model = run.models[0]
    model.threats[0] = dataclasses.replace(
        model.threats[0], passes=Passes(attacks=["pgd"], held=1, most=20_000, found=[3])
    )
    assert [label for _, label in drawn(run).ticks] == ["1", "10", "100", "1000", "10000"]


def test_without_passes_there_is_no_plot():
    assert plots(make_run(), ["a", "b"], groups(make_run())) == []
    assert '<section id="passes">' not in render(make_run(), None)


def test_the_page_has_the_section_and_a_logarithmic_axis():
    page = render(make_passes(), None)
    assert '<section id="passes">' in page
    assert 'href="#passes"' in page
    embedded = json.loads(page.split('id="plots">')[1].split("</script>")[0])
    assert [plot.get("log", False) for plot in embedded] == [False, False, True]
