"""Transforms in front of a classifier: their values, what stands for their gradients, and what tells them apart."""

import pytest
import torch
from filters import Curve, Jitter, Levels, linear
from torch import nn

from saddlepoint import Classifier, Linf
from saddlepoint.attacks import PGD, DeepFool
from saddlepoint.balls import L2
from saddlepoint.bpda import bpda
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError

X = torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
UPSTREAM = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
Y = torch.tensor([0, 1, 2, 0, 1])


def gradient(function, upstream=UPSTREAM):
    x = X.clone().requires_grad_()
    return torch.autograd.grad(function(x), x, upstream)[0]


def test_the_value_is_that_of_the_forward_map_bit_for_bit():
    x = X.clone().requires_grad_()
    for backward in ("identity", torch.sigmoid, nn.Sigmoid()):
        assert torch.equal(bpda(torch.round, backward)(x), X.round())
        assert torch.equal(bpda(torch.round, backward)(X), X.round())


def test_under_identity_the_upstream_gradient_comes_back_unchanged():
    assert torch.equal(gradient(bpda(torch.round)), UPSTREAM)
    assert torch.equal(gradient(bpda(lambda x: x)), UPSTREAM)  # a map that gives its input back


def test_the_gradient_of_a_surrogate_is_taken_at_the_input():
    assert torch.equal(gradient(bpda(torch.round, lambda x: x**3)), gradient(lambda x: x**3))


def test_batched_cotangents_give_what_single_ones_give():
    x = X.clone().requires_grad_()
    for backward in ("identity", torch.sigmoid):
        y = bpda(torch.round, backward)(x)
        several = torch.stack([UPSTREAM, 2 * UPSTREAM, UPSTREAM**2])
        batched = torch.autograd.grad(y, x, several, retain_graph=True, is_grads_batched=True)[0]
        single = torch.stack([torch.autograd.grad(y, x, each, retain_graph=True)[0] for each in several])
        torch.testing.assert_close(batched, single)


def test_a_surrogate_of_another_shape_is_refused():
    with pytest.raises(SettingError, match=r"makes \(5, 12\) of \(5, 6\)"):
        gradient(bpda(lambda x: torch.cat([x, x], 1)))


def test_without_gradients_no_surrogate_is_computed():
    def never(_):
        raise AssertionError

    with torch.no_grad():
        assert torch.equal(bpda(torch.round, never)(X), X.round())


def input_gradient(model):
    x = X.clone().requires_grad_()
    return torch.autograd.grad(model.logits(x)[:, 0].sum(), x)[0]


def test_a_transform_goes_before_the_normalisation():
    model = Classifier(linear(), mean=0.3, std=0.5).prepend(Levels(3))
    torch.testing.assert_close(model.logits(X), linear()(((X * 2).round() / 2 - 0.3) / 0.5))
    assert isinstance(model.module, nn.Module)
    assert model.bounds == Classifier(linear()).bounds


def test_what_is_declared_is_the_gradient():
    weight = linear().weight[0].expand(5, 6)
    bare = Classifier(linear())
    assert torch.equal(input_gradient(bare.prepend(Levels(3))), weight)  # the identity
    assert torch.equal(input_gradient(bare.prepend(Curve())), weight * 2 * X)
    assert torch.equal(input_gradient(bare.prepend(Curve(), backward="identity")), weight)
    torch.testing.assert_close(input_gradient(bare.prepend(Curve(), backward=torch.exp)), weight * X.exp())
    torch.testing.assert_close(input_gradient(bare.prepend(nn.Tanh())), weight * (1 - X.tanh() ** 2))
    assert not input_gradient(bare.prepend(torch.round)).any()  # a plain function is taken at its word


def test_the_last_one_prepended_gets_the_input():
    model = Classifier(linear()).prepend(Levels(2)).prepend(lambda x: x + 0.3)
    assert torch.equal(model.logits(X), linear()((X + 0.3).round()))
    assert isinstance(model.transforms[1], Levels)
    assert len(model.transforms) == 2


def test_the_defended_model_is_another_one_and_knows_the_bare_one():
    bare = Classifier(linear())
    model = bare.prepend(Levels(2)).prepend(Levels(3))
    model.logits(X)
    assert (model.meter.forwards, bare.meter.forwards) == (5, 0)
    assert model.bare is bare
    assert bare.bare is bare
    assert bare.transforms == ()
    assert torch.equal(bare.logits(X), linear()(X))
    assert model.sampled(3).transforms == model.transforms


def test_frozen_reaches_the_transform_and_its_surrogate():
    filter_, surrogate = nn.Sequential(nn.Linear(6, 6), nn.Dropout()), nn.Linear(6, 6)
    model = Classifier(linear()).prepend(filter_, backward=surrogate)
    with model.frozen():
        assert not filter_[1].training
        assert not any(p.requires_grad for p in (*filter_.parameters(), *surrogate.parameters()))
    assert filter_[1].training
    assert all(p.requires_grad for p in (*filter_.parameters(), *surrogate.parameters()))


def test_what_differs_has_another_fingerprint():
    class Other(Levels):
        pass

    bare = Classifier(linear())
    models = [
        bare, bare.prepend(Levels(2)), bare.prepend(Levels(4)), bare.prepend(Other(2)),
        bare.prepend(Levels(2)).prepend(Levels(4)), bare.prepend(Levels(4)).prepend(Levels(2)),
        bare.prepend(Levels(2), backward="identity"), bare.prepend(linear(6, 6, seed=1)),
        bare.prepend(linear(6, 6, seed=2)), bare.prepend(nn.Hardtanh(0, 1)), bare.prepend(nn.Hardtanh(0, 0.5)),
        Classifier(linear(seed=1)).prepend(Levels(2)),
    ]  # fmt: skip
    assert len({model.fingerprint for model in models}) == len(models)
    assert bare.prepend(Levels(2)).fingerprint == Classifier(linear()).prepend(Levels(2)).fingerprint


def test_functions_last_for_one_process_only():
    bare = Classifier(linear())
    assert bare.prepend(Levels(2)).prepend(nn.Hardtanh()).lasting
    assert not bare.prepend(torch.round).lasting
    assert not bare.prepend(Levels(2), backward=torch.sigmoid).lasting
    assert not Classifier(lambda x: x).prepend(Levels(2)).lasting


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_transforms_see_the_precision_of_the_inputs(dtype):
    seen = []

    def watch(x):
        seen.append(x.dtype)
        return x

    x = X.double() if dtype is torch.float64 else X
    logits = Classifier(linear().to(dtype)).prepend(watch).logits(x)
    assert (seen, logits.dtype) == ([x.dtype], x.dtype)
    torch.testing.assert_close(logits, Classifier(linear().to(dtype)).logits(x), rtol=0, atol=0)


def test_attacks_go_through_what_they_cannot_differentiate():
    labels = linear()(X.round()).argmax(1)
    attack = PGD(ball=Linf(0.6))
    blind = attack(Classifier(linear()).prepend(torch.round), X, labels)
    model = Classifier(linear()).prepend(Levels(2))
    through = attack(model, X, labels)
    assert through.success.sum() > blind.success.sum()
    assert torch.equal(model.predict(through.x) != labels, through.success)
    assert DeepFool(ball=L2(2.0))(model, X, labels).success.any()  # several gradients of one pass


def test_a_function_can_be_defended():
    model = Classifier(lambda x: x[:, :3]).prepend(Levels(2))
    assert torch.equal(model.logits(X), X[:, :3].round())


@pytest.mark.parametrize("transform", ["median:2", 3, Levels])
@pytest.mark.usefixtures("unchecked")
def test_a_transform_must_be_callable(transform):
    with pytest.raises(ArgumentTypeError, match="must be a Transform, a module or a function"):
        Classifier(linear()).prepend(transform)


@pytest.mark.parametrize(("backward", "error"), [("nothing", SettingError), (3, ArgumentTypeError)])
@pytest.mark.usefixtures("unchecked")
def test_backward_must_be_a_map(backward, error):
    with pytest.raises(error, match="must be 'identity', a differentiable map, or None"):
        Classifier(linear()).prepend(Levels(2), backward=backward)


def test_other_bounds_are_refused():
    with pytest.raises(SettingError, match="give the transform those of the model"):
        Classifier(linear(), bounds=(-1, 1)).prepend(Levels(2))
    assert Classifier(linear(), bounds=(-1, 1)).prepend(Levels(2, bounds=(-1, 1))).transforms


def test_another_device_is_refused():
    with pytest.raises(SettingError, match="move it first"):
        Classifier(linear()).prepend(nn.Linear(6, 6, device="meta"))


def test_a_transform_must_keep_the_rows():
    with pytest.raises(ModelError, match="one row per input"):
        Classifier(linear()).prepend(lambda x: x[:2]).logits(X)


def test_random_is_what_a_transform_says():
    bare = Classifier(linear())
    assert bare.prepend(Jitter()).prepend(Levels(2)).random
    assert not bare.prepend(Levels(2)).random
    assert not bare.random
