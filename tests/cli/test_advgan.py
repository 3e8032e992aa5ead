"""``saddlepoint advgan``: from a fit to a file that evaluate takes."""

import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

from saddlepoint.attacks import AdvGANAttack
from saddlepoint.cli.main import commands
from saddlepoint.errors import SettingError, SpecError

FIT = ["advgan", "zoo:mnist-lenet", "mnist10k:test", "--rows", "16", "--epochs", "1"]


def call(*words):
    return CliRunner().invoke(commands(), list(map(str, words)), catch_exceptions=False)


@pytest.mark.parametrize("more", [[], ["--target", "3"], ["--target", "every", "--black-box", "1"]])
def test_fits_writes_and_is_used(tmp_path, more):
    out = tmp_path / "g.safetensors"
    told = call(*FIT, "--eps", "0.3", "--out", out, *more).output
    assert "passes: 32 forwards, 0 backwards" in told if "--black-box" in more else "16 forwards, 16 back" in told
    assert AdvGANAttack.load(out).shape == (1, 28, 28)
    assert [path.name for path in tmp_path.iterdir()] == ["g.safetensors"]  # no checkpoint is left
    used = call(
        "evaluate", "zoo:mnist-lenet", "mnist10k:test", "--rows", 8, "--attacks", f"advgan:{out}", "--eps", "0.3",
        "--no-diagnose",
    )  # fmt: skip
    assert used.exit_code == 0
    assert "advgan" in used.output


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], SpecError, "--eps is missing"),
        (["--eps", "0.3", "--out", "g.bin"], SettingError, "must end in .safetensors"),
        (["--eps", "0.3", "--target", "all"], SettingError, "must be 'none', 'every' or a class"),
        (["--eps", "0.3", "--black-box", "1", "--copy", "LaNet"], SpecError, "unknown architecture 'LaNet'"),
    ],
)
def test_bad_words_end_before_a_fit(tmp_path, words, error, message):
    out = [] if "--out" in words else ["--out", tmp_path / "g.safetensors"]
    with pytest.raises(error, match=message):
        call(*FIT, *out, *words)
