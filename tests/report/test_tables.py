"""The terminal's tables: every number in its place, and names that are only ever text."""

import dataclasses
import re
import sys

import pytest
from report_runs import HOSTILE, make_run
from rich.console import Console, RenderableType

from saddlepoint.errors import MissingExtraError
from saddlepoint.records import Appearance, Finding, RunRecord
from saddlepoint.report.tables import cite, findings, summary, told


def printed(renderable: RenderableType, *, color: bool = False, width: int = 160) -> str:
    """What a terminal of that many columns shows."""
    console = Console(width=width, force_terminal=color, color_system="standard" if color else None, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_one_table_per_threat() -> None:
    shown = printed(summary(make_run()))
    assert shown.count("worst case") == 2
    assert "Linf eps 0.1 · 2000 rows of mnist10k:test" in shown
    assert "Linf eps 0.3 · 2000 rows of mnist10k:test" in shown


def test_a_row_holds_the_numbers_of_both_models() -> None:
    row = next(line for line in printed(summary(make_run())).splitlines() if line.strip().startswith("square"))
    assert " ".join(row.split()) == "square 95.4 % 94.4–96.2 79 55.2 % 53.1–57.4 79"


def test_a_narrow_terminal_folds_other_cells_than_names_of_attacks() -> None:
    run = make_run()
    run.spec["suite"] = "cascade-1"
    for model in run.models:
        for threat in model.threats:
            threat.attacks[0] = dataclasses.replace(threat.attacks[0], name="apgd-likeliest")
    assert "apgd-likeliest" in printed(summary(run), width=80)


def of_several(models: int) -> RunRecord:
    """A run of many models with telling names, each with figures of its own in every cell."""
    run = make_run()
    names = [f"zoo:fashion-distilled-{i}" for i in range(models)]
    return dataclasses.replace(
        run, models=[dataclasses.replace(run.models[i % 2], name=names[i]) for i in range(models)]
    )


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_models_that_do_not_fit_beside_each_other_come_below_and_no_figure_is_broken(width: int) -> None:
    run = of_several(5)
    wide, shown = printed(summary(run), width=1000), printed(summary(run), width=width)
    assert all(len(line.rstrip()) <= width for line in shown.splitlines())
    figures = re.findall(r"\S+ %  [\d.]+–[\d.]+", wide)
    assert len(figures) > 20
    assert sorted(re.findall(r"\S+ %  [\d.]+–[\d.]+", shown)) == sorted(figures)
    for model in run.models:
        assert shown.count(model.name) == wide.count(model.name)
    assert shown.count("worst case") == 2 * -(-5 // {60: 1, 80: 1, 100: 2, 200: 5}[width])


def test_a_name_that_is_wider_than_the_terminal_is_folded_and_no_figure_is() -> None:
    run = make_run()
    run = dataclasses.replace(run, models=[dataclasses.replace(run.models[0], name="long" * 30)])
    shown = printed(summary(run), width=60)
    assert re.findall(r"\S+ %  [\d.]+–[\d.]+", shown) == re.findall(
        r"\S+ %  [\d.]+–[\d.]+", printed(summary(run), width=300)
    )


def test_the_worst_case_is_bold() -> None:
    row = next(line for line in printed(summary(make_run()), color=True).splitlines() if "worst case" in line)
    assert "\x1b[1m" in row


def test_the_worst_case_adds_up_the_passes() -> None:
    row = next(line for line in printed(summary(make_run())).splitlines() if "worst case" in line)
    assert "395" in row.split()


def test_a_model_that_was_not_measured_has_a_dash() -> None:
    run = make_run()
    run.models[1].threats.pop()
    rows = [line for line in printed(summary(run)).splitlines() if line.strip().startswith("pgd")]
    assert rows[1].split()[-2:] == ["–", "–"]


def test_attacks_that_only_one_model_met_have_a_row() -> None:
    run = make_run()
    extra = dataclasses.replace(run.models[1].threats[0].attacks[0], name="jsma")
    run.models[1].threats[0].attacks.append(extra)
    shown = printed(summary(run))
    assert sum(line.strip().startswith("jsma") for line in shown.splitlines()) == 1


def test_an_attack_that_ran_twice_has_two_rows() -> None:
    run = make_run()
    run.models[0].threats[0].attacks.append(run.models[0].threats[0].attacks[1])
    assert "pgd (2)" in printed(summary(run))


@pytest.mark.parametrize("color", [False, True])
def test_a_hostile_name_is_text(color: bool) -> None:
    run = make_run()
    models = [dataclasses.replace(run.models[0], name=HOSTILE)]
    data = dataclasses.replace(run.data, name=HOSTILE)
    shown = printed(summary(dataclasses.replace(run, models=models, data=data)), color=color)
    assert shown.count(HOSTILE) >= 4


def test_control_characters_do_not_reach_the_terminal() -> None:
    run = make_run()
    models = [dataclasses.replace(run.models[0], name="a\x1b]0;title\x07b\x9b31m\u202ec")]
    shown = printed(summary(dataclasses.replace(run, models=models)))
    assert not set(shown) & set("\x1b\x07\x9b\u202e")


def test_a_consequence_stands_between_evidence_and_remedy() -> None:
    finding = Finding(
        level="error", title="Cut off", evidence="no graph", consequence="attacks do not move", remedy="mend"
    )
    shown = printed(told([finding, dataclasses.replace(finding, level="note", consequence="")]))
    assert [line.strip() for line in shown.splitlines()] == [
        "error: Cut off", "no graph", "attacks do not move", "→ mend", "note: Cut off", "no graph", "→ mend",
    ]  # fmt: skip


def test_findings_come_worst_first_with_evidence_and_remedy() -> None:
    shown = printed(findings(make_run()))
    assert [line.split(":")[0] for line in shown.splitlines() if not line.startswith(" ")] == [
        "error", "warning", "note",
    ]  # fmt: skip
    assert "3 of 2000 rows gave NaN logits" in shown
    assert "→ Add an adaptive attack" in shown


def test_cite_ends_with_the_caveat() -> None:
    shown = " ".join(printed(cite(make_run())).split())
    assert "91.2 % robust accuracy (95 % interval 89.9 to 92.4)" in shown
    assert shown.endswith("leaderboards built on them.")


@pytest.mark.parametrize("show", [summary, findings, cite])
def test_without_rich_the_error_names_the_extra(show: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert callable(show)
    with pytest.raises(MissingExtraError, match=r"saddlepoint\[cli\]"):
        show(make_run())


def test_a_suite_shows_what_each_member_added() -> None:
    run = make_run()
    assert "added" not in printed(summary(run))
    run = dataclasses.replace(run, spec=run.spec | {"suite": "autoattack"})
    last = run.models[1].threats[1].attacks[-1]
    run.models[1].threats[1].attacks[-1] = dataclasses.replace(last, added=17)
    rows = [" ".join(line.split()) for line in printed(summary(run)).splitlines()]
    assert [row for row in rows if row.startswith("square")][1].endswith(" 79 17")
    assert [row for row in rows if row.startswith("worst case")][1].endswith(" 395 1947"), "all that were fooled"
    run.models[1].threats.pop()
    assert [row for row in map(str.split, printed(summary(run)).splitlines()) if row[:1] == ["pgd"]][1][-3:] == [
        "–"
    ] * 3


def test_appearance_is_a_table_where_it_is_known_and_only_there() -> None:
    run = make_run()
    assert "appearance" not in printed(summary(run))
    attacks = run.models[1].threats[1].attacks
    attacks[0] = dataclasses.replace(attacks[0], appearance=Appearance(colour=1.25, colour_high=7.5, ssim=0.98765))
    attacks[1] = dataclasses.replace(attacks[1], appearance=Appearance(colour=0.5, colour_high=2.0, ssim=None))
    shown = printed(summary(run))
    assert shown.count("appearance") == 1, "the other radius has none"
    part = shown.split("Linf eps 0.3, appearance")[1]
    rows = {line.split()[0]: line.split()[1:] for line in part.splitlines() if line.strip()}
    assert rows["fgsm"] == ["–", "–", "–", "1.25", "7.5", "0.9877"]
    assert rows["pgd"] == ["–", "–", "–", "0.5", "2", "–"]
    assert rows["square"] == ["–"] * 6
