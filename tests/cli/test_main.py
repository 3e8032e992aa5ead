import subprocess
import sys

import pytest

import saddlepoint
from saddlepoint.cli import main as module


def test_without_words_help_is_shown(command):
    done = command()
    assert done.code == 2
    for name in ("evaluate", "train", "list"):
        assert name in done.out + done.err


def test_the_version_is_told(command):
    done = command("--version")
    assert (done.code, done.out, done.err) == (0, f"saddlepoint {saddlepoint.__version__}\n", "")
    assert "--version" in command("--help").out


def test_help_names_every_option(command):
    done = command("evaluate", "--help")
    assert done.code == 0
    for option in ("--attacks", "--norm", "--eps", "--rows", "--out", "--target", "--weights", "--device", "--seed"):
        assert option in done.out


@pytest.mark.parametrize("package", ["typer", "rich", "jinja2", "yaml"])
def test_without_its_packages_the_extra_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == "saddlepoint: the command line needs: pip install 'saddlepoint[cli]'"


def test_other_errors_are_not_hidden(command, monkeypatch):
    def broken(spec):
        raise KeyError("a defect of ours")

    monkeypatch.setattr("saddlepoint.cli.planning.load_data", broken)
    with pytest.raises(KeyError, match="a defect of ours"):
        command("evaluate", "zoo:any", "mnist10k:test", "--eps", "0.1")


def test_it_runs_as_a_program(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    words = ["evaluate", "py:mine:net", "mnist10k:test", "--rows", "5", "--eps", "0.1", "--attacks", "fgsm"]
    done = subprocess.run(
        [sys.executable, "-m", "saddlepoint", *words, "--threads", "1", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "worst case" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    assert done.stderr == ""
