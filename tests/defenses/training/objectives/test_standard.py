import pytest
import torch
from all_objectives import grads_of, loss_of, net_of, rows_of
from torch.nn import functional

from saddlepoint.defenses.training import Standard
from saddlepoint.errors import SettingError


@pytest.mark.parametrize("temperature", [1.0, 0.5, 40.0])
def test_the_logits_are_divided_by_the_temperature(temperature):
    x, y = rows_of()
    net = net_of(dropout=0.0).eval()
    loss = loss_of(Standard(temperature=temperature), net, x, y)
    known = -(net(x) / temperature).log_softmax(1)[torch.arange(8), y].mean()
    assert loss.item() == pytest.approx(known.item(), rel=1e-6)
    for one, two in zip(grads_of(loss, net), grads_of(known, net), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_at_temperature_one_it_is_the_cross_entropy_bit_for_bit():
    x, y = rows_of()
    net = net_of(dropout=0.0).eval()
    assert torch.equal(loss_of(Standard(), net, x, y), functional.cross_entropy(net(x), y))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_cannot_divide_is_refused(temperature):
    with pytest.raises(SettingError, match=r"temperature=.* must be positive and finite; 1 is the plain softmax"):
        Standard(temperature=temperature)
