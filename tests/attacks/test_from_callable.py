"""Attacks of others: what they return is judged like ours, what they claim is not asked."""

import pytest
import torch
from torch.nn import functional

from saddlepoint import L2, Classifier, Keep, Linf
from saddlepoint.attacks import BIM, FGSM, FromCallable
from saddlepoint.errors import InputError
from saddlepoint.testing import LinearModel, contract


def foreign(ball, steps=4, size=None):
    """BIM as another library might write it; like many it never looks at its own result."""

    def attack(model, x, y):
        clean, found = x.clone(), x.clone()
        radius = ball.radius(x)
        for _ in range(steps):
            found.requires_grad_()
            (grad,) = torch.autograd.grad(functional.cross_entropy(model(found), y, reduction="sum"), found)
            grad = grad.nan_to_num(0, 0, 0)
            if ball.norm == "linf":
                found = found.detach() + radius * (size or 0.5) * grad.sign()
                found = found.clamp(clean - radius, clean + radius)
            else:
                norm = grad.flatten(1).norm(dim=1).view(-1, *[1] * (x.dim() - 1)).clamp_min(1e-12)
                delta = found.detach() + radius * (size or 0.5) * grad / norm - clean
                length = delta.flatten(1).norm(dim=1).view(-1, *[1] * (x.dim() - 1)).clamp_min(1e-12)
                found = clean + delta * (radius / length).clamp(max=1)
            found = found.clamp(0, 1)
        return found

    return attack


def rebuild(ball):
    return FromCallable(function=foreign(ball), ball=ball)


SKIP = {
    "limited": "limits are not enforced inside foreign code",
    "other_bounds": "this function knows only [0, 1]",
}
test_contract_linf = contract(rebuild(Linf(0.1)), within=1 - 1e-6, targeted=False, rebuild=rebuild, skip=SKIP)
test_contract_l2 = contract(rebuild(L2(0.4)), within=0.8, targeted=False, rebuild=rebuild, skip=SKIP)


@pytest.fixture
def model():
    return Classifier(LinearModel(torch.randn(3, 12, generator=torch.Generator().manual_seed(0))))


@pytest.fixture
def x():
    return torch.rand(7, 3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def y(model, x):
    return model.predict(x)


def test_same_steps_give_the_same_points_and_counts_as_ours(model, x, y):
    found = FromCallable(function=foreign(Linf(0.1)), ball=Linf(0.1))(model, x, y)
    wanted = BIM(ball=Linf(0.1), steps=4, step_size=0.05, keep=Keep.LAST)(model, x, y)
    torch.testing.assert_close(found.x, wanted.x, rtol=0, atol=1e-7)
    for name in ("success", "forwards", "backwards"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))


def test_passes_are_shared_out_over_the_rows(model, x, y):
    def uneven(module, x, y):
        module(x[:3])
        return x

    result = FromCallable(function=uneven, ball=Linf(0.1))(model, x, y)
    assert (result.forwards == 1).all()
    assert (result.backwards == 0).all()


def test_function_gets_a_module_in_evaluation_mode_and_copies(model, x, y):
    seen = {}

    def look(module, inputs, labels):
        seen.update(module=module, training=module.training, same=(inputs.data_ptr() == x.data_ptr()))
        seen["device"] = next(module.parameters()).device
        inputs.zero_()
        labels.zero_()
        module.eval()
        return x

    result = FromCallable(function=look, ball=Linf(0.1))(model, x, y)
    assert isinstance(seen["module"], torch.nn.Module)
    assert not seen["training"]
    assert not seen["same"]
    assert torch.equal(result.x, x)
    assert not result.success.any()
    assert (x != 0).any()


def test_function_of_a_batch_as_model(x):
    result = FromCallable(function=lambda module, x, y: x, ball=Linf(0.1))(
        Classifier(lambda x: x.flatten(1)), x, torch.zeros(7, dtype=torch.int64)
    )
    assert result.x.shape == x.shape


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda model, x, y: x + 0.2, "left the box by 0.1"),
        (lambda model, x, y: (x + 0.2).clamp(0, 1), "left the linf ball: a point is 0.2 away, eps is 0.1"),
        (lambda model, x, y: x[:3], r"returned torch.Size\(\[3, 3, 4\]\); it must return a tensor like x, \(7, 3, 4\)"),
        (lambda model, x, y: None, "returned NoneType"),
        (lambda model, x, y: x * torch.nan, "not finite"),
        (lambda model, x, y: (x, True), "returned tuple"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_points_that_break_the_rules_are_an_error_not_a_result(model, x, y, function, message):
    with pytest.raises(InputError, match=message):
        FromCallable(function=function, ball=Linf(0.1))(model, x, y)


def test_rounding_outside_the_ball_is_projected_away(model, x, y):
    result = FromCallable(function=lambda model, x, y: (x + 0.1 + 5e-7).clamp(0, 1), ball=Linf(0.1))(model, x, y)
    assert (result.distance <= 0.1 + 1e-7).all()


def test_point_of_another_precision_is_taken(model, x, y):
    result = FromCallable(function=lambda model, x, y: x.double(), ball=Linf(0.1))(model, x, y)
    assert result.x.dtype == torch.float32


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("name", ["y", "target"])
def test_a_class_that_the_model_does_not_have_is_refused_before_the_function_is_called(x, asked, name):
    model, called = Classifier(LinearModel(torch.ones(3, 12))), []
    y = model.predict(x) if asked else torch.zeros(7, dtype=torch.int64)
    before = model.meter.forwards
    attack = FromCallable(function=lambda *given: called.append(given), ball=Linf(0.1), targeted=name == "target")
    labels = {"y": y + 3, "target": None} if name == "y" else {"y": y, "target": y + 3}
    with pytest.raises(InputError, match=f"{name} holds class 3 to 3; the model has classes 0 to 2"):
        attack(model, x, labels["y"], target=labels["target"])
    assert called == []
    assert model.meter.forwards == before  # what it takes to know the classes is no part of the attack


def test_targets_are_passed_on_in_place_of_labels(model, x, y):
    target, given = (y + 1) % 3, []

    def note(model, x, labels):
        given.append(labels)
        return x

    attack = FromCallable(function=note, ball=Linf(0.1), targeted=True)
    result = attack(model, x, y, target=target)
    assert torch.equal(given[0], target)
    assert not result.success.any()
    wanted = FGSM(ball=Linf(0.1))(model, x, y, target=y)
    assert attack(model, x, y, target=y).success.all() == wanted.success.all()


@pytest.mark.parametrize("targeted", [True, False])
def test_targets_and_the_setting_must_agree(model, x, y, targeted):
    attack = FromCallable(function=lambda model, x, y: x, ball=Linf(0.1), targeted=targeted)
    with pytest.raises(InputError, match="the two must agree"):
        attack(model, x, y, target=None if targeted else y)


def test_under_no_grad_the_function_still_has_gradients(model, x, y):
    attack = FromCallable(function=foreign(Linf(0.1)), ball=Linf(0.1))
    with torch.no_grad():
        found = attack(model, x, y)
    assert torch.equal(found.x, attack(model, x, y).x)
    assert not found.x.requires_grad
