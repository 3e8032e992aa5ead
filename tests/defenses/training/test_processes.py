"""Two processes give the training of one; a process that is killed goes on to the same bits."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import train_script
from safetensors.torch import load_file
from torch import nn

from saddlepoint.defenses.training.processes import Alone, processes, started
from saddlepoint.errors import MissingExtraError, SettingError
from saddlepoint.training_record import TrainingRecord

SCRIPT = str(Path(train_script.__file__))
SOURCE = str(Path(__file__).parents[3] / "src")
needs_accelerate = pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="needs accelerate")


def start(*words, count=1, **options):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
    environment = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        [sys.executable, *launcher, SCRIPT, *map(str, words)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def read(path):
    told = json.loads(path.with_suffix(".json").read_text())
    return load_file(path), TrainingRecord.from_json(told["record"]), told["steps"]


@needs_accelerate
@pytest.mark.slow
def test_two_processes_give_the_same_training_as_one(tmp_path):
    """Losses of 52 steps and the weights after them, in double precision: adversarial, augmented, clipped, averaged."""
    for count in (1, 2):
        finish(start(tmp_path / f"{count}.safetensors", count=count))
    (one, told, steps), (two, other, _) = (read(tmp_path / f"{count}.safetensors") for count in (1, 2))
    assert steps == list(range(1, 53))
    for first, second in zip(told.epochs, other.epochs, strict=True):
        assert second.loss == pytest.approx(first.loss, abs=1e-6)
        assert (second.clean, second.pgd) == (first.clean, first.pgd)
    assert told.epochs[0].loss != pytest.approx(told.epochs[-1].loss, abs=1e-3)
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=1e-6)
    assert (other.forwards, other.backwards, other.validation) == (told.forwards, told.backwards, told.validation)
    assert (told.processes, other.processes) == (1, 2)
    assert other.kept == told.kept


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=needs_accelerate)])
def test_killed_in_epoch_two_it_ends_with_the_same_bits(tmp_path, count):
    finish(start(tmp_path / "whole.safetensors", tmp_path / "whole.checkpoint", count=count))
    path = tmp_path / "part.checkpoint"
    process, running = start(tmp_path / "part.safetensors", path, count=count), set()
    for line in process.stdout:
        done, own = map(int, line.split())
        running.add(own)
        if done >= 6 and len(running) == count:  # the second batch of the second epoch
            break
    for own in {process.pid, *running}:  # the launcher, and what it started
        os.kill(own, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "part.safetensors").exists()
    finish(start(tmp_path / "part.safetensors", path, count=count))
    (whole, told, _), (part, other, steps) = (read(tmp_path / f"{name}.safetensors") for name in ("whole", "part"))
    assert 1 < steps[0] <= 12  # it did not begin again
    assert all(torch.equal(tensor, part[name]) for name, tensor in whole.items())
    assert other == told
    assert other.kept > 0


def test_without_a_launcher_there_is_one_process(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert started() == (0, 1)
    assert isinstance(processes(torch.device("cpu")), Alone)
    rows = torch.arange(5)
    assert Alone().share(rows) is rows


def test_many_processes_need_accelerate(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'accelerate'; .*saddlepoint\[train\]"):
        processes(torch.device("cpu"))


def test_an_environment_that_makes_no_sense_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(SettingError, match="WORLD_SIZE='two' in the environment must be integers; start with torchrun"):
        started()


def test_training_alone_imports_no_accelerate():
    script = (
        "import sys, torch; from saddlepoint.defenses.training import *\n"
        "fit(torch.nn.Linear(3, 2), torch.rand(4, 3), torch.zeros(4).long(), Standard(), Schedule(epochs=1))\n"
        "print([name for name in sys.modules if name.startswith('accelerate')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_bfloat16_is_autocast_while_weights_stay(make_net, batch):
    from saddlepoint.defenses.training import Schedule, Standard, fit

    kinds = []

    class Spy(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            found = self.inner(x)
            kinds.append(found.dtype)
            return found

    net = Spy(make_net())
    told = fit(net, *batch, Standard(), Schedule(epochs=1, batch_size=30, precision="bfloat16"))
    assert kinds == [torch.float32] + [torch.bfloat16] * 2  # the first is the look before the first step
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert told.epochs[0].loss > 0


def test_a_gradient_is_clipped(make_net, batch):
    from saddlepoint.defenses.training import SGD, Schedule, Standard, fit

    net = make_net()
    before = torch.cat([p.detach().flatten() for p in net.parameters()])
    schedule = Schedule(epochs=1, batch_size=60, peak=1.0, rate="constant", optimizer=SGD(momentum=0.0), clip=1e-2)
    fit(net, *batch, Standard(), schedule)
    moved = torch.cat([p.detach().flatten() for p in net.parameters()]) - before
    assert moved.norm().item() == pytest.approx(1e-2, rel=1e-3)
