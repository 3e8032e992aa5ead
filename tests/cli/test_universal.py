"""``saddlepoint universal``: a file that evaluate takes."""

import errno
import json

import pytest

from saddlepoint import Linf, Noise
from saddlepoint.attacks import Universal, UniversalPerturbation
from saddlepoint.attacks.universal import Ascent
from saddlepoint.cli import common
from saddlepoint.data import load_data
from saddlepoint.models import load_model

MODEL, DATA = "zoo:mnist-standard", "mnist10k:test"
FIT = ("universal", MODEL, DATA, "--eps", "0.2", "--rule", "ascent", "--rows", 60, "--held-out", 40, "--epochs", 2)


def test_it_fits_tells_the_rates_and_evaluate_takes_the_file(command, folder):
    done = command(*FIT, "--out", "v.safetensors", "--seed", 4)
    assert done.code == 0, done.err
    found, data, model = Universal.load("v.safetensors"), load_data(DATA), load_model(MODEL)
    attack = UniversalPerturbation(ball=Linf(0.2), rule=Ascent(), epochs=2)
    same = attack.fit(model, data.x[:60], held_out=data.x[60:100], noise=Noise(4, data.rows[:60]))
    assert found.v.equal(same.v)
    assert found.fitted == same.fitted
    assert f"{found.fitted.rate:.1%}  of 60 rows that it was fitted to" in done.out
    assert f"{found.fitted.held_out_rate:.1%}  of 40 others" in done.out
    assert sorted(path.name for path in folder.iterdir()) == ["ownnets.py", "v.safetensors"]
    words = ("--attacks", "universal:v.safetensors,fgsm", "--eps", "0.2", "--rows", 20, "--no-diagnose", "--out", "run")
    assert command("evaluate", MODEL, DATA, *words).code == 0
    record = json.loads((folder / "run" / "run.json").read_text())
    first = record["models"][0]["threats"][0]["attacks"][0]
    assert (first["name"], first["settings"]["fitted"]["rule"]) == ("universal", "ascent")
    done = command(
        "attack", MODEL, DATA, "--attack", "universal:v.safetensors", "--eps", 0.2, "--rows", 5, "--out", "e"
    )
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "v.npz"), "--out 'v.npz' must end in .safetensors"),
        (("--out", "none/v.safetensors"), "in a folder that exists"),
        (("--rule", "ascend"), "unknown rule 'ascend'; did you mean 'ascent'?"),
        (("--norm", "l1"), "must be Linf or L2"),
        (("--norm", "l7"), "unknown norm 'l7'"),
        (("--eps", "big"), "eps='big' must be a number"),
        (("--eps", "10"), "did you mean 0.03922, that is 10/255?"),
        (("--rate", "80"), "rate=80.0 must lie in (0, 1]"),
        (("--rows", "0"), "--rows 0 must lie in [1, "),
        (("--held-out", "-1"), "--held-out -1 must be >= 0"),
        (("--target", "10"), "target=10 is no class of the model"),
    ],
)
def test_bad_words_end_in_one_line(refused, folder, words, message):
    assert message in refused(*FIT, "--out", "v.safetensors", *words)


def test_a_missing_radius_or_another_one_is_refused(refused, folder):
    assert "--eps is missing" in refused("universal", MODEL, DATA, "--out", "v.safetensors")
    message = refused("evaluate", MODEL, DATA, "--attacks", "universal:none.safetensors", "--eps", "0.2")
    assert "'none.safetensors' holds no universal perturbation" in message


def test_options_may_stand_in_a_file(command, folder):
    (folder / "fit.yaml").write_text("eps: 0.1\nrule: ascent\nrows: 30\nepochs: 1\nout: w.safetensors\n")
    done = command("universal", MODEL, DATA, "--config", "fit.yaml", "--held-out", 10)
    assert done.code == 0, done.err
    assert Universal.load("w.safetensors").ball == Linf(0.1)


def test_a_model_of_fewer_classes_is_refused(refused, folder):
    line = refused("universal", "py:ownnets:five", DATA, "--eps", "0.2", "--rows", 60, "--out", "v.safetensors")
    assert "the labels of mnist10k:test run up to class 9, py:ownnets:five has classes 0 to 4; give rows of" in line


@pytest.mark.parametrize("fit", ["universal", "advgan"])
def test_what_is_there_is_not_written_over(refused, folder, fit):
    path = folder / "net.safetensors"
    path.write_bytes(b"weights")
    line = refused(fit, MODEL, DATA, "--eps", "0.2", "--rows", 8, "--epochs", 1, "--out", "net.safetensors")
    assert line == "'net.safetensors' is there already; give another --out, or delete it to make it again"
    assert path.read_bytes() == b"weights"


@pytest.mark.parametrize("fit", ["universal", "advgan"])
def test_the_place_is_tried_before_the_fit(refused, folder, monkeypatch, fit):
    def no(**settings):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(common, "NamedTemporaryFile", no)  # root may write anywhere
    line = refused(fit, MODEL, DATA, "--eps", "0.2", "--rows", 8, "--epochs", 1, "--out", "v.safetensors")
    assert line == "cannot write 'v.safetensors' (Permission denied); choose another --out"
