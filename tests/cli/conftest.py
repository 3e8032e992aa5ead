"""The command line in this process: what it prints, and how it ends."""

import functools
import sys
from types import SimpleNamespace

import pytest

from saddlepoint.cli import planning
from saddlepoint.cli.main import main
from saddlepoint.data import load_data
from saddlepoint.evaluation.diagnostics import battery

_load_data = functools.cache(load_data)  # the digits are unpacked once, not in every test


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``saddlepoint`` with these words: its exit code, and what it wrote to both streams."""
    monkeypatch.setenv("COLUMNS", "400")  # no line of a table is broken
    monkeypatch.setenv("NO_COLOR", "1")
    for name, value in {"QUERIES": 20, "MORE": 5, "STEPS": 10, "DRAWS": 5, "RESTARTS": 1, "RUNG_STEPS": 5}.items():
        monkeypatch.setattr(battery, name, value)  # the diagnosis of a run is tested elsewhere

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["saddlepoint", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return SimpleNamespace(code=0 if code is None else code, out=out, err=err)

    return run


@pytest.fixture
def refused(command):
    """Run ``saddlepoint`` with words that it must refuse: the one line that it says."""

    def run(*words):
        done = command(*words)
        assert (done.code, done.out) == (2, "")
        assert "Traceback" not in done.err
        (line,) = done.err.splitlines()
        assert line.startswith("error ")
        return line.removeprefix("error ")

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a model of the user's own, which is forgotten afterwards."""
    (tmp_path / "ownnets.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "def net():\n"
        "    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        "    with torch.no_grad():\n"
        "        for parameter in module.parameters():\n"
        "            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))\n"
        "    return module\n\n"
        "def five():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planning, "load_data", _load_data)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
