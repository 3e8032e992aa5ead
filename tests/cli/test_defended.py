"""Models behind filters, as words and in files, in every command that takes a model."""

import json

import pytest
from filters import Jitter, Levels

from saddlepoint.defenses.transforms import TRANSFORMS

SPEC, DATA = "zoo:mnist-standard | levels:2", "mnist10k:test"
FEW = ("--rows", "12", "--eps", "0.1")


@pytest.fixture(autouse=True)
def known(monkeypatch):
    for cls in (Levels, Jitter):
        monkeypatch.setitem(TRANSFORMS, cls.name, cls)


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_an_evaluation_shows_who_knows_of_the_filter(command, folder):
    done = command("evaluate", SPEC, DATA, *FEW, "--attacks", "pgd", "--queries", "30", "--no-diagnose", "--out", "a")
    assert done.code == 0, done.err
    model = record(folder / "a")["models"][0]
    assert (model["name"], model["transforms"]) == (SPEC, ["levels count=2"])
    assert [attack["role"] for attack in model["threats"][0]["attacks"]] == ["oblivious", "adaptive", "gradient-free"]
    assert model["threats"][0]["attacks"][2]["settings"]["steps"] == 30
    for word in (f"{SPEC} · Linf eps 0.1 · who knows", "pgd from the bare model", "gradient-free"):
        assert word in done.out


def test_a_file_says_the_same(command, folder):
    (folder / "run.yaml").write_text(
        "models:\n"
        "  - zoo:mnist-standard | jitter:0.2 | levels:count=2\n"
        "  - name: rounded\n"
        "    spec: zoo:mnist-standard | levels:4\n"
        "data: mnist10k:test\nrows: 12\neps: 0.1\nattacks: pgd\nqueries: 20\ndraws: 3\ndiagnose: no\nout: b\n"
    )
    done = command("evaluate", "--config", "run.yaml")
    assert done.code == 0, done.err
    first, second = record(folder / "b")["models"]
    assert first["transforms"] == ["jitter scale=0.2", "levels count=2"]
    assert [attack["name"] for attack in first["threats"][0]["attacks"]] == [
        "pgd from the bare model",
        "pgd-eot3",
        "square-eot3",
    ]
    assert second["name"] == "rounded"
    assert [attack["name"] for attack in second["threats"][0]["attacks"]] == [
        "pgd from the bare model",
        "pgd",
        "square",
    ]


def test_a_dry_run_names_every_attack(command, folder):
    done = command("evaluate", SPEC, DATA, *FEW, "--attacks", "pgd", "--no-diagnose", "--dry-run")
    assert all(name in done.out for name in ("pgd from the bare model", "  pgd  ", "  square  "))


def test_examples_are_of_the_one_attack(command, folder):
    done = command("attack", SPEC, DATA, *FEW, "--out", "c")
    assert done.code == 0, done.err
    assert json.loads((folder / "c" / "examples.json").read_text())["attack"]["name"] == "pgd"


def test_the_doctor_and_the_diagnosis_take_them(command, folder):
    assert command("doctor", SPEC, DATA, "--rows", "64").code == 0
    done = command("diagnose", SPEC, DATA, "--rows", "10", "--eps", "0.1")
    assert done.code in (0, 1)
    assert done.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "zoo:mnist-standard | level:2", DATA, *FEW), "unknown transform 'level'; did you mean 'levels'?"),
        (("evaluate", "zoo:mnist-standard | levels:x", DATA, *FEW), "count='x' must be an integer"),
        (("evaluate", SPEC, DATA, *FEW, "--draws", "0"), "draws=0 must be an integer >= 1"),
        (("doctor", "zoo:mnist-standard | level:2", DATA), "unknown transform 'level'"),
        (("attack", "zoo:mnist-standard | level:2", DATA, *FEW, "--out", "d"), "unknown transform 'level'"),
    ],
)
def test_bad_words_are_told_in_one_line(refused, folder, words, said):
    assert said in refused(*words)
