"""``report``, ``compare`` and ``--fail-under``."""

import dataclasses

import pytest
from report_runs import make_run

from saddlepoint.records import RunRecord


def saved(record, folder):
    folder.mkdir()
    (folder / "run.json").write_text(record.to_json(), encoding="utf-8")
    return folder


def with_verdicts(record, verdicts):
    """The run with other verdicts, and the counts that follow, for the worst case of its first threat."""
    model = record.models[0]
    threat = model.threats[0]
    worst = dataclasses.replace(threat.worst, count=verdicts.count("H"))
    threat = dataclasses.replace(threat, verdicts=verdicts, worst=worst)
    model = dataclasses.replace(model, threats=[threat, *model.threats[1:]])
    return dataclasses.replace(record, models=[model, *record.models[1:]])


def test_report_is_written_again_from_the_record(command, tmp_path):
    folder = saved(make_run(), tmp_path / "a")
    ended = command("report", folder)
    assert ended.code == 0
    assert "worst case" in ended.out
    assert "What to cite" in (folder / "report.html").read_text(encoding="utf-8")
    first = (folder / "report.html").read_bytes()
    assert command("report", folder / "run.json").code == 0
    assert (folder / "report.html").read_bytes() == first


@pytest.mark.parametrize("words", [("report",), ("compare",)])
def test_a_folder_without_a_run_is_told(command, tmp_path, words):
    ended = command(*words, *[tmp_path] * (2 if words == ("compare",) else 1))
    assert ended.code == 2
    assert "no run.json can be read" in ended.err
    assert "give the folder of a finished run" in ended.err


def test_compare_counts_the_rows_that_changed(command, tmp_path):
    run = make_run()
    verdicts = run.models[0].threats[0].verdicts
    held = [i for i, letter in enumerate(verdicts) if letter == "H"]
    fooled = [i for i, letter in enumerate(verdicts) if letter == "F"]
    changed = list(verdicts)
    for i in held[:3]:
        changed[i] = "F"
    changed[fooled[0]] = "H"
    other = with_verdicts(run, "".join(changed))
    ended = command("compare", saved(run, tmp_path / "a"), saved(other, tmp_path / "b"))
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines() if "worst case" in line]
    difference = 100 * (other.models[0].threats[0].worst.value - run.models[0].threats[0].worst.value)
    assert rows[0][-3:] == [f"{difference:+.1f}", "3", "1"]
    assert all(row[-3:] == ["+0.0", "0", "0"] for row in rows[1:])


def test_compare_says_when_the_rows_differ(command, tmp_path):
    run = make_run()
    other = dataclasses.replace(run, data=dataclasses.replace(run.data, fingerprint="0" * 64))
    ended = command("compare", saved(run, tmp_path / "a"), saved(other, tmp_path / "b"))
    assert "different rows" in ended.out
    assert "lost" not in ended.out


def test_compare_needs_something_in_common(command, tmp_path):
    run = make_run()
    other = dataclasses.replace(run, models=[dataclasses.replace(m, name=f"other {m.name}") for m in run.models])
    ended = command("compare", saved(run, tmp_path / "a"), saved(other, tmp_path / "b"))
    assert ended.code == 2
    assert "nothing can be compared" in ended.err


@pytest.mark.parametrize(("bar", "code"), [("0", 0), ("100", 1)])
def test_fail_under_ends_with_one(command, tmp_path, bar, code):
    out = tmp_path / "run"
    words = ("evaluate", "zoo:mnist-pgd", "mnist10k:test", "--attacks", "fgsm", "--eps", "0.3", "--rows", "40")
    ended = command(*words, "--out", out, "--fail-under", bar)
    assert ended.code == code
    worst = RunRecord.from_json((out / "run.json").read_text()).models[0].threats[0].worst
    assert 0 < worst.count < 40  # so that both bars mean something


def test_fail_under_is_a_percentage(command):
    ended = command("evaluate", "zoo:mnist-pgd", "mnist10k:test", "--eps", "0.3", "--fail-under", "101")
    assert ended.code == 2
    assert "--fail-under 101 must lie in [0, 100], in percent" in ended.err
