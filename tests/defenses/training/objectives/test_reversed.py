import math

import pytest
import torch
from all_objectives import loss_of, net_of, rows_of
from torch import nn
from torch.nn import functional

from saddlepoint.defenses.training import ReversedLabelCrossEntropy
from saddlepoint.models import Negated


def test_its_value_where_the_wrong_classes_are_alike_is_log_9():
    logits = torch.full((1, 10), -40.0)
    logits[0, 3] = 40.0  # of the classifier; Z = -logits
    loss = ReversedLabelCrossEntropy().loss(nn.Identity(), logits, logits, torch.tensor([3]))
    assert loss.item() == pytest.approx(math.log(9), abs=1e-5) == pytest.approx(2.19722, abs=1e-5)


def test_its_gradient_in_z_is_the_softmax_less_the_reversed_label():
    z = torch.randn(6, 10, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = torch.arange(6)
    loss = ReversedLabelCrossEntropy().loss(nn.Identity(), z, -z, y)
    reversed_label = (1 - functional.one_hot(y, 10).float()) / 9
    assert torch.allclose(torch.autograd.grad(loss, z)[0] * 6, z.softmax(1) - reversed_label, atol=1e-6)


def test_the_classifier_of_a_net_that_returns_z_ranks_the_classes_the_other_way_round():
    z = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    order = Negated(nn.Identity())(z).softmax(1).argsort(1)
    assert torch.equal(order, z.softmax(1).argsort(1).flip(1))


def test_with_two_classes_it_is_the_cross_entropy():
    x, y = rows_of(k=2)
    net = net_of(k=2, dropout=0.0).eval()
    loss = loss_of(ReversedLabelCrossEntropy(), net, x, y)
    assert torch.allclose(loss, functional.cross_entropy(net(x), y))


def test_it_is_finite_where_the_softmax_is_saturated():
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1e4, -1e4]], requires_grad=True)
    loss = ReversedLabelCrossEntropy().loss(nn.Identity(), logits, logits, torch.tensor([0, 0]))
    assert loss.isfinite()
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_it_teaches_the_label():
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    net = nn.Linear(2, 4)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        ReversedLabelCrossEntropy().loss(net, x, x, y).backward()
        optimizer.step()
    assert (net(x).argmax(1) == y).double().mean() > 0.9
