"""The fitted value: an attack like others, and a file without code."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import saddlepoint as sp
from saddlepoint import L1, L2, Classifier, Keep, Linf, Noise
from saddlepoint.attacks import FGSM, Cascade, Restarts, Universal
from saddlepoint.attacks.universal import Fitted
from saddlepoint.errors import ArgumentTypeError, InputError, RadiusError, SettingError, SpecError, WeightsError
from saddlepoint.evaluation.suites import build, described, needs_eps, recognisable, settings
from saddlepoint.testing import contract

SHAPE = (3, 2, 2)


def perturbation(ball):
    """As large as the ball allows, in a direction of its own."""
    step = ball.steepest_step(Noise(5).normal(torch.empty(1, *SHAPE, dtype=torch.float64)))
    return Universal(v=ball.eps * step, ball=ball)


GIVEN = {
    "skip": {
        "targeted": "one perturbation for all cannot follow a target of each row",
        "eps_per_row": "one perturbation for all has one size",
        "any_rank": "v has one shape",
    },
    "rebuild": lambda ball: perturbation(ball),
    "ranks": (4,),
}
FITTED = Fitted(
    rule="ascent", target=None, rate=0.5, held_out_rate=None, rows=10, held_out_rows=0, epochs=3, forwards=70,
    backwards=30, seed=0, model="f",
)  # fmt: skip

test_contract = contract(perturbation(Linf(0.1)), **GIVEN)
test_contract_l2 = contract(perturbation(L2(0.4)), **GIVEN)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4)).double())


@pytest.fixture
def x():
    return Noise(1).uniform(torch.empty(20, *SHAPE, dtype=torch.float64))


def test_every_row_gets_the_same_in_the_box_and_is_verified_once(model, x):
    attack = perturbation(Linf(0.3))
    result = attack(model, x, None)
    assert model.meter.forwards == 2 * len(x)  # the labels, and the verification
    assert torch.equal(result.x, (x + attack.v).clamp(0, 1))
    assert result.forwards.tolist() == [1] * len(x)  # the labels
    assert attack(model, x, torch.zeros(20, dtype=torch.int64)).forwards.tolist() == [0] * len(x)
    before, after = model.predict(x), model.predict(result.x)
    assert torch.equal(result.success, before != after)
    assert attack.fooling_rate(model, x) == (before != after).double().mean()


def test_the_points_of_a_large_perturbation_keep_to_the_l2_ball(model, x):
    attack = perturbation(L2(1.5))
    result = attack(model, x, None)
    assert result.distance.max() <= 1.5 + 1e-9
    assert result.x.aminmax() == (0, 1)


def test_a_target_changes_the_verdict_only(model, x):
    attack, goal = perturbation(Linf(0.3)), torch.full((20,), 2)
    free, aimed = attack(model, x, None), attack(model, x, None, target=goal)
    assert torch.equal(free.x, aimed.x)
    assert torch.equal(aimed.success, model.predict(aimed.x) == 2)


def test_a_targeted_rate_leaves_out_rows_that_are_there_already(model, x):
    attack = perturbation(Linf(0.3))
    said, then = model.predict(x), model.predict((x + attack.v).clamp(0, 1))
    target = int(said.mode().values)
    others = said != target
    assert 0 < others.sum() < 20
    assert attack.fooling_rate(model, x, target=target) == (then[others] == target).double().mean()
    with pytest.raises(InputError, match="at least one that the model does not call"):
        attack.fooling_rate(model, x[~others], target=target)


def test_it_stands_among_other_attacks(model, x):
    """One tensor for all rows is not taken apart where rows leave."""
    first, y = perturbation(Linf(0.1)), model.predict(x)
    second = FGSM(ball=Linf(0.1), keep=Keep.FIRST_SUCCESS)
    alone, found = first(model, x, y), Cascade(attacks=[second, first])(model, x, y)
    held = ~second(model, x, y).success
    assert 0 < held.sum() < 20
    assert torch.equal(found.success, ~held | alone.success)
    assert torch.equal(Restarts(attack=first, times=2)(model, x, y).x, alone.x)


@pytest.mark.parametrize("fitted", [None, FITTED, replace(FITTED, target=2, held_out_rate=0.25)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_file_gives_it_back(tmp_path, fitted, dtype):
    attack = replace(perturbation(L2(0.7)), fitted=fitted)
    attack = replace(attack, v=(attack.v * (1 - 1e-7)).to(dtype))
    attack.save(tmp_path / "v.safetensors")
    found = Universal.load(tmp_path / "v.safetensors")
    assert torch.equal(found.v, attack.v)
    assert (found.v.dtype, found.ball, found.fitted) == (dtype, attack.ball, fitted)
    found.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "v.safetensors").read_bytes()


TOLD = {"ball": {"norm": "linf", "eps": 0.1}, "fitted": None}


@pytest.mark.parametrize(
    ("told", "tensors"),
    [
        (None, {"v": torch.zeros(1, 2)}),
        ({"universal": "["}, {"v": torch.zeros(1, 2)}),
        ({"universal": "[]"}, {"v": torch.zeros(1, 2)}),
        ({"universal": json.dumps(TOLD)}, {"w": torch.zeros(1, 2)}),
        ({"universal": json.dumps(TOLD)}, {"v": torch.zeros(2, 2)}),
        ({"universal": json.dumps(TOLD)}, {"v": torch.full((1, 2), 0.2)}),
        ({"universal": json.dumps(TOLD)}, {"v": torch.full((1, 2), torch.nan)}),
        ({"universal": json.dumps({**TOLD, "ball": {"norm": "l1", "eps": 0.1}})}, {"v": torch.zeros(1, 2)}),
        ({"universal": json.dumps({**TOLD, "ball": {"norm": "l2", "eps": "inf"}})}, {"v": torch.zeros(1, 2)}),
        ({"universal": json.dumps({**TOLD, "fitted": {"rule": 3}})}, {"v": torch.zeros(1, 2)}),
        ({"universal": json.dumps({**TOLD, "fitted": {**vars(FITTED), "rows": "many"}})}, {"v": torch.zeros(1, 2)}),
    ],
)
def test_another_file_is_refused(tmp_path, told, tensors):
    save_file(tensors, tmp_path / "v.safetensors", told)
    with pytest.raises(WeightsError, match=r"'v.safetensors' holds no universal perturbation .*; give a file that"):
        Universal.load(tmp_path / "v.safetensors")


def test_no_file_and_a_damaged_one_are_refused(tmp_path):
    path = tmp_path / "v.safetensors"
    with pytest.raises(WeightsError, match="holds no universal perturbation"):
        Universal.load(path)
    perturbation(Linf(0.1)).save(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="holds no universal perturbation"):
        Universal.load(path)
    with pytest.raises(WeightsError, match="cannot be written"):
        perturbation(Linf(0.1)).save(tmp_path / "none" / "v.safetensors")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("v", "ball", "error", "message"),
    [
        (torch.zeros(1, 2), L1(0.1), ArgumentTypeError, "must be Linf or L2"),
        (torch.zeros(1, 2), 0.1, ArgumentTypeError, "must be Linf or L2"),
        (torch.zeros(1, 2), Linf(torch.inf), RadiusError, "one finite eps"),
        (torch.zeros(1, 2), Linf(torch.tensor([0.1])), RadiusError, "one finite eps"),
        (torch.full((1, 2), 0.2), Linf(0.1), RadiusError, "v has linf norm 0.2, eps is 0.1"),
        (torch.zeros(2, 2), Linf(0.1), InputError, "one perturbation for all"),
        (torch.full((1, 2), torch.nan), Linf(0.1), InputError, "finite"),
        (torch.zeros(2), Linf(0.1), InputError, r"must be a dense .* tensor \(1, \*f\)"),
        (torch.zeros(1, 2, dtype=torch.int64), Linf(0.1), InputError, "float32 or float64"),
        ([[0.0]], Linf(0.1), InputError, "float32 or float64"),
    ],
)
def test_what_is_no_perturbation_is_refused(v, ball, error, message):
    with pytest.raises(error, match=message):
        Universal(v=v, ball=ball)


def test_inputs_of_another_shape_are_refused(model, x):
    with pytest.raises(InputError, match=r"inputs of shape \(12,\) do not fit the perturbation, \(3, 2, 2\)"):
        perturbation(Linf(0.1))(model, x.flatten(1), None)
    with pytest.raises(InputError, match="do not fit"):
        perturbation(Linf(0.1)).fooling_rate(model, x.flatten(1))


def test_two_perturbations_are_told_apart_and_recognised(model):
    first, other = perturbation(Linf(0.1)), Universal(v=torch.zeros(1, *SHAPE), ball=Linf(0.1))
    assert recognisable(first)
    assert described(first) == described(perturbation(Linf(0.1)))
    assert described(first) != described(other)
    large = settings(Universal(v=torch.zeros(1, 3, 32, 32), ball=Linf(0.1)))
    assert large["v"]["shape"] == [1, 3, 32, 32]
    assert len(json.dumps(large)) < 1000


def test_an_evaluation_takes_it_also_by_the_name_of_its_file(model, x, tmp_path):
    model, x = Classifier(model.module.float()), x.float()
    attack = replace(perturbation(Linf(0.3)), fitted=FITTED)
    attack.save(tmp_path / "v.safetensors")
    y = model.predict(x)
    run = sp.evaluate(model, (x, y), ball=Linf(0.3), attacks=[attack, "fgsm"], out=tmp_path / "run")
    named = f"universal:{tmp_path / 'v.safetensors'}"
    again = sp.evaluate(model, (x, y), ball=Linf(0.3), attacks=[named, "fgsm"], out=tmp_path / "run")
    found, (first, second) = attack(model, x, y).success, run.record.models[0].threats[0].attacks
    assert (first.name, second.name) == ("universal", "fgsm")
    assert (first.fooled, first.attacked, first.forwards) == (found.sum(), 20, 0)
    assert again.record.models == run.record.models
    assert "universal" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_name_that_does_not_fit_is_refused(tmp_path):
    attack, name = perturbation(Linf(0.3)), f"universal:{tmp_path / 'v.safetensors'}"
    with pytest.raises(WeightsError, match="holds no universal perturbation"):
        build(name, Linf(0.3))
    attack.save(tmp_path / "v.safetensors")
    assert needs_eps(name)
    assert torch.equal(build({"name": name}, Linf(0.3)).v, attack.v)
    with pytest.raises(SettingError, match=r"was fitted for Linf\(eps=0.3\), not for Linf\(eps=0.2\)"):
        build(name, Linf(0.2))
    with pytest.raises(SpecError, match="has no setting 'steps'"):
        build({"name": name, "steps": 3}, Linf(0.3))
