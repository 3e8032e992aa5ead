import warnings

import pytest
import torch
from all_objectives import grads_of, loss_of, net_of, rows_of, twin
from torch import nn
from torch.nn import functional

from saddlepoint.data import load_data
from saddlepoint.defenses.training import DefensiveDistillation
from saddlepoint.errors import UniformLabelsWarning
from saddlepoint.models import load_model


@pytest.mark.parametrize("t", [1.0, 5.0, 100.0])
def test_the_loss_is_the_cross_entropy_of_soft_labels_at_the_same_temperature(t):
    x, y = rows_of(dtype=torch.float64)
    teacher, net = net_of(dtype=torch.float64, seed=5), net_of(dropout=0.0, dtype=torch.float64).eval()
    loss = loss_of(DefensiveDistillation(teacher=teacher, temperature=t), net, x, y)
    soft = (twin(teacher).eval()(x) / t).softmax(1).detach()
    known = functional.cross_entropy(net(x) / t, soft)
    assert loss.item() == pytest.approx(known.item(), rel=1e-12)
    assert torch.equal(
        loss, loss_of(DefensiveDistillation(teacher=teacher, temperature=t), net, x, 2 - y)
    )  # soft alone
    for one, two in zip(grads_of(loss, net), grads_of(known, net), strict=True):
        assert torch.allclose(one, two, atol=1e-12)


def test_the_teacher_itself_is_the_best_student():
    x, y = rows_of(dtype=torch.float64)
    teacher = net_of(dropout=0.0, dtype=torch.float64, seed=5).eval()
    student = twin(teacher)
    loss = loss_of(DefensiveDistillation(teacher=teacher, temperature=5.0), student, x, y)
    assert all(grad.abs().max() < 1e-12 for grad in grads_of(loss, student))


def test_uniform_labels_are_told():
    x, y = rows_of()
    teacher, net = net_of(seed=5), net_of()
    with pytest.warns(UniformLabelsWarning, match="temperature=100000 makes all of the teacher's labels uniform"):
        loss_of(DefensiveDistillation(teacher=teacher, temperature=1e5), net, x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss_of(DefensiveDistillation(teacher=teacher, temperature=10.0), net, x, y)


def test_a_student_at_temperature_one_has_gradients_of_exactly_zero_that_the_temperature_restores():
    data = load_data("mnist10k:test")[:200]
    net: nn.Module = load_model("zoo:mnist-standard").module

    def zeros(scale):
        x = data.x.clone().requires_grad_()
        logits = scale(net(x))
        right = logits.argmax(1) == data.y
        assert right.float().mean() > 0.9
        grad = torch.autograd.grad(functional.cross_entropy(logits, data.y, reduction="sum"), x)[0]
        return (grad[right].flatten(1) == 0).all(1).float().mean().item()

    assert zeros(lambda z: z) < 0.05
    assert zeros(lambda z: 100 * z) > 0.8
    assert zeros(lambda z: 100 * z / 100) < 0.05
