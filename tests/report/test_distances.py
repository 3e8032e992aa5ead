"""Robust accuracy against distance: the steps, the medians and the table, by hand."""

import dataclasses
import itertools
import json

import pytest
from report_runs import HOSTILE, make_reach, make_run, reach, wilson
from rich.console import Console

from saddlepoint.records import RunRecord, distances
from saddlepoint.report import text
from saddlepoint.report.citation import CAVEAT, CAVEAT_DISTANCE, caveat, citation
from saddlepoint.report.distances import MOST, plots, steps, table, thinned
from saddlepoint.report.groups import groups
from saddlepoint.report.html import render
from saddlepoint.report.tables import summary


def drawn(run):
    """The only plot of a run."""
    (plot,) = plots(run, text.labels(run.models), groups(run))
    return plot


def printed(run):
    console = Console(width=160, highlight=False)
    with console.capture() as capture:
        console.print(summary(run))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def beyond(found, rows, distance):
    """Straight from the definition: rows whose smallest perturbation is larger, or was not found."""
    return sum(value > distance for value in found.found) + found.unsolved


def test_a_line_counts_the_rows_that_stand_beyond_each_distance():
    found = distances([0.5, 0.25, 0.5, 2.0], unsolved=2)
    line = steps(found, 8, None)
    assert (line.x, line.held, line.rows) == ([0.0, 0.25, 0.5, 2.0], [6, 5, 3, 2], 8)
    assert line.held == [beyond(found, 8, x) for x in line.x]


def test_with_a_radius_a_line_ends_there_and_the_slack_of_the_judge_is_inside():
    line = steps(distances([0.1, 0.300001], unsolved=3), 6, 0.3)
    assert (line.x, line.held) == ([0.0, 0.1, 0.3], [5, 4, 3])
    assert steps(distances([0.1], unsolved=3), 6, 0.3).x[-1] == 0.3
    assert steps(distances([], unsolved=3), 6, 0.3).held == [3, 3]


def test_a_long_line_is_thinned_to_points_of_its_own_and_stays_within_half_a_point():
    found = distances([((i * 7919) % 5000) / 100 for i in range(5000)], unsolved=100)
    line = steps(found, 6000, None)
    thin = thinned(line)
    assert len(thin.x) == MOST < len(line.x)
    assert set(zip(thin.x, thin.held, strict=True)) <= set(zip(line.x, line.held, strict=True))
    assert (thin.x[0], thin.x[-1], thin.held[-1]) == (0.0, line.x[-1], 100)
    steepest = max(a - b for a, b in itertools.pairwise(thin.held))
    assert steepest <= 6000 / 100 / 2
    assert thinned(thin) is thin


def test_every_model_has_its_worst_case_and_every_attack_with_the_median_marked():
    lines = drawn(make_reach()).traces
    assert [(line["series"], line["attack"]) for line in lines] == [
        (0, "worst case"), (0, "ddn"), (0, "fmn"), (1, "worst case"), (1, "ddn"), (1, "fmn"),
    ]  # fmt: skip
    worst, ddn, fmn = lines[:3]
    assert ddn["median"] == [2.5, 4, "2.5", 9]  # five of nine rows are fooled within 2.5
    assert worst["median"] == [2.5, 4, "2.5", 9]
    assert fmn["median"] is None  # five of nine are unsolved
    assert (worst["x"][:3], worst["held"][:3]) == ([0.0, 0.5, 0.9], [9, 8, 7])
    assert (worst["held"][-1], worst["rows"]) == (1, 10)
    assert len({line["dash"] for line in lines[:3]}) == 3
    assert [line["shown"] for line in lines] == [True] * 6


def test_undefined_rows_neither_stand_nor_count_for_the_median():
    weak = drawn(make_reach()).traces[3]
    assert (weak["held"][0], weak["rows"]) == (8, 10)
    assert weak["median"][3] == 8
    cell = drawn(make_reach()).table[-1][1][1]
    assert cell is not None
    assert (cell.undefined, cell.unsolved) == (1, wilson(0, 8))


def test_of_many_lines_only_the_worst_cases_are_shown_at_first():
    run = make_reach()
    more = dataclasses.replace(run, models=[*run.models, run.models[0]])
    assert [line["shown"] for line in drawn(more).traces] == [True, False, False] * 3


def test_one_attack_is_its_own_worst_case():
    run = make_reach()
    only = dataclasses.replace(run.models[0], threats=[reach({"ddn": [1.0, None]}, 2, 2)])
    lines = drawn(dataclasses.replace(run, models=[only])).traces
    assert [(line["attack"], line["worst"], line["x"]) for line in lines] == [("ddn", True, [0.0, 1.0, 1.05])]


def test_the_axis_ends_at_the_radius_or_a_little_beyond_what_was_found():
    assert drawn(make_reach(4.5)).widest == 4.5
    assert drawn(make_reach()).widest == pytest.approx(1.05 * 4.0)
    far = reach({"ddn": [1.0] * 300 + [50.0]}, 301, 301)
    run = dataclasses.replace(make_reach(), models=[dataclasses.replace(make_reach().models[0], threats=[far])])
    assert drawn(run).widest == pytest.approx(1.05)
    assert drawn(run).traces[0]["x"][-1] == 50.0  # to be seen when the plot is enlarged
    assert drawn(run).lines[0].points.split()[-1].startswith("100.00,")  # the plain plot ends at its edge


@pytest.mark.parametrize("widest", [0.0123, 0.3, 1.0, 4.2, 7.9, 784.0])
def test_ticks_are_few_and_inside(widest):
    plot = drawn(make_reach(widest))
    places = [place for place, _ in plot.ticks]
    assert places[0] == 0.0
    assert 3 <= len(places) <= 6
    assert all(0 <= place <= 100 + 1e-6 for place in places)
    assert [float(label) for _, label in plot.ticks] == pytest.approx([place * widest / 100 for place in places])


def test_the_plain_line_goes_down_in_steps_through_its_median():
    line = drawn(make_reach()).lines[0]
    spots = [tuple(map(float, spot.split(","))) for spot in line.points.split()]
    assert spots[0] == spots[1] == (0.0, 10.0)  # nine of ten rows are right
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(spots))
    assert spots[-1] == (100.0, 90.0)
    assert line.median == pytest.approx((100 * 2.5 / 4.2, 60.0))
    assert line.title == "mnist-pgd: median 2.5"


def test_nothing_found_and_nothing_right_is_drawn_too():
    run = make_reach()
    for ball in (reach({"ddn": [None, None]}, 2, 3), reach({"ddn": []}, 0, 3), reach({"ddn": []}, 0, 0)):
        only = dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=[ball])])
        assert drawn(only).traces[0]["median"] is None
        assert "none found" in render(only, None)


def test_a_fixed_budget_attack_has_no_distances_and_no_row():
    assert plots(make_run(), ["a", "b"], groups(make_run())) == []
    run = make_reach(4.5)
    ball = run.models[0].threats[0]
    ball.attacks.insert(0, dataclasses.replace(ball.attacks[0], name="pgd", distances=None))
    (group,) = groups(run)
    rows = dict(table(group))
    assert list(rows) == ["ddn", "fmn", "worst case"]
    assert "pgd" not in [line["attack"] for line in drawn(run).traces]
    assert rows["fmn"][0].median == "> 4.5"


def test_the_table_has_quartiles_and_what_is_unsolved():
    rows = dict(drawn(make_reach()).table)
    ddn, fmn = rows["ddn"][0], rows["fmn"][0]
    assert (ddn.median, ddn.quartiles, ddn.unsolved.count) == ("2.5", "1.5 to 3.5", 1)
    assert (fmn.median, fmn.quartiles, fmn.unsolved.count) == ("> 4", "3.6 to > 4", 5)


def test_the_page_shows_distances_in_place_of_a_robust_accuracy():
    page = render(make_reach(), None)
    assert '<section id="distances">' in page
    assert '<section id="results">' not in page
    assert 'href="#results"' not in page
    assert '<section id="curves">' not in page
    assert "<b>2.5</b><span>median smallest perturbation, input units<br>quartiles 1.5 to 3.5</span>" in page
    assert "unsolved 1" in page
    assert "robust accuracy (95 %" not in page
    assert "eps None" not in page
    assert "NaN" not in page.split("<script>")[0]


def test_with_a_radius_the_page_shows_both():
    page = render(make_reach(4.5), None)
    assert all(f'<section id="{name}">' in page for name in ("distances", "results", "curves"))
    embedded = page.split('id="plots">')[1].split("</script>")[0]
    assert [plot["axis"] for plot in json.loads(embedded)] == ["eps", "L2 distance, input units"]


def test_a_large_run_stays_light():
    run = make_reach()
    found = {name: [1 + i / 7919 for i in range(10_000)] for name in ("ddn", "fmn", "deepfool")}
    models = [dataclasses.replace(model, threats=[reach(found, 10_000, 10_000)]) for model in run.models]
    run = dataclasses.replace(run, models=models)
    assert len(run.to_json()) < 1_000_000
    assert len(render(run, None)) < 1_600_000  # of which plotly is 1.2 million


def test_hostile_names_are_text_in_the_plot():
    run = make_reach()
    model = dataclasses.replace(run.models[0], name=HOSTILE)
    ball = model.threats[0]
    named = dataclasses.replace(ball, attacks=[dataclasses.replace(each, name=HOSTILE) for each in ball.attacks])
    page = render(dataclasses.replace(run, models=[dataclasses.replace(model, threats=[named])]), None)
    assert "<script>alert" not in page


def test_the_terminal_has_a_table_of_medians():
    lines = printed(make_reach())
    assert lines[0] == "L2 distance · 10 rows of mnist10k:test"
    assert "ddn 2.5 1.5 to 3.5 11.1 % 79 0.4 0.2 to 0.6 0.0 % 79" in lines
    assert "worst case 2.5 1.5 to 3.5 11.1 % 158 0.2 0.2 to 0.2 0.0 % 158" in lines
    assert not any("robust accuracy" in line for line in lines)
    both = printed(make_reach(4.5))
    assert any(line.startswith("L2 eps 4.5, distance · 10 rows") for line in both)
    assert any("robust accuracy" in line for line in both)


def test_the_sentence_gives_the_median_what_it_is_out_of_and_that_it_is_an_upper_bound():
    assert citation(make_reach())[0] == (
        "mnist-pgd: median smallest perturbation 2.5 (L2, input units; quartiles 1.5 to 3.5; 9 rows that are right "
        "when clean, 1 of them unsolved) under the nearest of 2 attacks (ddn, fmn), 10 rows of mnist10k:test; 90.0 % "
        "clean accuracy. An upper bound on the distance to the nearest adversarial example."
    )


def test_an_unsolved_median_is_more_than_the_largest_found():
    run = make_reach()
    ball = reach({"fmn": [0.5, 0.7, None, None, None]}, 5, 5)
    (said,) = citation(dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=[ball])]))
    assert "median smallest perturbation > 0.7 (L2, input units; quartiles 0.7 to > 0.7;" in said
    assert "3 of them unsolved) under fmn alone" in said


def test_the_caveat_is_that_of_what_was_measured():
    both = dataclasses.replace(make_reach(), models=[*make_reach().models, *make_run().models])
    assert caveat(make_run()) == caveat(dataclasses.replace(make_run(), models=[])) == CAVEAT
    assert caveat(make_reach()) == CAVEAT_DISTANCE
    assert caveat(both) == f"{CAVEAT} {CAVEAT_DISTANCE}"


def test_l0_distances_are_counted_in_features():
    ball = dataclasses.replace(reach({"jsma": [3.0, 5.0]}, 2, 2), norm="l0")
    run = dataclasses.replace(make_reach(), models=[dataclasses.replace(make_reach().models[0], threats=[ball])])
    assert drawn(run).axis == "L0 distance, features"
    assert "(L0, features;" in citation(run)[0]


def test_a_run_comes_back_and_gives_the_same_page():
    again = RunRecord.from_json(make_reach().to_json())
    assert again == make_reach()
    assert render(again, None) == render(make_reach(), None)
