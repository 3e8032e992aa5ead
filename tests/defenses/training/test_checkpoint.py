"""A training that is killed goes on where it was, to the same bits."""

import os
import resource
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch

from saddlepoint import _tensors
from saddlepoint.attacks import PGD
from saddlepoint.balls import Bounds, Linf
from saddlepoint.defenses.training import (
    AWP,
    Adversarial,
    Distillation,
    Schedule,
    Standard,
    Validation,
    checkpoint,
    fit,
)
from saddlepoint.defenses.training.checkpoint import Checkpoint
from saddlepoint.errors import RecordError

OBJECTIVE = Adversarial(attack=PGD(ball=Linf(0.05), steps=2), warmup=0.2)
SCHEDULE = Schedule(epochs=3, batch_size=16, shift=1)  # four batches an epoch, the last of them smaller
ABOUT = {"recipe": "x", "eps": 0.05}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)


def train(net, batch, path, *, stop=None, about=ABOUT, schedule=SCHEDULE):
    def watch(done, total):
        assert total == 12
        if done == stop:
            raise Killed

    told = fit(net, *batch, OBJECTIVE, schedule, watch=watch, checkpoint=Checkpoint(path, about))
    return torch.cat([tensor.flatten() for tensor in net.state_dict().values()]), told


@pytest.mark.parametrize("stop", range(1, 13))
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_killed_after_any_batch_it_ends_with_the_same_bits(make_net, batch, tmp_path, stop, dropout):
    whole, told = train(make_net(dropout=dropout), batch, tmp_path / "whole.checkpoint")
    path = tmp_path / "part.checkpoint"
    with pytest.raises(Killed):
        train(make_net(dropout=dropout), batch, path, stop=stop)
    torch.rand(7)  # a new process would not have these either
    other = make_net(seed=1, dropout=dropout)  # what it holds does not matter
    resumed, again = train(other, batch, path)
    assert torch.equal(resumed, whole)
    assert again == told
    assert len(told.epochs) == 3


def test_no_batch_is_done_twice(make_net, batch, tmp_path):
    path = tmp_path / "net.checkpoint"
    with pytest.raises(Killed):
        train(make_net(), batch, path, stop=5)
    seen = []
    fit(
        make_net(), *batch, OBJECTIVE, SCHEDULE, watch=lambda done, _: seen.append(done),
        checkpoint=Checkpoint(path, ABOUT),
    )  # fmt: skip
    assert seen == list(range(6, 13))


def test_it_is_written_every_half_minute_only(make_net, batch, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_EVERY", 30.0)
    train(make_net(), batch, tmp_path / "net.checkpoint")
    assert not (tmp_path / "net.checkpoint").exists()
    clock = iter(range(0, 1000, 7))  # seconds: one look at the clock a batch, two where the file is written
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    written = []
    monkeypatch.setattr(_tensors, "write_atomic", lambda path, content: written.append(path))
    train(make_net(), batch, tmp_path / "net.checkpoint")
    assert len(written) == 2


def test_the_callers_generator_is_left_alone(make_net, batch, tmp_path):
    before = torch.get_rng_state()
    train(make_net(dropout=0.5), batch, tmp_path / "net.checkpoint")
    train(make_net(dropout=0.5), batch, tmp_path / "net.checkpoint")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("about", [{"recipe": "x", "eps": 0.1}, {"recipe": "x"}, {**ABOUT, "seed": 1}])
def test_another_training_is_refused_and_the_file_is_kept(make_net, batch, tmp_path, about):
    path = tmp_path / "net.checkpoint"
    train(make_net(), batch, path)
    before = path.read_bytes()
    with pytest.raises(
        RecordError, match=r"'net.checkpoint' is of another training: its (eps|seed) differ; repeat that"
    ):
        train(make_net(), batch, path, about=about)
    assert path.read_bytes() == before


def refused(path, differs, net, x, y, objective, schedule, validation=None):
    before = path.read_bytes()
    with pytest.raises(RecordError, match=f"is of another training: its {differs} differ; repeat that"):
        fit(net, x, y, objective, schedule, validation=validation, checkpoint=Checkpoint(path, ABOUT))
    assert path.read_bytes() == before


def test_what_fit_is_given_must_be_the_same(make_net, batch, tmp_path):
    path, (x, y) = tmp_path / "net.checkpoint", batch
    train(make_net(), batch, path)
    given = {"net": make_net(), "x": x, "y": y, "objective": OBJECTIVE, "schedule": SCHEDULE}
    validation = Validation(ball=Linf(0.05), rows=10, guard="off")
    for differs, changes in (
        ("inputs", {"x": x.flip(3)}),
        ("inputs, net", {"x": x.double(), "net": make_net().double()}),
        ("labels", {"y": (y + 1) % 3}),
        ("objective", {"objective": Adversarial(attack=PGD(ball=Linf(0.06), steps=2), warmup=0.2)}),
        ("objective", {"objective": AWP(objective=OBJECTIVE)}),
        ("objective", {"objective": Standard()}),
        ("schedule", {"schedule": replace(SCHEDULE, peak=1e-3)}),
        ("validation", {"validation": validation}),
        ("net", {"net": torch.nn.Sequential(*make_net()[:-1], torch.nn.Sequential(torch.nn.Linear(16, 3)))}),
    ):
        refused(path, differs, **{**given, **changes})


def test_validation_and_teacher_must_be_the_same(make_net, batch, tmp_path):
    path, net = tmp_path / "net.checkpoint", make_net()
    validation = Validation(ball=Linf(0.05), rows=10, guard="off", steps=1)
    given = {"net": net, "x": batch[0], "y": batch[1], "schedule": SCHEDULE}
    objective = Distillation(teacher=make_net(seed=3))
    fit(net, *batch, objective, SCHEDULE, validation=validation, checkpoint=Checkpoint(path, ABOUT))
    refused(path, "objective", **given, objective=Distillation(teacher=make_net(seed=4)), validation=validation)
    refused(path, "validation", **given, objective=objective, validation=replace(validation, bounds=Bounds(0, 2)))
    same = Distillation(teacher=make_net(seed=3))  # another object with the same weights
    assert fit(net, *batch, same, SCHEDULE, validation=validation, checkpoint=Checkpoint(path, ABOUT)).epochs


def test_an_objective_may_hold_a_part_of_the_net(make_net, batch, tmp_path):
    """Its weights are those of the start, which the file replaces."""

    @dataclass(frozen=True)
    class Decayed:
        layer: torch.nn.Module
        noted: list = field(default_factory=list, compare=False)

        def points(self, module, x, y, *, noise, progress, memory):
            self.noted.append(progress)
            return x

        def loss(self, module, x, points, y):
            return torch.nn.functional.cross_entropy(module(points), y) + self.layer.weight.square().mean()

    path = tmp_path / "net.checkpoint"
    for seed in (0, 1):
        net = make_net(seed=seed)
        fit(net, *batch, Decayed(net[1]), SCHEDULE, checkpoint=Checkpoint(path, ABOUT))


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_file_is_refused(make_net, batch, tmp_path, damage):
    path = tmp_path / "net.checkpoint"
    train(make_net(), batch, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordError, match=r"'net.checkpoint' is no whole checkpoint .*; delete it to start anew"):
        train(make_net(), batch, path)


def test_no_space_left(make_net, batch, tmp_path):
    path = tmp_path / "net.checkpoint"
    with pytest.raises(Killed):
        train(make_net(), batch, path, stop=3)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = textwrap.dedent(
        f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {limits[1]}))
        from pathlib import Path
        import torch
        from saddlepoint.defenses.training import checkpoint
        from saddlepoint.defenses.training.run import Run
        checkpoint._EVERY = 0.0
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 16), torch.nn.Linear(16, 3))
        kept = checkpoint.Checkpoint(Path({str(path)!r}), {{}})
        run = Run(module=net, optimizer=torch.optim.Adam(net.parameters()))
        try:
            kept.keep(run)
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ}, timeout=120
    )
    assert done.stdout.startswith("RecordError 'net.checkpoint' cannot be written (File too large)")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.checkpoint"]
