"""``evaluate`` without ``--eps``: distances from end to end, and what is refused."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from report_runs import make_reach, reach

from saddlepoint.records import RunRecord

MODEL, DATA = "py:ownnets:net", "mnist10k:test"


@pytest.fixture
def words(folder):
    """A run on a few digits, without a radius."""
    return ["evaluate", MODEL, DATA, "--rows", "40", "--attacks", "ddn,deepfool", "--norm", "l2"]


def record(name="out"):
    return RunRecord.from_json((Path(name) / "run.json").read_text(encoding="utf-8"))


def test_from_words_to_report(command, words):
    done = command(*words, "--out", "out")
    assert done.code == 0, done.err
    (threat,) = record().models[0].threats
    found = threat.distances
    assert threat.eps is None
    assert 0 < len(found.found) == threat.verdicts.count("F")
    assert found.found == [
        min(pair) for pair in zip(*(attack.distances.found for attack in threat.attacks), strict=True)
    ]
    assert "L2 distance · 40 rows of mnist10k:test" in done.out
    assert f"{MODEL}: median smallest perturbation {found.median:.3g} (L2, input units;" in done.out
    assert "robust accuracy" not in done.out
    page = (Path("out") / "report.html").read_text(encoding="utf-8")
    assert '<section id="distances">' in page
    assert '<section id="results">' not in page
    json.loads((Path("out") / "run.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def test_the_report_is_written_again_and_a_run_goes_on(command, words):
    assert command(*words, "--out", "out").code == 0
    before = (Path("out") / "report.html").read_bytes()
    assert "L2 distance · 40 rows" in command("report", "out").out
    assert (Path("out") / "report.html").read_bytes() == before
    assert command(*words, "--out", "out").code == 0
    assert (Path("out") / "report.html").read_bytes() == before


def test_a_radius_gives_both_tables(command, words):
    done = command(*words, "--eps", "0.5", "--out", "out")
    assert done.code == 0, done.err
    assert "L2 eps 0.5 · 40 rows" in done.out
    assert "L2 eps 0.5, distance · 40 rows" in done.out
    (threat,) = record().models[0].threats
    assert max(threat.distances.found) <= 0.5 * (1 + 1e-5)


def test_a_radius_sees_what_the_distances_say(command, folder):
    """Robust accuracy at eps and the share of rows whose distance is larger agree, up to the paths of the attack."""
    Path("ddn.yaml").write_text("attacks: [{name: ddn, steps: 60}]\n")
    words = ["evaluate", "zoo:mnist-standard", DATA, "--rows", "20", "--norm", "l2", "--config", "ddn.yaml"]
    assert command(*words, "--out", "free").code == 0
    assert command(*words, "--eps", "1.2", "--out", "bound").code == 0
    (free,), (bound,) = (record(name).models[0].threats for name in ("free", "bound"))
    within = sum(distance <= 1.2 for distance in free.distances.found)
    assert 3 < within < 17
    assert abs(within - len(bound.distances.found)) <= 1


def test_a_bisection_by_name(command, folder):
    words = ["evaluate", MODEL, DATA, "--rows", "30", "--attacks", "fgsm-bisect", "--eps", "0.3", "--out", "out"]
    done = command(*words)
    assert done.code == 0, done.err
    (attack,) = record().models[0].threats[0].attacks
    assert (attack.name, attack.distances.unsolved) == ("fgsm-bisect", attack.verdicts.count("H"))
    assert attack.distances.median < 0.1


def test_threats_of_a_file_may_have_no_radius(command, folder):
    text = f"models: {MODEL}\ndata: {DATA}\nrows: 20\nattacks: [{{name: ddn, steps: 20}}]\nout: out\n"
    Path("run.yaml").write_text(text + "threats: [{norm: l2}, {norm: l2, eps: 0.5}]\n")
    done = command("evaluate", "--config", "run.yaml")
    assert done.code == 0, done.err
    assert [threat.eps for threat in record().models[0].threats] == [None, 0.5]


def test_examples_without_a_radius(command, folder):
    words = ["attack", MODEL, DATA, "--attack", "ddn", "--norm", "l2", "--rows", "10", "--out", "out", "--png"]
    done = command(*words)
    assert done.code == 0, done.err
    about = json.loads((Path("out") / "examples.json").read_text(encoding="utf-8"))
    assert about["attack"]["settings"]["ball"] == {"norm": "l2", "eps": "inf"}
    assert about["png_fooled_inside"] == about["png_fooled"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--attacks", "fgsm,ddn,pgd"], r"--eps is missing: .* needed by fgsm, pgd, not by attacks .* such as ddn$"),
        (["--attacks", "ddn,pgd-bisect"], r"--eps is missing: .* needed by pgd-bisect, not"),
        (["--attacks", "ddn,pgdd"], "unknown attack 'pgdd'"),
        (["--norm", "l3"], "unknown norm 'l3'"),
        (["--norm", "linf"], "ball=Linf has a norm that this attack does not minimise; give it L2, .* --norm l2$"),
        (["--attacks", "perc-al"], "minimise; give it Perceptual, on the command line --norm ciede2000$"),
        (["--fail-under", "50"], "--fail-under 50 needs --eps: without a radius there is no one robust accuracy"),
    ],
)
def test_what_cannot_be_is_told(refused, words, more, said):
    line = refused(*words, *more)
    assert re.search(said, line), line


def saved(run, folder):
    folder.mkdir()
    (folder / "run.json").write_text(run.to_json(), encoding="utf-8")
    return folder


def test_compare_shows_medians_and_counts_rows_that_moved(command, tmp_path):
    run = make_reach()
    ddn = [0.5, 1.0, 1.5, 2.0, 2.25, 2.9, 3.6, 4.0, 4.5]  # two nearer, one farther, and one that was unsolved
    ball = reach({"ddn": ddn, "fmn": [0.6, 0.9, *[None] * 4, 3.6, 4.0, None]}, 9, 10)
    other = dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=[ball]), run.models[1]])
    ended = command("compare", saved(run, tmp_path / "a"), saved(other, tmp_path / "b"))
    assert ended.code == 0, ended.err
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["model", "ball", "attack", "first", "second", "change", "lost", "won"]
    assert lines[1] == ["mnist-pgd", "l2", "distance", "ddn", "2.5", "2.25", "-0.25", "3", "1"]
    assert lines[2] == ["mnist-pgd", "l2", "distance", "fmn", ">", "4", ">", "4", "–", "0", "0"]
