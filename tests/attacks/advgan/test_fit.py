"""What a fit reaches, what it leaves alone, what it asks of a black box, and what a kill changes: nothing."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from saddlepoint import L2, Classifier, Linf
from saddlepoint.attacks import AdvGAN
from saddlepoint.attacks.advgan import BlackBox
from saddlepoint.attacks.advgan import run as state
from saddlepoint.errors import InputError, RecordError, SettingError
from saddlepoint.testing.models import ConstantModel

SCRIPT = Path(__file__).parents[2] / "_support" / "advgan_script.py"
SMALL = AdvGAN(ball=Linf(0.25), epochs=8, batch_size=32, width=4, blocks=1, rate=3e-3)
torch.set_num_threads(1)


def net(seed=0, features=12):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(features, 16), nn.Dropout(0.5), nn.Tanh(), nn.Linear(16, 3))


@pytest.fixture
def model():
    found = net()
    with torch.no_grad():
        found[-1].weight *= 8
    found.train()
    return Classifier(found)


@pytest.fixture
def x():
    return torch.rand(200, 3, 2, 2, generator=torch.Generator().manual_seed(1))


def test_fools_more_than_random_signs_and_leaves_the_model_alone(model, x):
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    seen = []
    attack = SMALL.fit(model, x, watch=lambda *step: seen.append(step), told=lambda each: seen.append(each))
    y = model.predict(x)
    result = attack(model, x, y)
    noise = (x + 0.25 * (torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) - 0.5).sign()).clamp(0, 1)
    assert result.success.float().mean() > 1.5 * (model.predict(noise) != y).float().mean()
    assert model.module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    assert seen[0] == (1, 56)
    assert seen[-1] == (56, 56)
    assert attack.history == tuple(each for each in seen if not isinstance(each, tuple))
    first, last = attack.history[0].figures, attack.history[-1].figures
    assert last["adversarial"] < first["adversarial"]
    assert last["success"] > first["success"]


def test_passes_of_a_fit_with_gradients(model, x):
    y = model.predict(x)
    before = model.meter.forwards
    SMALL.fit(model, x, y)
    assert (model.meter.forwards - before, model.meter.backwards) == (8 * 200, 8 * 200)


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("labels_only", [False, True])
def test_black_box_is_asked_once_a_row_and_round_and_gives_no_gradient(model, x, rounds, labels_only):
    box = BlackBox(rounds=rounds, epochs=2, labels_only=labels_only)
    copy = net(1)
    before = {name: tensor.clone() for name, tensor in copy.state_dict().items()}
    model.predict(x[:1])
    asked = model.meter.forwards
    attack = replace(SMALL, epochs=2, target="every", black_box=box).fit(model, x, copy=copy)
    assert (model.meter.forwards - asked, model.meter.backwards) == ((1 + rounds) * 200, 0)
    assert attack.about["queries"] == (1 + rounds) * 200
    assert all(torch.equal(tensor, before[name]) for name, tensor in copy.state_dict().items())
    assert [each.phase for each in attack.history] == ["distil", "distil", "fit", "fit"] * (1 + rounds)


def test_a_copy_learns_the_answers(model, x):
    box = BlackBox(epochs=20, rate=1e-2)
    attack = replace(SMALL, black_box=box).fit(model, x, copy=net(1))
    distilled = [each.figures["loss"] for each in attack.history if each.phase == "distil"]
    assert distilled[-1] < 0.7 * distilled[0]
    y = model.predict(x)
    assert attack(model, x, y).success.any()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(model, x):
    quick = replace(SMALL, epochs=2)
    first, second = quick.fit(model, x), quick.fit(model, x)
    assert first.fingerprint == second.fingerprint
    assert replace(quick, seed=1).fit(model, x).fingerprint != first.fingerprint


def test_torch_generator_is_left_alone(model, x):
    before = torch.get_rng_state()
    replace(SMALL, epochs=1, black_box=BlackBox(epochs=1)).fit(model, x, copy=net(1))
    assert torch.equal(torch.get_rng_state(), before)


class Spoiled(nn.Module):
    """NaN, and so are its gradients, where the first feature is above 0.9."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        logits = self.inner(x)
        return torch.where(x.detach().flatten(1)[:, :1] > 0.9, torch.nan, logits)


def test_rows_without_a_finite_gradient_do_not_spoil_the_others(model, x):
    attack = replace(SMALL, epochs=3).fit(Classifier(Spoiled(model.module)), x, torch.zeros(200, dtype=torch.int64))
    assert all(tensor.isfinite().all() for tensor in attack.generator.state_dict().values())


def test_dead_gradients_are_told(x):
    attack = replace(SMALL, epochs=1).fit(
        Classifier(ConstantModel(torch.tensor([1.0, 0.0, 0.0]))), x, torch.zeros(200, dtype=torch.int64)
    )
    assert attack.history[-1].figures["dead"] == 1
    assert attack.history[-1].figures["success"] == 0


def test_rows_whose_label_is_the_target_are_no_success(x):
    attack = replace(SMALL, epochs=1, target=0).fit(
        Classifier(ConstantModel(torch.tensor([1.0, 0.0, 0.0]))), x, torch.zeros(200, dtype=torch.int64)
    )
    assert attack.history[-1].figures["adversarial"] == 0
    assert attack.history[-1].figures["success"] == 0


@pytest.mark.parametrize("eps", [0.0, 0.25])
@pytest.mark.parametrize("shape", [(12,), (4, 3), (1, 3, 4)])
def test_any_shape_one_row_and_no_radius(shape, eps):
    x = torch.rand(9, *shape, generator=torch.Generator().manual_seed(1))  # batches of 8 and of 1
    model = Classifier(net())
    attack = replace(SMALL, ball=Linf(eps), epochs=1, batch_size=8).fit(model, x)
    result = attack(model, x, model.predict(x))
    assert (result.distance <= eps + 1e-6).all()
    assert eps > 0 or torch.equal(result.x, x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ball": L2(1.0)}, "must be of Linf"),
        ({"ball": Linf(torch.tensor([0.1]))}, "must be of Linf"),
        ({"target": "all"}, "must be 'none', 'every' or a class"),
        ({"target": -1}, "must be 'none', 'every' or a class"),
        ({"target": True}, "must be 'none', 'every' or a class"),
        ({"epochs": 0}, "epochs=0 must be an integer >= 1"),
        ({"blocks": 1.5}, "blocks=1.5 must be an integer >= 0"),
        ({"rate": 0.0}, "rate=0.0 must be a finite number > 0"),
        ({"confidence": float("nan")}, "confidence=nan must be a finite number >= 0"),
        ({"average": 1.0}, r"average=1.0 must lie in \[0, 1\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(SettingError, match=message):
        replace(SMALL, **changes)


@pytest.mark.usefixtures("unchecked")
def test_black_boxes_that_cannot_be(model, x):
    with pytest.raises(SettingError, match="rounds=-1 must be an integer >= 0"):
        BlackBox(rounds=-1)
    with pytest.raises(SettingError, match="needs copy="):
        replace(SMALL, black_box=BlackBox()).fit(model, x)
    with pytest.raises(SettingError, match="needs copy="):
        SMALL.fit(model, x, copy=net(1))


@pytest.mark.usefixtures("unchecked")
def test_rows_that_cannot_be(model, x):
    with pytest.raises(InputError, match="no rows"):
        SMALL.fit(model, x[:0])
    with pytest.raises(InputError, match="the bounds are"):
        SMALL.fit(model, x + 1)
    with pytest.raises(InputError, match="y has shape"):
        SMALL.fit(model, x, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InputError, match="the model has classes 0 to 2"):
        SMALL.fit(model, x, torch.full((200,), 3))
    with pytest.raises(InputError, match="the model has classes 0 to 2"):
        replace(SMALL, target=3).fit(model, x)


def test_checkpoint_of_another_fit_is_refused(model, x, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "_EVERY", 0.0)
    path = tmp_path / "a.checkpoint"
    quick = replace(SMALL, epochs=1)
    first = quick.fit(model, x, checkpoint=path)
    assert quick.fit(model, x, checkpoint=path) == first  # it is over, and nothing is done again
    with pytest.raises(RecordError, match="of another fit: its settings differ"):
        SMALL.fit(model, x, checkpoint=path)
    with pytest.raises(RecordError, match="its data differ"):
        quick.fit(model, 1 - x, checkpoint=path)
    path.write_bytes(b"nothing")
    with pytest.raises(RecordError, match="no whole checkpoint"):
        quick.fit(model, x, checkpoint=path)


def start(*words):
    return subprocess.Popen([sys.executable, SCRIPT, *map(str, words)], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("at", [3, 24, 31])  # in the first distillation, the second, and the second fit
def test_killed_and_resumed_it_ends_with_the_same_bytes(tmp_path, at, whole):
    process = start(tmp_path / "part.safetensors", tmp_path / "kept")
    for line in process.stdout:
        if int(line.split()[0]) >= at:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "part.safetensors").exists()
    resumed = start(tmp_path / "part.safetensors", tmp_path / "kept")
    steps = [int(line.split()[0]) for line in resumed.communicate(timeout=60)[0].splitlines()]
    assert resumed.returncode == 0
    assert at < steps[0] <= 40  # it did not begin again
    assert (tmp_path / "part.safetensors").read_bytes() == whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    process = start(path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    return path.read_bytes()
