import json

import pytest
from typer.testing import CliRunner

from saddlepoint.cli.main import commands
from saddlepoint.detectors import load_detector
from saddlepoint.errors import DataError, SettingError, SpecError
from saddlepoint.models import load_model


def run(*words):
    return CliRunner().invoke(commands(), ["detect", *words], catch_exceptions=False)


def test_a_detector_is_fitted_measured_and_kept(tmp_path):
    words = ["zoo:mnist-standard", "mnist10k:test", "--attacks", "fgsm", "--eps", "0.3", "--rows", "20"]
    said = run("feature-squeezing", *words, "--calibrate", "50", "--out", str(tmp_path), "--threads", "1")
    assert said.exit_code == 0
    assert "fgsm adaptive" in said.stdout
    found = json.loads((tmp_path / "detection.json").read_text())
    assert (found["rows"], found["calibrated_on"], found["fpr"], found["eps"]) == (20, 50, 0.05, 0.3)
    assert [each["adaptive"] for each in found["attacks"]] == [False, True, True]
    assert [each["below"] for each in found["attacks"]][:2] == [None, None]
    assert 0 < found["attacks"][2]["below"] < found["threshold"]
    page = (tmp_path / "report.html").read_text()
    assert "fgsm adaptive, below" in page
    assert str(tmp_path) not in page
    assert found["attacks"][0]["successful"]["area"]["value"] > 0.8
    assert [each["name"] for each in found["settings"]["squeezers"]] == ["bit-depth", "median"]
    loaded = load_detector(tmp_path / "detector.safetensors", load_model("zoo:mnist-standard"))
    assert loaded.threshold == found["threshold"]


def test_squeezers_can_be_named(tmp_path):
    words = ["zoo:mnist-standard", "mnist10k:test", "--attacks", "fgsm", "--eps", "0.1", "--rows", "5", "--no-adaptive"]
    run("feature-squeezing", *words, "--squeezers", "bit-depth:2 | median:3", "--out", str(tmp_path), "--threads", "1")
    found = json.loads((tmp_path / "detection.json").read_text())
    assert found["settings"]["squeezers"][0]["depth"] == 2
    assert len(found["attacks"]) == 1
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["k-densty", "--eps", "0.1"], SpecError, r"unknown detector 'k-densty'; did you mean 'k-density'"),
        (["confidence"], SettingError, r"--eps is missing"),
        (["confidence", "--eps", "0.1,0.2"], SettingError, r"gives several radii"),
        (["confidence", "--eps", "0.1", "--rows", "1900"], DataError, r"together at most 2000.*no row may serve both"),
    ],
)
def test_bad_input(words, error, message, tmp_path):
    with pytest.raises(error, match=message):
        run(words[0], "zoo:mnist-standard", "mnist10k:test", *words[1:], "--out", str(tmp_path))
    assert not list(tmp_path.iterdir())
