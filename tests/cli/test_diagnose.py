import errno
import json

import pytest
from torch import nn

from saddlepoint.classifier import Classifier
from saddlepoint.cli import diagnose as module
from saddlepoint.models import load_model
from saddlepoint.testing.models import MaskedModel

WORDS = ["diagnose", "zoo:mnist-standard", "mnist10k:test", "--eps", "0.3", "--rows", "24"]


@pytest.fixture
def masked(monkeypatch):
    monkeypatch.setattr(
        module, "load_model", lambda *given, **settings: Classifier(MaskedModel(net(*given, **settings)))
    )


def net(*given, **settings) -> nn.Module:
    return load_model(*given, **settings).module


def test_a_sound_number_is_trusted(command, folder):
    done = command(*WORDS)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("trust (24 rows, ")
    assert "the whole box is not enough" in done.out


def test_a_masked_one_ends_with_one_and_says_what_to_try(command, folder, masked):
    done = command(*WORDS, "--out", "found.json")
    assert done.code == 1
    assert done.out.splitlines()[-1].startswith("do not cite (masked gradients); ")
    assert "→ Attack without gradients" in done.out
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert (found["model"], found["data"], found["norm"], found["eps"]) == (
        "zoo:mnist-standard", "mnist10k:test", "linf", 0.3,
    )  # fmt: skip
    assert (found["verdict"], found["causes"], found["rows"]) == ("do not cite", ["masked gradients"], 24)


def test_a_terminal_shows_what_is_running_on_the_other_stream(command, folder, monkeypatch):
    assert command(*WORDS).err == ""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = command(*WORDS)
    assert "zoo:mnist-standard  diagnosis  linf 0.3" in done.err
    assert "━" in done.err
    assert "  diagnosis  " not in done.out


def test_a_twin_adds_its_probe(command, folder):
    assert "transfer beats gradients" in command(*WORDS, "--twin", "zoo:mnist-pgd").out


def test_a_file_gives_its_options(command, folder):
    (folder / "look.yaml").write_text(
        "model: zoo:mnist-standard\ndata: mnist10k:test\neps: 0.3\nrows: 21\n", encoding="utf-8"
    )
    done = command("diagnose", "--config", "look.yaml")
    assert (done.code, "21 rows" in done.out) == (0, True), done.err


def test_bad_words_are_refused_in_one_line(refused, folder):
    assert "--eps is missing" in refused(*WORDS[:3])
    assert "rows=0 must be an integer >= 1" in refused(*WORDS[:5], "--rows", "0")
    assert "cannot be diagnosed; give Linf, L2 or L1" in refused(*WORDS[:3], "--eps", "3", "--norm", "l0")
    assert "must lie in [0, 1]" in refused(*WORDS[:3], "--eps", "3")
    assert "cannot be diagnosed" in refused(*WORDS[:3], "--eps", "0")
    assert "choose another --out" in refused(*WORDS, "--out", "missing/found.json")


def test_evaluate_diagnoses_unless_told_not_to(command, folder):
    words = ["evaluate", "py:ownnets:net", "mnist10k:test", "--rows", "30", "--attacks", "fgsm", "--eps", "0.1"]
    assert "diagnosis of py:ownnets:net, Linf eps 0.1: " in command(*words).out
    assert "diagnosis" not in command(*words, "--no-diagnose").out
    assert "diagnosis" in command(*words, "--dry-run").out


def test_a_bar_is_not_passed_by_a_number_that_is_not_to_be_cited(command, folder, monkeypatch):
    from saddlepoint.cli import planning

    monkeypatch.setattr(
        planning,
        "load_model",
        lambda *given, **settings: Classifier(MaskedModel(net("zoo:mnist-standard"), shattered=True)),
    )
    words = ["evaluate", "zoo:mnist-standard", "mnist10k:test", "--rows", "60", "--attacks", "fgsm", "--eps", "0.3"]
    assert command(*words, "--fail-under", "10").code == 1
    assert command(*words, "--fail-under", "10", "--no-diagnose").code == 0


def test_the_place_of_the_file_is_tried_before_the_work(refused, folder, monkeypatch):
    monkeypatch.setattr(module, "examine", None)
    line = refused(*WORDS, "--out", "none/found.json")
    assert line == "cannot write 'found.json' (No such file or directory); choose another --out"
    assert "cannot write 'ownnets.py' (" in refused(*WORDS, "--out", "ownnets.py/ownnets.py")
    (folder / "there").mkdir()
    assert "cannot write 'there' (Is a directory)" in refused(*WORDS, "--out", "there")


def test_a_verdict_is_printed_before_it_is_written(command, folder, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", full)
    done = command(*WORDS, "--out", "found.json")
    assert done.code == 2
    assert done.out.splitlines()[-1].startswith("trust (24 rows, ")
    assert "cannot write 'found.json' (No space left on device)" in done.err
