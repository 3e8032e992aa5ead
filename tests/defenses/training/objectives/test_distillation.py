import pytest
import torch
from all_objectives import grads_of, loss_of, net_of, rows_of, twin
from torch import nn
from torch.nn import functional

from saddlepoint.defenses.training import DefensiveDistillation, Distillation
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError


@pytest.fixture
def pair():
    """A teacher in training mode, with dropout, whose running statistics are not those of any batch; and a student."""
    teacher = net_of(dtype=torch.float64, seed=5).train()
    with torch.no_grad():
        teacher[2].running_var.fill_(2.0)
    return teacher, net_of(dropout=0.0, dtype=torch.float64).eval()


@pytest.mark.parametrize(("t", "w"), [(1.0, 0.5), (4.0, 0.9), (20.0, 0.0), (20.0, 1.0)])
def test_the_loss_as_the_paper_writes_it(pair, t, w):
    teacher, net = pair
    x, y = rows_of(dtype=torch.float64)
    loss = loss_of(Distillation(teacher=teacher, temperature=t, weight=w), net, x, y)
    asked = twin(teacher).eval()
    p, q = (asked(x) / t).softmax(1).detach(), (net(x) / t).softmax(1)
    known = (1 - w) * functional.cross_entropy(net(x), y) + w * t**2 * (p * (p / q).log()).sum(1).mean()
    assert loss.item() == pytest.approx(known.item(), rel=1e-9)
    for one, two in zip(grads_of(loss, net), grads_of(known, net), strict=True):
        assert torch.allclose(one, two, atol=1e-10)


def test_the_soft_gradient_keeps_its_size_at_any_temperature(pair):
    teacher, net = pair
    x, y = rows_of(dtype=torch.float64)
    taught, z = twin(teacher).eval()(x).detach(), net(x).detach().requires_grad_()
    given = nn.Identity()
    given.forward = lambda inputs: z
    loss = loss_of(Distillation(teacher=teacher, temperature=1e4, weight=1.0), given, x, y)
    # Section 2.1: at a high T the gradient of each row tends to (z - z_teacher) / k, both centred.
    centred = (z - z.mean(1, keepdim=True)) - (taught - taught.mean(1, keepdim=True))
    assert torch.allclose(torch.autograd.grad(loss, z)[0], centred.detach() / 3 / 8, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("made", [Distillation, DefensiveDistillation])
def test_the_teacher_is_left_alone(pair, made):
    teacher, net = pair
    x, y = rows_of(dtype=torch.float64)
    teacher[2].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    generator = torch.get_rng_state()
    losses = [loss_of(made(teacher=teacher, temperature=3.0), net, x, y) for _ in range(2)]
    losses[0].backward()
    assert torch.equal(*losses)  # no dropout
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(part.training for part in teacher.modules())
    assert [p.requires_grad for p in teacher.parameters()] == [True, True, False, True, True, True]
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("made", [Distillation, DefensiveDistillation])
def test_a_teacher_of_other_classes_is_refused(made):
    x, y = rows_of()
    with pytest.raises(ModelError, match="the teacher has 4 classes, the student 3"):
        loss_of(made(teacher=net_of(k=4)), net_of(), x, y)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("made", [Distillation, DefensiveDistillation])
def test_settings_that_mean_nothing_are_refused(made):
    with pytest.raises(ArgumentTypeError, match="teacher is str; it must be a trained nn.Module"):
        made(teacher="net")
    with pytest.raises(SettingError, match="temperature=0 must be positive"):
        made(teacher=net_of(), temperature=0)


def test_a_weight_outside_the_mixture_is_refused():
    with pytest.raises(SettingError, match=r"weight=1.5 must lie in \[0, 1\]: the weight of the teacher's labels"):
        Distillation(teacher=net_of(), weight=1.5)
