"""What readers see of a diagnosis: the verdict, its evidence, the picture; and that nothing is cited against it."""

import dataclasses
import io
import json
import re

from report_runs import make_diagnosed, make_diagnosis, make_run
from rich.console import Console

from saddlepoint.records import RunRecord
from saddlepoint.report import diagnoses, text
from saddlepoint.report.citation import citation
from saddlepoint.report.groups import groups
from saddlepoint.report.html import render


def shown(renderable, width=200):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def plots(run):
    return diagnoses.plots(text.labels(run.models), groups(run))


def test_the_record_is_read_back_as_it_was():
    run = make_diagnosed()
    assert RunRecord.from_json(run.to_json()) == run


def test_a_number_that_is_not_to_be_cited_is_not_in_the_sentence():
    barred, doubted, *sound = citation(make_diagnosed())
    assert barred == (
        "mnist-pgd: no robust accuracy to cite for Linf eps 0.1 on mnist10k:test; the diagnosis says: do not cite "
        "(masked gradients). 97.4 % clean accuracy."
    )
    assert all("robust accuracy (95 % interval" in said for said in (doubted, *sound))


def test_the_page_shows_verdict_cause_evidence_and_cost():
    page = render(make_diagnosed(), None)
    said = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "Can this number be trusted?" in said
    assert page.index('id="trust"') < page.index('id="findings"')
    assert page.count('<p class="verdict do-not-cite">') == 1
    assert page.count('<p class="verdict trust">') == 2
    assert "do not cite : masked gradients" in said
    assert "doubt : weak attack and saturated logits" in said
    assert "27 of 30 rows fooled by it alone, 0 by the other alone Next: Attack without gradients." in said
    assert "12345 forwards and 678 backwards of single rows, in 4.2 s" in said
    assert said.count("robust accuracy, not to be cited") == 1


def test_a_run_without_diagnoses_has_no_panel():
    page = render(make_run(), None)
    assert "Can this number be trusted?" not in page
    assert 'href="#trust"' not in page


def test_each_ball_has_a_plot_from_all_rows_to_the_whole_box():
    first, second = plots(make_diagnosed())
    assert [label for _, label in first.ticks] == ["0", "0.075", "0.15", "0.3", "0.5477", "1"]
    assert [place for place, _ in first.ticks] == [0, 20, 40, 60, 80, 100]
    masked, sound = first.traces
    assert masked["y"] == [100, 100, 100, 100, 100, 100 * 31 / 32]
    assert sound["y"][-1] == 0
    assert sound["x"] == [0, 1, 2, 3, 4, 5]
    assert first.lines[1].points.endswith("80.00,0.00 100.00,100.00")
    assert [panel.diagnosis.verdict for panel in second.panels] == ["doubt", "trust"]


def test_plots_stand_in_the_order_of_their_figures():
    """The page's script joins them by their places."""
    page = render(make_diagnosed(), None)
    embedded = json.loads(re.search(r'<script type="application/json" id="plots">(.*?)</script>', page, re.DOTALL)[1])
    assert [("not to scale" in plot["axis"]) for plot in embedded] == [True, True, False]
    assert len(embedded) == len(re.findall(r'<div class="curve', page))
    assert page.index('id="trust"') < page.index('id="curves"')


def test_a_model_without_rows_leaves_the_others_their_plot():
    run = make_diagnosed()
    empty = dataclasses.replace(make_diagnosis("doubt"), rungs=[], rows=0)
    run.models[0].threats[0] = dataclasses.replace(run.models[0].threats[0], diagnosis=empty)
    first, _ = plots(run)
    assert [line["series"] for line in first.traces] == [1]
    assert len(first.panels) == 2
    assert render(run, None)


def test_the_terminal_has_a_line_for_each_number():
    lines = shown(diagnoses.summary(make_diagnosed())).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(
        "diagnosis of mnist-pgd, Linf eps 0.1: do not cite (masked gradients); gradient-free beats gradients "
    )
    assert "60 rows, 13,023 passes beside those of the attacks, 4.2 s" in lines[0]
    assert "trust (" in lines[2]
    assert shown(diagnoses.summary(make_run())) == ""


def test_the_table_has_every_probe_and_the_next_attack():
    said = shown(diagnoses.table(make_diagnosis("doubt", "weak attack")))
    for word in ("gradient-free beats gradients", "more steps help", "27 of 30 rows", "→ Attack without gradients."):
        assert word in said
