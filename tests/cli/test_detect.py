import errno
import json

import numpy
import pytest
from typer.testing import CliRunner

from saddlepoint.cli import detect as module
from saddlepoint.cli.main import commands
from saddlepoint.data import load_data
from saddlepoint.detectors import load_detector
from saddlepoint.errors import DataError, ModelError, RecordError, SettingError, SpecError
from saddlepoint.evaluation.detection import Area, Attacked, Detection, Separation
from saddlepoint.models import load_model
from saddlepoint.records import wilson


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


def test_no_figure_is_cut_at_80_columns(monkeypatch, capsys):
    """Figures of the widest kind, and the longest name that an attack has here."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    share, area = wilson(10_000, 10_000), Area(value=0.964, low=0.938, high=0.985)
    told = Separation(rows=10_000, area=area, tpr=[share, share], flagged=share)
    ways = ((False, None), (True, None), (True, 1.234e-10))
    attacks = [
        Attacked(
            attack="perc-cw", adaptive=adaptive, below=below, successful=told, failed=told, confident=told,
            undetected=share, scores=[], success=[],
        )
        for adaptive, below in ways
    ]  # fmt: skip
    found = Detection(
        detector="lid", settings={}, threshold=0.5, rows=20_000, accuracy=share, rejected=share, accepted=share,
        robust=share, attacks=attacks, scores=[],
    )  # fmt: skip
    module._tell(found, 0.05)
    said = capsys.readouterr().out
    assert "…" not in said
    first = "10000/20000 100.0% 0.964 0.938-0.985"
    second = "100.0% 100.0% 0.964 0.964"
    lines = [" ".join(line.split()) for line in said.splitlines()]
    for name in ("perc-cw", "perc-cw adaptive", "perc-cw adaptive, below 1.23e-10"):
        assert f"{name} {first}" in lines
        assert f"{name} {second}" in lines
    monkeypatch.setenv("COLUMNS", "60")
    module._tell(found, 0.05)
    assert capsys.readouterr().out.count("0.938-0.985") == 3


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


def test_rows_that_do_not_fit_the_model_are_refused(tmp_path, folder):
    words = ["--eps", "0.3", "--rows", "20", "--calibrate", "100", "--attacks", "fgsm", "--out", str(tmp_path / "out")]
    with pytest.raises(ModelError, match=r"failed on inputs of shape \(1, 3, 32, 32\)"):
        run("confidence", "zoo:mnist-standard", "photopatch10:test", *words)
    with pytest.raises(DataError, match=r"run up to class 9, py:ownnets:five has classes 0 to 4; give rows of these"):
        run("confidence", "py:ownnets:five", "mnist10k:test", *words)
    with pytest.raises(ModelError, match=r"failed on inputs of shape \(1, 3, 32, 32\)"):
        run("lid", "zoo:mnist-standard", "mnist10k:test", "--fit", "photopatch10:train", *words)
    assert not (tmp_path / "out").exists()


SHORT = ["--eps", "0.3", "--rows", "5", "--calibrate", "20", "--attacks", "fgsm", "--no-adaptive", "--threads", "1"]


@pytest.fixture
def digits(folder):
    """Files of digits: with one pair of arrays, and with two splits."""
    first, second = (load_data(f"mnist10k:{split}")[:40] for split in ("train", "test"))
    numpy.savez("ok.npz", x=second.x.numpy(), y=second.y.numpy())
    arrays = {"x_train": first.x, "y_train": first.y, "x_test": second.x, "y_test": second.y}
    numpy.savez("splits.npz", **{name: tensor.numpy() for name, tensor in arrays.items()})
    return folder


def test_a_detector_that_fits_nothing_needs_no_rows_for_it(digits):
    run("confidence", "zoo:mnist-standard", "npz:ok.npz", *SHORT, "--out", "out")
    assert json.loads((digits / "out" / "detection.json").read_text())["fitted_to"] is None
    assert "<dt>fitted to</dt><dd>nothing</dd>" in (digits / "out" / "report.html").read_text()


def test_the_split_to_fit_to_is_of_the_same_file(digits):
    run("k-density", "zoo:mnist-standard", "npz:splits.npz:test", *SHORT, "--out", "out")
    assert json.loads((digits / "out" / "detection.json").read_text())["fitted_to"] == "npz:splits.npz:train"


def test_without_rows_or_squeezers_it_names_the_option(digits):
    words = ["zoo:mnist-standard", "npz:ok.npz", *SHORT, "--out", "out"]
    with pytest.raises(DataError, match=r"must hold x_train, y_train .*k-density needs rows .* name them with --fit"):
        run("k-density", *words)
    with pytest.raises(SpecError, match=r"there are no squeezers for 'npz'; give --squeezers, one of mnist, "):
        run("feature-squeezing", *words, "--fit", "npz:ok.npz")
    with pytest.raises(SpecError, match=r"unknown data set 'mnist10'; did you mean 'mnist'"):
        run("feature-squeezing", *words, "--fit", "npz:ok.npz", "--squeezers", "mnist10")
    assert not (digits / "out").exists()


def test_what_is_there_is_not_written_over(digits):
    words = ["zoo:mnist-standard", "npz:ok.npz", *SHORT, "--out", "out"]
    run("confidence", *words)
    before = {path: path.read_bytes() for path in (digits / "out").iterdir()}
    with pytest.raises(RecordError, match=r"'detection.json' is there already; give another --out, or delete it"):
        run("energy", *words)
    assert {path: path.read_bytes() for path in (digits / "out").iterdir()} == before


def test_the_folder_is_tried_before_the_work(digits, monkeypatch):
    (digits / "file").write_text("")
    monkeypatch.setattr(module, "detection", None)
    with pytest.raises(RecordError, match=r"cannot write 'out' \(Not a directory\); choose another --out"):
        run("confidence", "zoo:mnist-standard", "npz:ok.npz", *SHORT, "--out", "file/out")


def test_figures_are_printed_before_they_are_written(command, digits, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", full)
    done = command("detect", "confidence", "zoo:mnist-standard", "npz:ok.npz", *SHORT, "--out", "out")
    assert done.code == 2
    assert "right and not refused" in done.out
    assert "cannot write 'out' (No space left on device); choose another --out" in done.err
