"""What users get wrong, line by line: each is told in one line that names the value, the rule and the remedy.

Where files are involved, nothing is lost. What is only odd (another precision, strides, a gradient) is taken.
"""

import pickle
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.attacks import BIM, FGSM, ILLC, PGD
from saddlepoint.cli.main import main
from saddlepoint.errors import (
    ArgumentTypeError,
    DataError,
    InputError,
    ModelError,
    RadiusError,
    RecordError,
    SettingError,
    SpecError,
    WeightsError,
)
from saddlepoint.models import SmallCNN, load_weights, save_weights
from saddlepoint.testing import LinearModel, NaNModel

pytestmark = pytest.mark.usefixtures("unchecked")  # as for a user: types are not checked at run time

ATTACK = PGD(ball=sp.Linf(0.1), steps=3)
WRAP = "saddlepoint.Classifier(model, bounds=(0, 1))"


@contextmanager
def refused(error, *parts):
    """The error is one line that holds these parts, in this order: the value, the rule, the remedy."""
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    assert "\n" not in message
    places = [message.find(part) for part in parts]
    assert min(places) >= 0, message
    assert places == sorted(places), message


@pytest.fixture
def model():
    return sp.Classifier(LinearModel(torch.randn(3, 12, generator=torch.Generator().manual_seed(0))))


@pytest.fixture
def x():
    return torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def y(model, x):
    return model.predict(x)


def evaluate(model, data, **settings):
    return sp.evaluate(model, data, **{"ball": sp.Linf(0.1), "attacks": ["fgsm"], **settings})


def findings(model, data, **settings):
    return {finding.title: finding for finding in evaluate(model, data, **settings).findings}


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Inputs


@pytest.mark.parametrize("by", [2e-6, 1.0, float("inf")])
def test_inputs_outside_the_bounds(model, x, y, by):
    for end, far in ((1.0, by), (0.0, -by)):
        outside = x.clone()
        outside[2, 1, 1] = end + far
        with refused(InputError, "inputs range from", "the bounds are [0, 1]", "give Classifier the bounds of your"):
            ATTACK(model, outside, y)
        with refused(DataError, "x runs from", "lie in bounds=(0, 1)", "Give the bounds of your inputs"):
            evaluate(model, (outside, y))


def test_inputs_outside_the_bounds_by_rounding_are_clamped(model, x, y):
    over = x.clone()
    over[0, 0] = torch.tensor([1 + 5e-7, 1 + 9e-7, -5e-7, -9e-7])
    kept = over.clone()
    wanted = ATTACK(model, over.clamp(0, 1), y)
    assert torch.equal(ATTACK(model, over, y).x, wanted.x)
    assert torch.equal(over, kept)
    assert sp.Dataset(over, y, classes=("a", "b", "c"), name="toy").x.aminmax() == over.clamp(0, 1).aminmax()
    evaluate(model, (over, y))
    evaluate(sp.Classifier(model.module, bounds=(0.0, 1 - 5e-7)), sp.Dataset(over, y, ("a", "b", "c"), "toy"))


def test_inputs_that_hold_nan(model, x, y):
    x[3, 0, 0] = torch.nan
    with refused(InputError, "range from nan", "the bounds are [0, 1]", "leave out the rows that hold NaN"):
        ATTACK(model, x, y)
    with refused(DataError, "x runs from nan", "it must be finite", "Give the bounds"):
        evaluate(model, (x, y))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.bool, torch.complex64]
)
def test_inputs_of_another_type(model, x, y, dtype):
    other = (x * 255).to(dtype)
    with refused(InputError, f"x is {dtype}", "must be a dense float32 or float64 tensor", "x.float() / 255"):
        ATTACK(model, other, y)
    remedy = "x.float() / 255" if dtype is torch.uint8 else "torch.as_tensor(x, dtype=torch.float32)"
    with refused(DataError, f"x is {dtype}", "must be a tensor of torch.float32", remedy):
        evaluate(model, (other, y))


@pytest.mark.parametrize("make", [np.asarray, torch.Tensor.tolist, lambda x: None, lambda x: "x"])
def test_inputs_that_are_no_tensor(model, x, y, make):
    other = make(x)
    with refused(InputError, f"x is {type(other).__name__}", "must be a dense float32 or float64 tensor"):
        ATTACK(model, other, y)
    with refused(DataError, "data must be a Dataset, a pair of tensors", f"got {type(other).__name__}"):
        evaluate(model, (other, y))


def test_inputs_that_are_sparse(model, x, y):
    with refused(InputError, "torch.sparse_coo", "must be a dense"):
        ATTACK(model, x.to_sparse(), y)
    with refused(DataError, "x is no dense tensor of torch.float32", "must be a tensor of torch.float32"):
        evaluate(model, (x.to_sparse(), y))


@pytest.mark.parametrize("shape", [(), (6,), (6, 0), (6, 0, 3)])
def test_inputs_that_are_no_batch_of_features(model, y, shape):
    with refused(InputError, f"x has shape {shape}", "must be a batch (n, *f) with at least one feature axis"):
        ATTACK(model, torch.zeros(shape), y)
    with pytest.raises(DataError, match=r"must be \(n, \*f\): rows first|a pair of tensors"):
        evaluate(model, (torch.zeros(shape), y))


def test_no_rows(model, x, y):
    assert ATTACK(model, x[:0], y[:0]).x.shape == (0, 3, 4)
    with refused(DataError, "data has no rows", "give at least one"):
        evaluate(model, (x[:0], y[:0]))


def test_inputs_on_another_device(model, x, y):
    with refused(InputError, "x is on meta", "the model on cpu", "x.to('cpu')"):
        ATTACK(model, x.to("meta"), y)
    with refused(InputError, "y is on meta", "x on cpu", "y.to('cpu')"):
        ATTACK(model, x, y.to("meta"))
    with refused(DataError, "the batches of data cannot be joined", "meta"):
        evaluate(model, (x.to("meta"), y))
    with refused(SettingError, "device=cuda but the module's parameters are on cpu", "module.to('cuda')"):
        sp.Classifier(model.module, device="cuda")


def test_inputs_of_another_precision_are_taken(model, x, y):
    wide = ATTACK(model, x.double(), y)
    assert wide.x.dtype == torch.float64
    assert torch.equal(wide.success, ATTACK(model, x, y).success)
    with refused(DataError, "x is torch.float64", "must be a tensor of torch.float32", "dtype=torch.float32"):
        evaluate(model, (x.double(), y))


def test_inputs_with_other_strides_or_a_gradient_are_taken(model, x, y):
    wanted, known = ATTACK(model, x, y), evaluate(model, (x, y)).robust_accuracy
    turned, leaf = x.transpose(1, 2).contiguous().transpose(1, 2), x.clone().requires_grad_()
    assert not turned.is_contiguous()
    for other in (turned, leaf):
        assert torch.equal(ATTACK(model, other, y).x, wanted.x)
        assert evaluate(model, (other, y)).robust_accuracy == known
    assert leaf.requires_grad
    assert leaf.grad is None


@pytest.mark.parametrize(
    "bounds", [(1, 0), (0, 0), (0, float("inf")), (float("nan"), 1), ("a", "b"), (0,), "01", None, {0, 1}]
)
def test_bounds_that_are_none(model, x, y, bounds):
    with refused(SettingError, "bounds=", "must be a pair of finite numbers", "(0, 1)"):
        sp.Classifier(model.module, bounds=bounds)
    with refused(DataError, "bounds=", "must be finite with lower < upper", "(0, 1)"):
        sp.Dataset(x, y, classes=("a", "b", "c"), name="toy", bounds=bounds)


def test_normalisation_that_is_none(model):
    for given in ("a", [[1], [2, 3]], torch.zeros(3, 4), object()):
        with refused(SettingError, "mean=", "must be one number, or one per channel"):
            sp.Classifier(model.module, mean=given)
    with refused(SettingError, "mean=nan", "must be finite in every channel"):
        sp.Classifier(model.module, mean=float("nan"))
    for given in (0.0, [1.0, 0.0, 1.0], float("inf")):
        with refused(SettingError, "std=", "must be positive and finite in every channel"):
            sp.Classifier(model.module, std=given)
    with refused(InputError, "mean has 2 channels, the inputs have shape (6, 3, 4)", "axis 1 must be the channels"):
        ATTACK(sp.Classifier(model.module, mean=[0, 0]), torch.rand(6, 3, 4), None)


# Labels and targets


@pytest.mark.parametrize("by", [3, -3])
def test_labels_outside_the_classes(model, x, y, by):
    for name, labels in (("y", {"y": y + by}), ("target", {"y": y, "target": y + by})):
        with refused(InputError, f"{name} holds class", "the model has classes 0 to 2"):
            ATTACK(model, x, **labels)
        for attack in (PGD(ball=sp.Linf(0.1), steps=0, keep=sp.Keep.LAST), BIM(ball=sp.Linf(0.1), steps=0)):  # no look
            with refused(InputError, f"{name} holds class", "the model has classes 0 to 2"):
                attack(model, x, **labels, limits=sp.Limits(forwards=0))
    with pytest.raises(DataError, match=r"run up to class [345], model has classes 0 to 2; give rows|y runs from -"):
        evaluate(model, (x, y + by))


def test_labels_of_absurd_size(model, x, y):
    with refused(DataError, f"y runs up to {2**62}", "class indices must lie in [0, 99999]"):
        evaluate(model, (x, y + 2**62 - y[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_labels_of_another_type(model, x, y, dtype):
    with refused(InputError, f"y is {dtype}", "must be an integer tensor of class indices, one per row"):
        ATTACK(model, x, y.to(dtype))
    with refused(
        DataError, f"y is {dtype}", "must be a tensor of torch.int64", "torch.as_tensor(y, dtype=torch.int64)"
    ):
        evaluate(model, (x, y.to(dtype)))


def test_labels_that_are_no_dense_tensor(model, x, y):
    for other in (y.tolist(), y.numpy(), 1, "1", y.to_sparse()):
        with refused(InputError, "y is ", "must be an integer tensor of class indices"):
            ATTACK(model, x, other)
        with pytest.raises(DataError, match="a pair of tensors|y is no dense tensor"):
            evaluate(model, (x, other))


def test_labels_that_are_one_hot(model, x, y):
    hot = nn.functional.one_hot(y, 3)
    with refused(
        InputError, "y has shape (6, 3)", "must be (6,): one class index per row", "for one-hot rows y.argmax(1)"
    ):
        ATTACK(model, x, hot)
    with refused(DataError, "a pair of tensors (x, y) with y (n,)", "(6, 3)", "for one-hot rows give y.argmax(1)"):
        evaluate(model, (x, hot))


def test_inputs_and_labels_of_different_length(model, x, y):
    with refused(InputError, "y has shape (4,)", "must be (6,): one class index per row of x"):
        ATTACK(model, x, y[:4])
    with refused(DataError, "y has shape (4,), x has 6 rows", "must be (6,): one value per row"):
        evaluate(model, (x, y[:4]))


def test_targets_that_are_the_label_are_no_success(model, x, y):
    label = int(y.mode().values)
    run = evaluate(model, (x, y), ball=sp.Linf(0.5), target=str(label))
    letters = run.record.models[0].threats[0].verdicts
    assert {letter for letter, same in zip(letters, (y == label).tolist(), strict=True) if same} == {"H"}


@pytest.mark.parametrize("target", ["3", "-1", "ten", "", "²", "1" * 5000])
def test_targets_that_are_no_class(model, x, y, target):
    with refused(SpecError, "target='", "must be none, least-likely, random, or a class of the model, 0 to 2"):
        evaluate(model, (x, y), target=target)


@pytest.mark.parametrize("target", [1, None, torch.tensor([1])])
def test_targets_that_are_no_text(model, x, y, target):
    with refused(ArgumentTypeError, "target=", "must be text: 'none', 'least-likely', 'random' or '3'"):
        evaluate(model, (x, y), target=target)


def test_data_that_are_none(model, x, y):
    for data in (5, None, x, "mnist10k:test", (x, y, y), []):
        with pytest.raises(DataError, match=r"must be a Dataset, a pair") as caught:
            evaluate(model, data)
        assert "\n" not in str(caught.value)
    with refused(DataError, "the batches of data cannot be joined", "give rows of one kind"):
        evaluate(model, [(x, y), (x[:, :2], y)])


# Models


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(3)], ids=str)
def test_a_model_in_training_mode_whose_output_depends_on_it(model, x, y, layer):
    module = nn.Sequential(model.module, layer).train()
    with torch.no_grad():
        y = module.eval()(x).argmax(1)
    known = evaluate(sp.Classifier(module), (x, y)).record.models[0].threats[0].verdicts
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    run = evaluate(sp.Classifier(module), (x, y))
    told = {finding.title: finding for finding in run.findings}["The model was given in training mode"]
    assert (told.level, told.model) == ("warning", "model")
    assert "6 inputs" in told.evidence
    assert "evaluation mode is what is attacked and judged, and every flag is set back" in told.consequence
    assert "model.eval()" in told.remedy
    assert run.record.models[0].threats[0].verdicts == known
    assert all(part.training for part in module.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_model_in_training_mode_whose_output_does_not_depend_on_it(model, x, y):
    assert model.module.training
    assert set(findings(model, (x, y))) == {"Few rows"}


@pytest.mark.parametrize(("layer", "what"), [(nn.Softmax(1), "probabilities"), (nn.LogSoftmax(1), "log-probabilities")])
def test_outputs_that_are_no_logits(model, x, y, layer, what):
    told = findings(sp.Classifier(nn.Sequential(model.module, layer)), (x, y))[f"The outputs look like {what}"]
    assert told.level == "warning"
    assert "6 inputs" in told.evidence
    assert told.remedy.startswith("Return logits (leave out the last ")


def test_a_model_that_returns_nan_for_some_rows(model, x, y):
    module = NaNModel(model.module, lambda inputs: (inputs.flatten(1)[:, None] == x[[1, 4]].flatten(1)).all(2).any(1))
    run = evaluate(sp.Classifier(module), (x, y))
    assert [i for i, letter in enumerate(run.record.models[0].threats[0].verdicts) if letter == "U"] == [1, 4]
    told = {finding.title: finding for finding in run.findings}["Undefined rows"]
    assert told.level == "error"
    assert told.evidence.startswith("2 rows under fgsm")
    assert "find out where the model returns NaN" in told.remedy
    result = FGSM(ball=sp.Linf(0.1))(sp.Classifier(module), x, y)
    assert result.undefined[[1, 4]].tolist() == (~result.success[[1, 4]]).tolist()
    assert not result.undefined[[0, 2, 3, 5]].any()


def test_inputs_with_another_number_of_channels(y):
    net = sp.Classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)))
    parts = ("failed on inputs of shape (6, 1, 8, 8)", "RuntimeError", "expected input[6, 1, 8, 8]", "give inputs of")
    for attempt in (lambda x: ATTACK(net, x, y), lambda x: evaluate(net, (x, y))):
        with refused(ModelError, *parts) as caught:
            attempt(torch.rand(6, 1, 8, 8))
        assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_model_that_fails_on_the_way_back(x, y):
    class Oneway(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.flatten(1)[:, :3]

    with refused(ModelError, "failed on inputs of shape (6, 3, 4)", "NotImplementedError") as caught:
        ATTACK(sp.Classifier(Oneway.apply), x, y)
    assert isinstance(caught.value.__cause__, NotImplementedError)


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (lambda x: None, "returned NoneType; it must return a float tensor of logits (n, k)"),
        (lambda x: (x.flatten(1),), "returned tuple; it must return a float tensor of logits (n, k)"),
        (lambda x: x.flatten(1).long(), "returned Tensor of torch.int64; it must return a float tensor"),
        (lambda x: x.flatten(1).to_sparse(), "returned Tensor of torch.float32; it must return a float tensor"),
        (lambda x: x, "returned shape (6, 3, 4) for 6 inputs; it must be (n, k): one row of logits per input"),
        (lambda x: x[:2].flatten(1), "returned shape (2, 12) for 6 inputs; it must be (n, k)"),
        (lambda x: x.flatten(1)[:, :0], "returned shape (6, 0) for 6 inputs; it must be (n, k)"),
    ],
)
def test_a_model_that_returns_something_else(x, y, output, what):
    for attempt in (ATTACK, lambda model, x, y: evaluate(model, (x, y))):
        with refused(ModelError, what):
            attempt(sp.Classifier(output), x, y)


def test_a_model_that_changes_its_input(x, y):
    before = x.clone()
    net = sp.Classifier(lambda x: x.sub_(0.5).flatten(1))
    with refused(ModelError, "changes its input in place", "write x = x - mean"):
        evaluate(net, (x, y))
    with refused(ModelError, "in-place operation"):
        ATTACK(net, x, y)
    assert torch.equal(x, before)


def test_a_model_without_all_its_parameters():
    with refused(ModelError, "has parameters without a shape yet", "call it once on a batch"):
        sp.Classifier(nn.LazyLinear(3))


def test_a_model_that_is_not_wrapped(model, x, y):
    for other in (model.module, None, "zoo:mnist-pgd"):
        with refused(ArgumentTypeError, f"model is {type(other).__name__}", "wrap it", WRAP):
            ATTACK(other, x, y)
        with refused(ArgumentTypeError, f"model is {type(other).__name__}", "wrap it", WRAP):
            evaluate(other, (x, y))
    with refused(ArgumentTypeError, "a model must be an nn.Module or a function of a batch, got NoneType"):
        sp.Classifier(None)


# Radii and settings


@pytest.mark.parametrize("ball", [sp.Linf, sp.L2, sp.L1])
@pytest.mark.parametrize("eps", [-0.1, float("nan"), True, "0.1", None, 10**400, 1 + 2j, np.float32(0.1), [0.1]])
def test_eps_that_is_no_number_of_at_least_zero(ball, eps):
    with refused(RadiusError, "eps=", "must be a number >= 0, or a float tensor with one per row"):
        ball(eps)


def test_eps_of_absurd_size_is_not_written_out():
    with refused(RadiusError, "eps=a huge int", "must be a number >= 0"):
        sp.Linf(10**5000)


@pytest.mark.parametrize(("ball", "widest"), [(sp.Linf, "1"), (sp.L2, "3.4641"), (sp.L1, "12")])
def test_eps_larger_than_any_distance_in_the_box(model, x, y, ball, widest):
    parts = ("eps=16", f"must lie in [0, {widest}]", "the largest", "did you mean 0.06275, that is 16/255?")
    for attempt in (lambda: FGSM(ball=ball(16))(model, x, y), lambda: evaluate(model, (x, y), ball=ball(16))):
        with refused(RadiusError, *parts):
            attempt()


def test_one_eps_per_row_without_explicit_steps(model, x, y):
    ball = sp.Linf(torch.full((6,), 0.1))
    for attack in (BIM(ball=ball), ILLC(ball=ball)):
        with refused(SettingError, "steps=None", "with one eps per row give steps="):
            attack(model, x, y)
    assert BIM(ball=ball, steps=2)(model, x, y).success.shape == (6,)


def test_one_eps_per_row_of_another_shape(model, x, y):
    for eps in (torch.tensor(0.1), torch.full((6, 1), 0.1), torch.tensor([1, 2]), torch.full((6,), 0.1).to_sparse()):
        with refused(
            RadiusError, "per-row eps must be a dense float tensor (n,), got", "give float(eps) for one radius"
        ):
            sp.Linf(eps)
    with refused(RadiusError, "eps has 4 entries, the batch 6 rows", "give one eps, or one per row"):
        FGSM(ball=sp.Linf(torch.full((4,), 0.1)))(model, x, y)
    with refused(SettingError, "needs one eps for each ball", "give several balls for several radii"):
        evaluate(model, (x, y), ball=sp.Linf(torch.full((6,), 0.1)))


@pytest.mark.parametrize("ball", [None, 0.1, "linf", sp.Linf, [None], [0.1]])
def test_a_ball_that_is_none(model, x, y, ball):
    with refused(ArgumentTypeError, "ball=", "must be a ball with its radius, such as saddlepoint.Linf(8 / 255)"):
        evaluate(model, (x, y), ball=ball)
    with refused(ArgumentTypeError, "ball=", "must be a ball with its radius, such as saddlepoint.Linf(8 / 255)"):
        PGD(ball=ball)(model, x, y)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"loss": "margin"}, "loss='margin' must be a function"),
        ({"keep": "last"}, "keep='last' must be a saddlepoint.Keep"),
        ({"steps": "3"}, "steps='3' must be an integer >= 0"),
        ({"step_size": "0.1"}, "step_size='0.1' must be finite and >= 0"),
        ({"step_size": 10**5000}, "step_size=a huge int must be finite and >= 0"),
    ],
)
def test_settings_of_an_attack_of_another_kind(model, x, y, settings, what):
    with pytest.raises((ArgumentTypeError, SettingError)) as caught:
        PGD(ball=sp.Linf(0.1), **settings)(model, x, y)
    assert str(caught.value).startswith(what)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"forwards": -1}, "forwards=-1 must be a number >= 0; leave it out for no limit"),
        ({"backwards": "9"}, "backwards='9' must be a number >= 0"),
        ({"forwards": torch.tensor([1.0, torch.nan])}, "must be one number >= 0 for each row (n,), none of them NaN"),
        ({"seconds": torch.ones(6)}, "must be a number >= 0"),
        ({"seconds": 10**5000}, "seconds=a huge int must be a number >= 0"),
        ({"shrink_at": None}, "shrink_at=None must lie in [0, 1]"),
        ({"check_every": 0.5}, "check_every=0.5 must be an integer >= 1"),
    ],
)
def test_a_budget_that_is_none(settings, what):
    with refused(SettingError, what):
        sp.Limits(**settings)


def test_a_budget_of_other_rows(model, x, y):
    with refused(SettingError, "forwards has shape (2,)", "must be one number, or one per row of x: (6,)"):
        ATTACK(model, x, y, limits=sp.Limits(forwards=torch.ones(2)))
    with refused(SettingError, "needs one budget for all rows", "give numbers in Limits"):
        evaluate(model, (x, y), limits=sp.Limits(forwards=torch.ones(6)))


@pytest.mark.parametrize(
    ("settings", "error", "what"),
    [
        ({"attacks": "fgsm"}, ArgumentTypeError, "attacks='fgsm' must be a list of names or attacks"),
        ({"attacks": 7}, ArgumentTypeError, "attacks=7 must be a list of names or attacks"),
        ({"attacks": ATTACK}, ArgumentTypeError, "must be a list of names or attacks"),
        ({"attacks": [PGD]}, ArgumentTypeError, "or an attack with its ball, such as PGD(ball=Linf(8 / 255))"),
        ({"attacks": [None]}, ArgumentTypeError, "attack None must be a name"),
        ({"attacks": [lambda model, x, y: x]}, ArgumentTypeError, "a function goes into attacks.FromCallable"),
        ({"attacks": []}, SettingError, "needs at least one model, one attack and one ball"),
        ({"ball": []}, SettingError, "needs at least one model, one attack and one ball"),
        ({"batch_size": 0}, SettingError, "batch_size=0 must be >= 1, an integer, or None"),
        ({"batch_size": 2.5}, SettingError, "batch_size=2.5 must be >= 1, an integer, or None"),
        ({"seed": 1.5}, SettingError, "seed=1.5 must be an integer"),
        ({"seed": 10**5000}, SettingError, "seed=a huge int must be an integer, of at most 4096 bits"),
        ({"limits": 3}, ArgumentTypeError, "limits=3 must be a budget, such as saddlepoint.Limits(forwards=100)"),
        ({"progress": 3}, ArgumentTypeError, "progress=3 must be a function"),
        ({"command": 3}, ArgumentTypeError, "command=3 must be text: what reproduces the run"),
        ({"ball": sp.Linf(float("inf"))}, SettingError, "has no border, and fgsm cannot do without; give a finite eps"),
    ],
)
def test_an_evaluation_of_something_else(model, x, y, settings, error, what):
    with refused(error, what):
        evaluate(model, (x, y), **settings)


# Names


def test_names_that_are_no_text(model, x, y, tmp_path):
    odd = "caf\udce9"  # a file name in another encoding
    for name, classes in ((odd, ("a", "b", "c")), (3, ("a", "b", "c")), ("toy", ("a", "b", odd)), ("toy", (0, 1, 2))):
        with refused(DataError, "=", "that can be written as UTF-8"):
            sp.Dataset(x, y, classes=classes, name=name)
    for name in (odd, "", 1):
        with refused(ArgumentTypeError, "must have names, as text that is not empty"):
            evaluate({name: model}, (x, y))
    run = evaluate(model, (x, y), out=tmp_path / odd, command=f"saddlepoint evaluate --out {odd}")
    assert run.record.command == "saddlepoint evaluate --out caf\\udce9"
    assert (tmp_path / odd / "run.json").exists()


@pytest.mark.parametrize(
    "words", [("--batch-size", "9" * 5000), ("--shard", f"1/{'9' * 5000}"), ("--target", "9" * 5000)]
)
def test_numbers_of_absurd_length(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rest = ["evaluate", "zoo:mnist-standard", "mnist10k:test", "--rows", "1", "--eps", "0.1", "--out", "run"]
    monkeypatch.setattr(sys, "argv", ["saddlepoint", *rest, *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert len(said.err) < 250
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "what", "near"),
    [
        (
            ["evaluate", "zoo:mnist-pgdd", "mnist10k:test", "--eps", "0.1"],
            "unknown zoo model 'mnist-pgdd'",
            "mnist-pgd",
        ),
        (
            ["evaluate", "zo:mnist-pgd", "mnist10k:test", "--eps", "0.1"],
            "unknown model 'zo:mnist-pgd'",
            "zoo:mnist-pgd",
        ),
        (["evaluate", "zoo:mnist-pgd", "mnist10:test", "--eps", "0.1"], "unknown data set 'mnist10'", "mnist10k"),
        (["evaluate", "zoo:mnist-pgd", "mnist10k:tst", "--eps", "0.1"], "unknown split of 'mnist10k' 'tst'", "test"),
        (
            ["evaluate", "zoo:mnist-pgd", "mnist10k:test", "--eps", "0.1", "--norm", "linff"],
            "unknown norm 'linff'",
            "linf",
        ),
        (
            ["evaluate", "zoo:mnist-pgd", "mnist10k:test", "--eps", "0.1", "--attacks", "pgdd"],
            "unknown attack 'pgdd'",
            "pgd",
        ),
        (["train", "standart", "--out", "net.safetensors"], "unknown recipe 'standart'", "standard"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_an_unknown_name_is_answered_with_the_nearest(words, what, near, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["saddlepoint", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(f"error {what}; did you mean ")
    assert repr(near) in said.err
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_text():
    with refused(ArgumentTypeError, "model None must be text", "zoo:NAME"):
        sp.load_model(None)
    with refused(ArgumentTypeError, "data 3 must be text", "mnist10k:train"):
        sp.load_data(3)


# Files of weights


@pytest.fixture
def saved(tmp_path):
    """A net, and the file that it was saved to."""
    net = SmallCNN(size=4)
    save_weights(net, tmp_path / "net.safetensors")
    return net, tmp_path / "net.safetensors"


@contextmanager
def untouched(module, folder):
    """Neither the module nor any file changes."""
    files, state = content(folder), {name: tensor.clone() for name, tensor in module.state_dict().items()}
    yield
    assert content(folder) == files
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


class Trap:
    """Unpickling this would change a file."""

    def __reduce__(self):
        return exec, ("open('trapped', 'w').write('!')",)


@pytest.mark.parametrize(
    "write", [lambda path: path.write_bytes(pickle.dumps(Trap())), lambda path: torch.save(Trap(), path)]
)
def test_weights_that_are_a_pickle(saved, tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "net.pt")
    parts = ("net.pt' look like a pickle", "only safetensors are read", "Convert it where you trust it")
    with untouched(saved[0], tmp_path), refused(WeightsError, *parts):
        load_weights(saved[0], tmp_path / "net.pt")


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_weights_that_are_truncated(saved, tmp_path, size):
    net, path = saved
    path.write_bytes(path.read_bytes()[:size])
    with untouched(net, tmp_path), refused(WeightsError, "are no complete safetensors file", "save or fetch it again"):
        load_weights(net, path)


def test_weights_of_another_architecture(saved, tmp_path):
    for module, what in ((SmallCNN(size=8), "shape layers.5.weight"), (nn.Linear(2, 2), "missing bias, weight")):
        parts = (f"do not fit {type(module).__name__}", what, "Give the file that was saved from this architecture")
        with untouched(module, tmp_path), refused(WeightsError, *parts):
            load_weights(module, saved[1])


def test_weights_with_another_hash(saved, tmp_path):
    parts = ("have sha256 ", f"expected {'0' * 64}", "fetch or install it again")
    with untouched(saved[0], tmp_path), refused(WeightsError, *parts):
        load_weights(saved[0], saved[1], "0" * 64)


@pytest.mark.parametrize("path", ["no.safetensors", "", "\0", "a" * 5000, 3, None])
def test_weights_that_are_no_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(WeightsError, "cannot be read", "give the path of a .safetensors file"):
        load_weights(nn.Linear(2, 2), path)


# Folders of runs


def test_a_folder_of_another_run(model, x, y, tmp_path):
    evaluate(model, (x, y), out=tmp_path)
    before = content(tmp_path)
    for change, what in (({"seed": 1}, "--seed"), ({"attacks": ["pgd"]}, "--attacks"), ({"target": "1"}, "--target")):
        parts = (f"the folder {tmp_path.name!r} holds another run", f"differs in {what}: ", "give another --out")
        with refused(RecordError, *parts):
            evaluate(model, (x, y), out=tmp_path, **change)
        assert content(tmp_path) == before


def test_a_folder_of_other_things(model, x, y, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with refused(RecordError, "holds files that are no run", "give --out a new or empty folder"):
        evaluate(model, (x, y), out=tmp_path)
    with refused(RecordError, "'thesis.tex' is a file", "give --out a folder"):
        evaluate(model, (x, y), out=tmp_path / "thesis.tex")
    assert content(tmp_path) == {(tmp_path / "thesis.tex").relative_to(tmp_path): b"precious"}


@pytest.mark.parametrize("out", ["\0", "a" * 5000, 3, b"out"])
def test_a_folder_that_cannot_be_one(model, x, y, out):
    forwards = model.meter.forwards
    error = RecordError if isinstance(out, str) else ArgumentTypeError
    with pytest.raises(error, match="cannot be used: .*; give another --out|must be the path of a folder") as caught:
        evaluate(model, (x, y), out=out)
    assert len(str(caught.value)) < 300
    assert model.meter.forwards == forwards


HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
)


def test_a_folder_in_use_by_another_process(model, x, y, tmp_path):
    evaluate(model, (x, y), out=tmp_path)
    before = content(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        other.stdout.readline()
        parts = (f"the folder {tmp_path.name!r} is in use by another process", "wait for it, or give another --out")
        with refused(RecordError, *parts):
            evaluate(model, (x, y), out=tmp_path)
        other.stdin.close()
    assert content(tmp_path) == before
    evaluate(model, (x, y), out=tmp_path)


FULL = """
import resource, sys
import saddlepoint as sp
from saddlepoint.errors import RecordError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    sp.evaluate(sp.load_model("zoo:mnist-standard"), sp.load_data("mnist10k:test")[:60], ball=sp.Linf(0.2),
                attacks=["fgsm"], out=sys.argv[1])
except RecordError as error:
    print(error)
"""


def test_no_space_left(tmp_path):
    """The outcome of the clean rows fits under the limit, the points of the attack do not."""
    out = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", FULL, out, "20000"], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "an outcome cannot be written to 'run' (File too large); finished jobs are kept: "
        "make room and run the same command again\n"
    )
    assert done.stderr == ""
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()}
    assert {name.rpartition(".")[2] for name in kept} == {"json", "safetensors"}
    assert len(kept) == 2
    assert not (out / "run.json").exists()
    model, data = sp.load_model("zoo:mnist-standard"), sp.load_data("mnist10k:test")[:60]
    evaluate(model, data, ball=sp.Linf(0.2), out=out)
    assert {name: (out / "jobs" / name).stat().st_mtime_ns for name in kept} == kept
    assert (out / "run.json").exists()


def test_a_model_that_changed_between_start_and_resume(model, x, y, tmp_path):
    evaluate(model, (x, y), out=tmp_path)
    before = content(tmp_path)
    with torch.no_grad():
        model.module.weight[0, 0] += 0.01
    parts = ("the model model has changed since the run", "give another --out, or restore the model")
    with refused(RecordError, *parts):
        evaluate(model, (x, y), out=tmp_path)
    assert content(tmp_path) == before
