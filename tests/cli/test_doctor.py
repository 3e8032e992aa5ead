import json

import pytest
from torch import nn

from saddlepoint.classifier import Classifier
from saddlepoint.cli import doctor as module
from saddlepoint.models import load_model

MODEL, DATA = "zoo:mnist-standard", "mnist10k:test"


@pytest.fixture
def faulty(monkeypatch):
    """The same digits, whose model now returns probabilities, or is dead."""

    def plant(layer):
        def load(*given, **settings):
            return Classifier(nn.Sequential(load_model(*given, **settings).module, layer).eval())

        monkeypatch.setattr(module, "load_model", load)

    return plant


class Constant(nn.Module):
    def forward(self, z):
        return 0 * z


def test_a_healthy_model_is_told_what_was_looked_at(command, folder):
    done = command("doctor", MODEL, DATA, "--rows", "100")
    assert done.code == 0, done.err
    assert done.out.startswith("healthy: 16 checks on 100 rows of mnist10k:test in ")
    assert "16 bits" in done.out
    assert done.err == ""


def test_a_warning_is_shown_with_evidence_consequence_and_remedy(command, folder, faulty):
    faulty(nn.Softmax(1))
    done = command("doctor", MODEL, DATA, "--rows", "100")
    assert done.code == 0
    title, evidence, consequence, remedy, end = done.out.splitlines()
    assert title == f"warning: The outputs look like probabilities ({MODEL})"
    assert "all outputs on 100 inputs" in evidence
    assert "hides gradients" in consequence
    assert remedy.strip().startswith("→ Return logits")
    assert end.startswith("1 finding: 16 checks")


def test_an_error_ends_with_one(command, folder, faulty):
    faulty(Constant())
    done = command("doctor", MODEL, DATA)
    assert done.code == 1
    assert "error: The logits do not depend on the input" in done.out


def test_json_is_all_that_is_printed(command, folder, faulty):
    assert json.loads(command("doctor", MODEL, DATA, "--json", "--rows", "64").out)["findings"] == []
    faulty(Constant())
    done = command("doctor", MODEL, DATA, "--json", "--rows", "64")
    decoded = json.loads(done.out)
    assert done.code == 1
    assert (decoded["model"], decoded["data"], decoded["rows"]) == (MODEL, DATA, 64)
    assert decoded["findings"][0]["level"] == "error"


def test_a_file_gives_its_options(command, folder):
    (folder / "look.yaml").write_text(f"model: {MODEL}\ndata: {DATA}\nrows: 70\njson: yes\n", encoding="utf-8")
    done = command("doctor", "--config", "look.yaml")
    assert (done.code, json.loads(done.out)["rows"]) == (0, 70), done.err


def test_bad_words_are_refused_in_one_line(refused, folder):
    assert "rows=0 must be an integer >= 1" in refused("doctor", MODEL, DATA, "--rows", "0")
    assert "--threads 0" in refused("doctor", MODEL, DATA, "--threads", "0")
