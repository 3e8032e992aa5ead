"""Who knows of a defense: the page leads with the worst case, never with what the oblivious attack leaves."""

import dataclasses
import io
import re

import pytest
import torch
from filters import Levels, curved
from report_runs import make_run, wilson
from rich.console import Console

from saddlepoint import Classifier, Dataset, Linf, evaluate
from saddlepoint.report.citation import citation
from saddlepoint.report.html import render
from saddlepoint.report.knowing import defended, summary

ROWS = 80
X = torch.rand(ROWS, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def run():
    model = Classifier(curved()).prepend(Levels(3))
    data = Dataset(X, model.predict(X), classes=("a", "b", "c"), name="rows", bounds=(0.0, 1.0))
    return evaluate({"net | levels:3": model}, data, ball=Linf(0.2), attacks=["pgd"], queries=100).record


def part(page, name):
    return re.search(rf'<section id="{name}">(.*?)</section>', page, re.DOTALL)[1]


def test_the_page_leads_with_the_worst_case(run):
    threat = run.models[0].threats[0]
    oblivious = threat.attacks[0]
    assert oblivious.role == "oblivious"
    assert oblivious.robust.count > threat.attacks[1].robust.count > threat.worst.count  # else this test could not fail
    page = render(run, None)
    cards = part(page, "cite")
    headline = re.search(r'<p class="figure"><b>([^<]+)<', cards)[1]
    assert headline == f"{100 * threat.worst.value:.1f}"
    assert f"{100 * oblivious.robust.value:.1f}" not in re.sub(r"interval [^<(]*?[<;)]", "", cards)
    assert f"{100 * threat.worst.value:.1f} % robust accuracy" in citation(run)[0]
    assert page.index('id="cite"') < page.index('id="defended"') < page.index('id="results"')


def test_a_table_shows_who_knows_what_side_by_side(run):
    threat = run.models[0].threats[0]
    table = part(render(run, None), "defended")
    rows = re.findall(r'<th scope="row">([\w -]+).*?<b>([\d.&lt;&gt;]+) %</b>', table)
    shares = [attack.robust for attack in threat.attacks] + [threat.worst]
    names = ["oblivious", "adaptive", "gradient-free", "worst case"]
    assert rows == [(name, f"{100 * share.value:.1f}") for name, share in zip(names, shares, strict=True)]
    gap = 100 * (threat.attacks[0].robust.value - threat.attacks[1].robust.value)
    assert f"{gap:.1f} points of the" in table
    assert "they are no robustness" in table
    assert "levels count=3" in table


def test_the_terminal_shows_the_same(run):
    screen = Console(file=io.StringIO(), width=120)
    screen.print(summary(run))
    said = screen.file.getvalue()
    for name in ("oblivious", "adaptive", "gradient-free", "worst case", "no robustness"):
        assert name in said


def with_roles(verdicts):
    """A run of one model whose attacks ended so, by role."""
    run = make_run()
    threat = run.models[0].threats[0]
    attacks = [
        dataclasses.replace(threat.attacks[0], name=role, role=role, verdicts=letters, robust=wilson(0, len(letters)))
        for role, letters in verdicts.items()
    ]
    worst = wilson(sum(set(letters) == {"H"} for letters in zip(*verdicts.values(), strict=True)), 4)
    threat = dataclasses.replace(threat, attacks=attacks, verdicts=verdicts["adaptive"], worst=worst)
    return dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=[threat])])


def test_rows_that_fall_without_gradients_only_are_told():
    run = with_roles({"oblivious": "HHHW", "adaptive": "HHFW", "gradient-free": "FHHW"})
    means = defended(run, ["net"])[0].means
    assert means[0].startswith("25.0 points of the 75.0 %")
    assert means[1].startswith("Without gradients 1 row fell")
    assert (
        len(defended(with_roles({"oblivious": "HHHW", "adaptive": "HFFW", "gradient-free": "HHFW"}), ["n"])[0].means)
        == 1
    )


def test_that_knowing_gained_nothing_is_told():
    means = defended(with_roles({"oblivious": "HFFW", "adaptive": "HHFW", "gradient-free": "HHHW"}), ["net"])[0].means
    assert means[0].startswith("Knowing of the defense gained the attacker nothing")


def test_a_bare_model_has_no_such_table():
    page = render(make_run(), None)
    assert "Who knows of the defense" not in page
    assert defended(make_run(), ["a", "b"]) == []
