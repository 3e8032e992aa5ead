"""The store: a run survives a kill, damage, several processes, and refuses what is not its own."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.data import Dataset
from saddlepoint.errors import RecordError, SettingError
from saddlepoint.evaluation import checked_plan, run
from saddlepoint.evaluation import plan as planning
from saddlepoint.evaluation.likeness import likeness
from saddlepoint.evaluation.store import FolderStore, opened
from saddlepoint.testing import RandomModel


@pytest.fixture(autouse=True)
def _small_jobs(monkeypatch):
    monkeypatch.setattr(planning, "ROWS", 8)


def net(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))


@pytest.fixture(scope="module")
def data():
    x = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return Dataset(x, net()(x).argmax(1), classes=("a", "b", "c"), name="toy")


def planned(data, module=None, **settings):
    model = sp.Classifier(net() if module is None else module)
    settings = {"balls": [sp.Linf(0.1)], "attacks": ["fgsm", "pgd"]} | settings
    return checked_plan({"net": model}, data, **settings), model


def numbers(record):
    """Everything in a run except times."""

    def bare(value):
        if isinstance(value, dict):
            return {key: bare(item) for key, item in value.items() if key not in ("seconds", "started", "command")}
        return [bare(item) for item in value] if isinstance(value, list) else value

    return bare(json.loads(record.to_json()))


@pytest.fixture(scope="module")
def whole(data):
    return run(planned(data)[0])


def test_a_folder_gives_what_memory_gives(data, whole, tmp_path):
    found = run(planned(data)[0], folder=tmp_path)
    assert numbers(found.record) == numbers(whole.record)
    assert found.files == whole.files


def test_finished_jobs_are_not_done_again(data, whole, tmp_path):
    run(planned(data)[0], folder=tmp_path)
    plan, model = planned(data)
    spent = model.meter.forwards
    found = run(plan, folder=tmp_path)
    assert model.meter.forwards == spent
    assert numbers(found.record) == numbers(whole.record)


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "mark"])
def test_a_damaged_outcome_is_computed_again(data, whole, tmp_path, damage):
    run(planned(data)[0], folder=tmp_path)
    file = sorted((tmp_path / "jobs").glob("*.safetensors"))[0]
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[:-9])
    elif damage == "changed":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "missing":
        file.unlink()
    else:
        file.with_suffix(".json").write_text("{")
    found = run(planned(data)[0], folder=tmp_path)
    assert numbers(found.record) == numbers(whole.record)
    assert file.read_bytes()[:8] == content[:8]
    assert FolderStore(tmp_path).get(file.stem) is not None


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5, 6, 7), (5, 2, 7, 1, 3, 6, 4)])
def test_shards_in_any_order_give_the_same_run(data, whole, tmp_path, order):
    found = [run(planned(data)[0], folder=tmp_path, shard=(i, 7)) for i in order]
    assert all(part is None for part in found[:-1])
    assert numbers(found[-1].record) == numbers(whole.record)
    assert found[-1].files == whole.files


def test_any_shard_may_assemble_later(data, whole, tmp_path):
    for i in (1, 2):
        last = run(planned(data)[0], folder=tmp_path, shard=(i, 2))
    again = run(planned(data)[0], folder=tmp_path, shard=(1, 2))
    assert numbers(again.record) == numbers(last.record) == numbers(whole.record)


def test_shards_need_a_folder_and_a_place(data, tmp_path):
    plan, _ = planned(data)
    with pytest.raises(SettingError, match="shard=1/2 must be i/m"):
        sp.api.complete(plan, shard=(1, 2))
    with pytest.raises(SettingError, match="shard=3/2 must be i/m"):
        sp.api.complete(plan, shard=(3, 2), out=tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "--seed: 0 there, 1 here"),
        ({"target": "1"}, "--target: none there, 1 here"),
        ({"attacks": ["fgsm"]}, "--attacks: fgsm, pgd there, fgsm here"),
        ({"attacks": ["fgsm", {"name": "pgd", "steps": 3}]}, "the settings of --attacks"),
        ({"balls": [sp.Linf(0.2)]}, "--norm and --eps: "),
        ({"limits": sp.Limits(forwards=3)}, "--forwards: inf there, 3 here"),
        ({"probed": 20}, r"--diagnose: off \(--no-diagnose\) there, on here"),
        ({"attacks": None, "suite": "cascade"}, "--suite: none there, cascade-1 here"),
        ({"precision": "auto"}, "--precision: float32 there, auto here"),
        ({"seed": 1, "target": "1"}, "--target: none there, 1 here, and --seed: 0 there, 1 here"),
    ],
)
def test_another_run_is_refused_and_nothing_is_lost(data, tmp_path, change, named):
    run(planned(data)[0], folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RecordError, match=f"holds another run, which differs in {named}.*; give another --out"):
        run(planned(data, **change)[0], folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_fewer_rows_are_another_run(data, tmp_path):
    run(planned(data)[0], folder=tmp_path)
    with pytest.raises(RecordError, match="differs in --rows: 30 there, 20 here; give"):
        run(planned(data[:20])[0], folder=tmp_path)


def test_other_models_and_other_rows_are_another_run(data, tmp_path):
    run(planned(data)[0], folder=tmp_path)
    moved = Dataset(data.x.flip(0), data.y.flip(0), classes=data.classes, name="toy")
    with pytest.raises(RecordError, match="differs in the rows of the data set, though they are as many; give"):
        run(planned(moved)[0], folder=tmp_path)
    two = checked_plan(
        {"net": sp.Classifier(net()), "more": sp.Classifier(net(1))},
        data,
        balls=[sp.Linf(0.1)],
        attacks=["fgsm", "pgd"],
    )
    with pytest.raises(RecordError, match="differs in the models: net there, net, more here; give"):
        run(two, folder=tmp_path)


@pytest.mark.parametrize("key", ["data", "threats", "limits", "seed", "models", "probed", "points"])
@pytest.mark.parametrize("value", [None, 3, "x" * 500, [1], ["x"], {"a": 1}, [{"ball": 1}], [{"ball": {"norm": 1}}]])
def test_a_spec_that_was_changed_is_another_run(data, tmp_path, key, value):
    plan = planned(data)[0]
    with opened(tmp_path, plan.spec(), (1, 1)):
        pass
    held = json.loads((tmp_path / "spec.json").read_text())
    if held[key] == value:
        return
    (tmp_path / "spec.json").write_text(json.dumps({**held, key: value}))
    with (
        pytest.raises(RecordError, match="holds another run, which differs in .{3,300}; give another --out"),
        opened(tmp_path, plan.spec(), (1, 1)),
    ):
        pass


def test_the_current_folder_is_named(data, tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").write_text("precious")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError, match=r"the folder '\.' holds files that are no run"):
        run(planned(data)[0], folder=Path())


def test_a_model_that_changed_is_refused(data, tmp_path):
    run(planned(data)[0], folder=tmp_path)
    with pytest.raises(RecordError, match="the model net has changed since the run"):
        run(planned(data, net(seed=1))[0], folder=tmp_path)


def test_a_model_whose_code_changed_is_refused(data, tmp_path):
    class Net(nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.inner, self.sign = net(), sign

        def forward(self, x):
            return self.sign * self.inner(x)

    run(planned(data, Net(1.0))[0], folder=tmp_path)
    with pytest.raises(RecordError, match="the model net has changed"):
        run(planned(data, Net(-1.0))[0], folder=tmp_path)


class Quantised(nn.Module):
    """The same values whether or not a gradient goes through the rounding; ``far`` acts only off the data."""

    def __init__(self, through, far=0.0):
        super().__init__()
        self.inner, self.through, self.far = net(), through, far

    def forward(self, x):
        rounded = (255 * x).round() / 255
        logits = self.inner(x + (rounded - x).detach() if self.through else rounded)
        off = ((x - rounded).abs().flatten(1).amax(1, keepdim=True) > 1e-4).to(x)
        return logits + self.far * off * torch.arange(3)


@pytest.fixture
def quantised(data):
    return Dataset((255 * data.x).round() / 255, data.y, classes=data.classes, name="toy")


def test_a_model_that_got_a_gradient_is_refused_and_then_attacked_anew(quantised, tmp_path):
    masked = run(planned(quantised, Quantised(False))[0], folder=tmp_path / "a")
    with pytest.raises(RecordError, match="the model net has changed"):
        run(planned(quantised, Quantised(True))[0], folder=tmp_path / "a")
    mended = run(planned(quantised, Quantised(True))[0], folder=tmp_path / "b")
    held = [found.record.models[0].threats[0].worst.count for found in (masked, mended)]
    assert held[0] > held[1]


def test_a_model_that_changed_off_the_data_is_refused(quantised, tmp_path):
    run(planned(quantised, Quantised(True))[0], folder=tmp_path)
    with pytest.raises(RecordError, match="the model net has changed"):
        run(planned(quantised, Quantised(True, far=0.5))[0], folder=tmp_path)


def test_a_model_without_a_backward_pass_is_known_again(quantised, tmp_path):
    class Bare(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)[:, :3]

    first, again = (run(planned(quantised, Bare())[0], folder=tmp_path) for _ in range(2))
    assert numbers(first.record) == numbers(again.record)


def test_looking_at_a_model_draws_no_random_number(data):
    model = sp.Classifier(RandomModel(net()))
    before = torch.get_rng_state()
    likeness(model, data.x[:16], torch.zeros(16, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert (model.meter.forwards, model.meter.backwards) == (0, 0)


def test_a_random_model_is_never_reused_by_another_process(data, tmp_path, monkeypatch):
    def module():
        return RandomModel(net())

    run(planned(data, module())[0], folder=tmp_path)
    monkeypatch.setattr(planning, "_PROCESS", "another")
    with pytest.raises(RecordError, match="or is random, and so never the same"):
        run(planned(data, module())[0], folder=tmp_path)


def test_a_folder_in_use_is_refused(data, tmp_path):
    plan, _ = planned(data)
    with opened(tmp_path, plan.spec(), (1, 1)), pytest.raises(RecordError, match="in use by another process"):
        run(plan, folder=tmp_path)
    with opened(tmp_path, plan.spec(), (1, 2)):
        with pytest.raises(RecordError, match="in use by another process"):
            run(plan, folder=tmp_path, shard=(1, 2))
        assert run(plan, folder=tmp_path, shard=(2, 2)) is None  # two shards at once


def test_a_damaged_spec_is_told(data, tmp_path):
    run(planned(data)[0], folder=tmp_path)
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(RecordError, match=r"spec.json is damaged"):
        run(planned(data)[0], folder=tmp_path)


def test_no_space_left_is_told_and_finished_jobs_are_kept(data, whole, tmp_path):
    plan, _ = planned(data)
    with opened(tmp_path, plan.spec(), (1, 1)) as (store, _):
        store.put("first", {"x": torch.zeros(4)})
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
        try:
            with pytest.raises(RecordError, match="cannot be written .*finished jobs are kept: make room"):
                store.put("second", {"x": torch.zeros(10_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        assert store.get("second") is None
        assert store.get("first") is not None
    assert not list((tmp_path / "jobs").glob(".*"))
    assert numbers(run(plan, folder=tmp_path).record) == numbers(whole.record)


def _command(out):
    arguments = "zoo:mnist-standard zoo:mnist-pgd mnist10k:test --attacks fgsm,mi-fgsm,pgd --eps 0.2 --rows 1000"
    return [sys.executable, "-m", "saddlepoint", "evaluate", *arguments.split(), "--threads", "1", "--out", str(out)]


def _finished(folder):
    return len(list((folder / "jobs").glob("*.json"))) if folder.exists() else 0


@pytest.mark.slow
def test_kills_at_ten_moments_change_nothing(tmp_path):
    start = time.monotonic()
    subprocess.run(_command(tmp_path / "whole"), check=True, capture_output=True)
    length = time.monotonic() - start
    wanted = numbers(sp.records.RunRecord.from_json((tmp_path / "whole/run.json").read_text()))
    reused = 0
    for i in range(10):
        folder = tmp_path / f"killed-{i}"
        process = subprocess.Popen(_command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(length * (i + 0.5) / 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
        marks = {path.name: path.stat().st_mtime_ns for path in Path(folder).glob("jobs/*.json")}
        reused += bool(marks)
        subprocess.run(_command(folder), check=True, capture_output=True)
        assert all((folder / "jobs" / name).stat().st_mtime_ns == then for name, then in marks.items())
        found = numbers(sp.records.RunRecord.from_json((folder / "run.json").read_text()))
        assert found == wanted, i
    print(f"{length:.1f} s, {reused} of 10 kills left finished jobs")
    assert reused >= 5


@pytest.mark.slow
def test_shards_two_at_once_give_the_same_file(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(_command(tmp_path / "whole"), check=True, capture_output=True, env=environment)
    running = []
    for i in (3, 6, 1, 7, 2, 5, 4):
        command = [*_command(tmp_path / "parts"), "--shard", f"{i}/7"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment))
        if len(running) == 2:
            assert running.pop(0).wait() == 0
    assert running.pop().wait() == 0
    if not (tmp_path / "parts/run.json").exists():  # the last two ended together, each before the other's last job
        subprocess.run([*_command(tmp_path / "parts"), "--shard", "1/7"], check=True, capture_output=True)
    one, parts = (
        numbers(sp.records.RunRecord.from_json((tmp_path / name / "run.json").read_text()))
        for name in ("whole", "parts")
    )
    assert one == parts
    assert _finished(tmp_path / "parts") == _finished(tmp_path / "whole")
