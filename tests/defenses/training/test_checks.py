"""What cannot be trained is refused before the first step, and says why."""

import numpy as np
import pytest
import torch
from torch import nn

from saddlepoint import Bounds, Classifier, Linf
from saddlepoint.attacks import PGD
from saddlepoint.defenses.training import Adversarial, Schedule, Standard, Validation, fit
from saddlepoint.defenses.training.checks import check
from saddlepoint.defenses.training.rates import rate
from saddlepoint.errors import ArgumentTypeError, InputError, ModelError, SettingError

X, Y = torch.rand(9, 4), torch.arange(9) % 3


def dense(batch_norm=False):
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5) if batch_norm else nn.ReLU(), nn.Linear(5, 3))


def checked(module=None, x=X, y=Y, schedule=None, validation=None):
    schedule = Schedule(epochs=1) if schedule is None else schedule
    return check(dense() if module is None else module, x, y, Standard(), schedule, validation)


def with_nan():
    x = X.repeat(1000, 1)
    x[7001, 2] = torch.nan
    return {"x": x, "y": Y.repeat(1000)}


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"module": Classifier(dense())}, ArgumentTypeError, "module is Classifier; give the nn.Module itself"),
        ({"module": nn.Flatten()}, ModelError, "Flatten has no parameters: there is nothing to train"),
        ({"x": X.numpy()}, ArgumentTypeError, "x is 'ndarray'; give a tensor"),
        ({"y": np.asarray(Y)}, ArgumentTypeError, "y is 'ndarray'; give a tensor"),
        ({"x": (255 * X).byte()}, InputError, r"x is of torch.uint8; give floats"),
        ({"y": Y.float()}, InputError, r"y is of torch.float32 and shape \(9,\); give class indices, int64"),
        ({"y": Y.int()}, InputError, "y is of torch.int32"),
        ({"y": Y[:, None]}, InputError, r"shape \(9, 1\)"),
        ({"y": Y[:8]}, InputError, "x has 9 rows and y 8"),
        ({"y": Y + 1}, InputError, "the labels run from 1 to 3, the module has classes 0 to 2; count classes from 0"),
        ({"y": Y - 1}, InputError, "the labels run from -1 to 1"),
        ({"x": X.double()}, ModelError, r"the module fails on inputs of shape \(2, 4\) and torch.float64"),
        ({"x": torch.rand(9, 5)}, ModelError, r"the module fails on inputs of shape \(2, 5\)"),
        (with_nan(), InputError, "row 7001 of x holds NaN or infinity"),
        (
            {"module": dense(batch_norm=True), "schedule": Schedule(epochs=1, batch_size=4)}, InputError,
            "9 training rows in batches of 4 leave one row for the last",
        ),
        (
            {
                "module": dense(batch_norm=True), "schedule": Schedule(epochs=1, batch_size=4),
                "x": X.repeat(60, 1), "y": Y.repeat(60),
                "validation": Validation(ball=Linf(0.1), rows=535, guard="off"),
            }, InputError, "5 training rows in batches of 4",
        ),
    ],
)  # fmt: skip
def test_it_is_refused(given, error, told):
    with pytest.raises(error, match=told):
        checked(**given)


def test_a_batch_of_one_row_is_no_fault_where_it_can_be_normalised():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    checked(net, torch.rand(9, 1, 4, 4), schedule=Schedule(epochs=1, batch_size=4))
    checked(dense(batch_norm=True), schedule=Schedule(epochs=1, batch_size=5))


def test_looking_changes_nothing():
    net = nn.Sequential(dense(batch_norm=True), nn.Dropout(0.5))
    net[0][1].eval()
    modes, kept = [part.training for part in net.modules()], {n: t.clone() for n, t in net.state_dict().items()}
    before = torch.get_rng_state()
    checked(net, schedule=Schedule(epochs=1, batch_size=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert [part.training for part in net.modules()] == modes
    assert all(torch.equal(kept[name], value) for name, value in net.state_dict().items())


def normalised(kind=nn.BatchNorm1d):
    return nn.Sequential(nn.Linear(4, 5), kind(5), nn.Dropout(0.5), nn.Linear(5, 3))


@pytest.mark.parametrize("whole", [True, False])
def test_frozen_batch_normalisation_stays_frozen(whole):
    net = normalised().train(whole)
    net[1].eval().requires_grad_(False)
    kept = {name: value.clone() for name, value in net[1].state_dict().items()}
    modes = []
    net.register_forward_pre_hook(lambda module, _: modes.append([part.training for part in module]))
    fit(net, X, Y, Adversarial(attack=PGD(ball=Linf(0.1), steps=2), bn="train"), Schedule(epochs=2))
    assert all(torch.equal(kept[name], value) for name, value in net[1].state_dict().items())
    assert [True, False, True, True] in modes, "all else is trained"


def test_batch_normalisation_that_is_trained_moves_after_loading():
    net = normalised().eval()
    before = net[1].running_mean.clone()
    fit(net, X, Y, Standard(), Schedule(epochs=1))
    assert not torch.equal(net[1].running_mean, before)


def test_parts_that_rest_in_a_module_that_trains_stay_so():
    net = normalised()
    net[2].eval()
    modes = []
    net[2].register_forward_pre_hook(lambda part, _: modes.append(part.training))
    fit(net, X, Y, Standard(), Schedule(epochs=1))
    assert set(modes) == {False}


def test_fit_refuses_before_the_first_step():
    net = dense()
    before = net[0].weight.clone()
    with pytest.raises(InputError, match="the labels run from 0 to 3"):
        fit(net, torch.cat([X, X]), torch.cat([Y, Y + 1]), Standard(), Schedule(epochs=1, batch_size=4))
    assert torch.equal(net[0].weight, before)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["epochs", "batch_size", "seed", "shift", "crop"])
@pytest.mark.parametrize("value", [2.5, "3", None])
def test_whole_numbers_of_a_schedule(name, value):
    with pytest.raises(SettingError, match=f"{name}="):
        Schedule(**{name: value})


def test_a_validation_in_another_box_than_the_objective():
    objective = Adversarial(attack=PGD(ball=Linf(0.1)), bounds=Bounds(-1, 1))
    validation = Validation(ball=Linf(0.1), rows=5, guard="off")
    with pytest.raises(SettingError, match=r"the validation has the bounds .*give both the box of the inputs"):
        fit(dense(), X, Y, objective, Schedule(epochs=1), validation=validation)


@pytest.mark.usefixtures("unchecked")
def test_other_settings_that_are_none():
    with pytest.raises(SettingError, match="optimizer='sgd' is none; give Adam"):
        Schedule(optimizer="sgd")
    with pytest.raises(SettingError, match="rows='5'"):
        Validation(ball=Linf(0.1), rows="5")


@pytest.mark.parametrize(("rise", "total"), [(0.1, 10), (0.5, 2), (0.25, 4)])
def test_a_rate_that_turns_at_its_first_step(rise, total):
    schedule = Schedule(rise=rise, peak=1.0)
    found = [rate(schedule, step, total) for step in range(total)]
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
