"""Several models as one: the mean of their logits, each with its own normalisation and bounds."""

import pytest
import torch
from torch import nn

from saddlepoint import Bounds, Classifier
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError
from saddlepoint.models import ensemble


def net(seed, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, classes))


@pytest.fixture
def x():
    return torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def test_logits_are_the_mean_of_the_members_each_normalised_its_own_way(x):
    one, two = Classifier(net(0), mean=0.5, std=0.2), Classifier(net(1), mean=(0.1, 0.2, 0.3), std=2.0)
    torch.testing.assert_close(ensemble([one, two]).logits(x), (one.logits(x) + two.logits(x)) / 2)
    weighted = ensemble([one, two], weights=(3, 1)).logits(x)
    torch.testing.assert_close(weighted, 0.75 * one.logits(x) + 0.25 * two.logits(x))


def test_one_member_is_the_member_bit_for_bit(x):
    one = Classifier(net(0), mean=0.5, std=0.2)
    assert torch.equal(ensemble([one]).logits(x), one.logits(x))


def test_a_member_sees_inputs_in_its_own_bounds(x):
    one, signed = Classifier(net(0)), Classifier(net(1), bounds=(-1, 1))
    both = ensemble([one, signed])
    assert both.bounds == Bounds(0, 1)
    torch.testing.assert_close(both.logits(x), (one.logits(x) + signed.logits(2 * x - 1)) / 2)
    torch.testing.assert_close(ensemble([one], bounds=Bounds(0, 255)).logits(255 * x), one.logits(x))


def test_every_member_counts_and_all_are_frozen(x):
    one, two = Classifier(net(0).train()), Classifier(net(1))
    both = ensemble([one, two])
    both.predict(x)
    assert [each.meter.forwards for each in (both, one, two)] == [5, 5, 5]
    with both.frozen():
        assert not one.module.training
        assert not any(p.requires_grad for p in two.module.parameters())
    assert one.module.training
    leaf = x.clone().requires_grad_()
    torch.autograd.grad(both.logits(leaf).sum(), leaf)
    assert [each.meter.backwards for each in (both, one, two)] == [5, 5, 5]


def test_the_fingerprint_tells_members_weights_and_normalisation():
    one, two = Classifier(net(0)), Classifier(net(1))
    found = [
        ensemble([one, two]),
        ensemble([two, one]),
        ensemble([one]),
        ensemble([one, two], weights=(2, 1)),
        ensemble([one, Classifier(net(1), mean=0.5)]),
        ensemble([one, two], bounds=Bounds(-1, 1)),
    ]
    assert len({each.fingerprint for each in found}) == len(found)
    assert ensemble([Classifier(net(0)), Classifier(net(1))]).fingerprint == found[0].fingerprint


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_ensemble_is_told(x):
    one = Classifier(net(0))
    with pytest.raises(ArgumentTypeError, match="at least one saddlepoint.Classifier"):
        ensemble([])
    with pytest.raises(ArgumentTypeError, match="at least one saddlepoint.Classifier"):
        ensemble([net(0)])
    for weights in ((1,), (1, -1), (0, 0), (float("inf"), 1), (float("nan"), 1)):
        with pytest.raises(SettingError, match="must be 2 numbers"):
            ensemble([one, one], weights=weights)
    with pytest.raises(SettingError, match="cpu, meta; load all on one device"):
        ensemble([one, Classifier(net(0), device="cpu"), Classifier(lambda x: x, device="meta")])
    with pytest.raises(ModelError, match="have 3, 4 classes"):
        ensemble([one, Classifier(net(1, classes=4))]).logits(x)
