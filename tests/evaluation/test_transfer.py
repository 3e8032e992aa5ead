"""The matrix of sources, targets and attacks: counted by hand, kept, and not made twice."""

import json
import math

import pytest
import torch

from saddlepoint.attacks import MIFGSM
from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError
from saddlepoint.evaluation.transfer import transfer
from saddlepoint.models import ensemble
from saddlepoint.noise import Noise

BALL = Linf(0.1)


@pytest.fixture
def models(make_net):
    nets = {name: make_net(0) for name in "abc"}
    for seed, net in enumerate(nets.values()):
        with torch.no_grad():
            for i, parameter in enumerate(net.parameters()):
                parameter.add_(0.08 * Noise(seed).normal(parameter, i))
    return {name: Classifier(net) for name, net in nets.items()}


def test_a_cell_counts_the_rows_that_both_get_right(models, data):
    record = transfer({"a": models["a"]}, models, data, ball=BALL, steps=5)
    right = {name: model.predict(data.x) == data.y for name, model in models.items()}
    y, every = data.y, right["a"] & right["b"] & right["c"]
    attack = MIFGSM(ball=BALL, steps=5)
    x = attack(models["a"], data.x, y).x
    for target in "abc":
        cell, both = record.cell("a", target, "mi-fgsm"), right["a"] & right[target]
        fooled = models[target].predict(x) != y
        assert (cell.fooled.count, cell.fooled.rows) == (int((fooled & both).sum()), int(both.sum()))
        assert (cell.common.count, cell.common.rows) == (int((fooled & every).sum()), int(every.sum()))
        assert cell.knowledge == ("white-box" if target == "a" else "black-box")
    assert record.cell("a", "b", "mi-fgsm").fooled.count > 0
    assert [made.attack for made in record.made] == ["bim", "mi-fgsm"]
    assert record.made[0].settings["step_size"] == record.made[1].settings["step_size"] == 0.1 / 5
    assert record.made[0].backwards == record.made[1].backwards == 5 * int(right["a"].sum())
    told = json.loads(record.to_json())
    assert told["schema"] == 1
    assert told["models"]["b"]["clean"]["count"] == int(right["b"].sum())


def test_a_second_run_makes_no_point_anew_also_for_other_targets(models, data, tmp_path):
    sources = {name: models[name] for name in "ab"}
    first = transfer(sources, models, data, ball=BALL, steps=3, folder=tmp_path / "run")
    before = [model.meter.backwards for model in models.values()]
    again = transfer(sources, models, data, ball=BALL, steps=3, folder=tmp_path / "run")
    fewer = transfer(sources, {"c": models["c"]}, data, ball=BALL, steps=3, folder=tmp_path / "run")
    assert [model.meter.backwards for model in models.values()] == before
    assert again == first
    assert fewer.cell("b", "c", "bim").fooled == first.cell("b", "c", "bim").fooled
    assert json.loads((tmp_path / "run" / "transfer.json").read_text(encoding="utf-8"))["targets"] == ["c"]


def test_a_set_that_is_lost_is_made_again_alone(models, data, tmp_path):
    folder = tmp_path / "run"
    first = transfer(models, models, data, ball=BALL, steps=3, folder=folder)
    marks = sorted((folder / "jobs").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    marks[-1].write_bytes(b"cut short")
    before = sum(model.meter.backwards for model in models.values())
    assert transfer(models, models, data, ball=BALL, steps=3, folder=folder).handed == first.handed
    spent = sum(model.meter.backwards for model in models.values()) - before
    assert spent in {made.backwards for made in first.made}


def test_an_ensemble_is_a_source_and_its_members_are_known_to_it(models, data):
    both = ensemble([models["a"], models["b"]])
    record = transfer({"a+b": both}, models, data, ball=BALL, attacks=["mi-fgsm"], steps=3)
    assert [record.cell("a+b", name, "mi-fgsm").knowledge for name in "abc"] == [
        "in the ensemble", "in the ensemble", "black-box",
    ]  # fmt: skip


def test_a_target_of_other_bounds_sees_the_same(models, data):
    inner = models["b"].module
    signed = Classifier(torch.nn.Sequential(Halved(), *inner), bounds=(-1, 1))
    record = transfer({"a": models["a"]}, {"b": models["b"], "signed": signed}, data, ball=BALL, steps=3)
    assert record.cell("a", "b", "bim").fooled == record.cell("a", "signed", "bim").fooled


class Halved(torch.nn.Module):
    def forward(self, x):
        return (x + 1) / 2


def test_what_cannot_be_transferred_is_refused(models, data):
    some = {"a": models["a"]}
    with pytest.raises(SettingError, match="of one name are different models"):
        transfer(some, {"a": models["b"]}, data, ball=BALL)
    with pytest.raises(SettingError, match="must have different names"):
        transfer(some, some, data, ball=BALL, attacks=["bim", {"name": "bim", "steps": 3}])
    with pytest.raises(SettingError, match="at least one source and one target"):
        transfer(some, {}, data, ball=BALL)
    with pytest.raises(SettingError, match="has no border"):
        transfer(some, some, data, ball=Linf(math.inf))
    with pytest.raises(SettingError, match="steps=-1"):
        transfer(some, some, data, ball=BALL, steps=-1)
