"""What readers see of the form in which a model was attacked."""

import dataclasses
import io
import re

import pytest
from report_runs import hostile, make_run
from rich.console import Console

from saddlepoint.records import Precision, RunRecord, Trial
from saddlepoint.report import precisions
from saddlepoint.report.html import render

TRIED = Precision(
    picked="float32 channels_last",
    rows=200,
    trials=[
        Trial(name="float32", seconds=2.0, lost=0),
        Trial(name="float32 channels_last", seconds=1.25, lost=0),
        Trial(name="bfloat16", seconds=0.5, lost=1),
        Trial(name="float32 channels_last compiled", seconds=None, lost=None, why="no compiler in '/home/ada/bin/g++'"),
    ],
    note="",
    seconds=20.0,
)
PLAIN = dataclasses.replace(TRIED, picked="float32", trials=TRIED.trials[::2])
LEFT = Precision(picked="float64", rows=0, trials=[], note="the model does not compute in float32", seconds=0.0)


def run_of(*found):
    run = make_run()
    models = [dataclasses.replace(model, precision=each) for model, each in zip(run.models, found, strict=True)]
    return dataclasses.replace(run, models=models)


def terminal(run):
    console = Console(width=300, file=io.StringIO())
    console.print(precisions.summary(run))
    return console.file.getvalue()


def page(run):
    return " ".join(re.sub("<[^>]*>", " ", render(run, None)).split())


def test_the_record_is_read_back_as_it_was():
    run = run_of(TRIED, LEFT)
    assert RunRecord.from_json(run.to_json()) == run


@pytest.mark.parametrize("show", [terminal, page])
def test_what_was_tried_lost_and_picked_is_told(show):
    said = show(run_of(TRIED, LEFT))
    assert "the fastest that lost no verdict on 200 rows" in said
    for outcome in ("1.250 s, 0.62 of float32, no verdict lost", "0.500 s, 0.25 of float32, 1 verdict lost"):
        assert outcome in said
    assert "could not be run: no compiler in" in said
    assert "/home/ada" not in said
    assert "float64" in said
    assert "the model does not compute in float32" in said


def test_the_terminal_names_the_model_and_its_form():
    first, tried, second = terminal(run_of(TRIED, LEFT)).splitlines()
    assert first.startswith("mnist-pgd: attacked in float32 channels_last (")
    assert tried.startswith("  float32: 2.000 s; float32 channels_last: ")
    assert "attacked in float64 (" in second


def test_that_nothing_was_faster_is_told():
    assert "no other form was faster by a tenth without losing a verdict on 200 rows" in terminal(run_of(PLAIN, PLAIN))


def test_a_run_that_was_not_asked_says_nothing():
    assert terminal(make_run()).strip() == ""
    assert "Precision of the attacks" not in page(make_run())
    assert "Precision of the attacks" in page(run_of(None, TRIED))


def test_names_and_reasons_are_escaped():
    odd = dataclasses.replace(TRIED.trials[3], why="<script>alert(1)</script>")
    run = hostile(run_of(dataclasses.replace(TRIED, trials=[*TRIED.trials[:3], odd]), None))
    assert "<script>alert(1)" not in render(run, None)
