import pytest
import torch
from torch import nn
from torch.nn import functional

from saddlepoint.attacks import PGD
from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training import Adversarial, Epoch, Schedule, Standard, fit
from saddlepoint.errors import InputError, SettingError

SHORT, LONG = Schedule(epochs=2, batch_size=16), Schedule(epochs=30, batch_size=30, peak=4e-2)
ADVERSARIAL = Adversarial(attack=PGD(ball=Linf(0.05), steps=2), warmup=0.2)


def state(net):
    return torch.cat([tensor.flatten() for tensor in net.state_dict().values()])


def trained(make_net, batch, objective=ADVERSARIAL, schedule=SHORT):
    net = make_net()
    epochs = fit(net, *batch, objective, schedule).epochs
    return state(net), epochs


def test_it_learns(make_net, batch):
    net = make_net()
    epochs = fit(net, *batch, Standard(), LONG).epochs
    assert [epoch.number for epoch in epochs] == list(range(1, 31))
    assert epochs[-1].loss < 0.2 * epochs[0].loss
    assert (Classifier(net).predict(batch[0]) == batch[1]).float().mean() > 0.95


def test_adversarial_training_makes_robust(make_net, batch):
    shares = []
    for objective in (Standard(), Adversarial(attack=PGD(ball=Linf(0.1), steps=4), warmup=0.2)):
        net = make_net()
        fit(net, *batch, objective, LONG)
        result = PGD(ball=Linf(0.1), steps=10)(Classifier(net), *batch)
        shares.append(1 - result.success.float().mean().item())
    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize("objective", [Standard(), ADVERSARIAL])
def test_the_same_seed_gives_the_same_bits(make_net, batch, objective):
    first, told = trained(make_net, batch, objective)
    torch.manual_seed(99)  # the global generator plays no part
    second, again = trained(make_net, batch, objective)
    assert torch.equal(first, second)
    assert told == again
    assert all(type(epoch) is Epoch for epoch in told)


def test_another_seed_gives_another_order(make_net, batch):
    first, _ = trained(make_net, batch, Standard())
    second, _ = trained(make_net, batch, Standard(), Schedule(epochs=2, batch_size=16, seed=1))
    assert not torch.equal(first, second)


def test_images_are_moved_where_the_schedule_says_so(make_net, batch):
    first, _ = trained(make_net, batch, Standard())
    second, _ = trained(make_net, batch, Standard(), Schedule(epochs=2, batch_size=16, shift=1))
    assert not torch.equal(first, second)


class Spy:
    """An objective that remembers what it was given."""

    def __init__(self):
        self.calls = []

    def points(self, module, x, y, *, noise, progress, memory):
        self.calls.append((x.clone(), noise, progress, module.training))
        return x

    def loss(self, module, x, points, y):
        return functional.cross_entropy(module(points), y)


def test_every_row_is_seen_once_an_epoch_with_its_own_noise(make_net, batch):
    spy, told = Spy(), []
    fit(make_net().eval(), *batch, spy, SHORT, watch=lambda done, total: told.append((done, total)))
    assert [len(x) for x, *_ in spy.calls] == [16, 16, 16, 12] * 2
    orders = [torch.cat([noise.rows for _, noise, *_ in spy.calls[i : i + 4]]) for i in (0, 4)]
    assert all(order.sort().values.tolist() == list(range(60)) for order in orders)
    assert not torch.equal(*orders)
    assert torch.equal(torch.cat([x for x, *_ in spy.calls[:4]]), batch[0][orders[0]])
    assert [progress for _, _, progress, _ in spy.calls] == [i / 8 for i in range(8)]
    assert all(training for *_, training in spy.calls)
    seeds = [noise.seed for _, noise, *_ in spy.calls]
    assert len(set(seeds[:4])) == len(set(seeds[4:])) == 1
    assert seeds[0] != seeds[4]  # fresh noise in every epoch
    assert told == [(i, 8) for i in range(1, 9)]


def test_the_module_is_left_in_evaluation_mode(make_net, batch):
    net = make_net(dropout=0.5).train()
    fit(net, *batch, Standard(), SHORT)
    assert not any(part.training for part in net.modules())


def test_the_callers_rows_are_not_touched(make_net, batch):
    before = [part.clone() for part in batch]
    fit(make_net(), *batch, ADVERSARIAL, Schedule(epochs=1, batch_size=16, shift=1))
    assert all(torch.equal(a, b) for a, b in zip(before, batch, strict=True))


def test_one_batch_is_enough(make_net, batch):
    net = make_net()
    before = state(net).clone()
    (epoch,) = fit(net, batch[0][:1], batch[1][:1], Standard(), Schedule(epochs=1)).epochs
    assert epoch.loss == pytest.approx(functional.cross_entropy(make_net()(batch[0][:1]), batch[1][:1]).item())
    assert not torch.equal(state(net), before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_ends_the_training(make_net, batch, value):
    class Bad(Spy):
        def loss(self, module, x, points, y):
            return super().loss(module, x, points, y) * (value if self.calls[-1][2] >= 0.5 else 1.0)

    with pytest.raises(InputError, match=r"the loss of epoch 3 is (nan|inf); lower the learning rate \(peak=\)"):
        fit(make_net(), *batch, Bad(), Schedule(epochs=4, batch_size=30))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("rows", "labels"), [(0, 0), (60, 59), (0, 60)])
def test_rows_and_labels_must_match(make_net, batch, rows, labels):
    with pytest.raises(InputError, match=f"x has {rows} rows and y {labels}"):
        fit(make_net(), batch[0][:rows], batch[1][:labels], Standard(), SHORT)


def test_flat_rows_are_not_shifted(batch):
    net = nn.Linear(36, 3)
    with pytest.raises(InputError, match="shifting needs images"):
        fit(net, batch[0].flatten(1), batch[1], Standard(), Schedule(epochs=1, shift=1))
    assert len(fit(net, batch[0].flatten(1), batch[1], Standard(), SHORT).epochs) == 2


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"epochs": 0}, "epochs=0 .* must be at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"peak": 0.0}, "peak=0.0 must be positive"),
        ({"rise": 1.0}, "rise=1.0 lie between 0 and 1"),
        ({"rise": 0.0}, "rise=0.0 lie between 0 and 1"),
        ({"shift": -1}, "shift=-1 must be >= 0"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(changes, rule):
    with pytest.raises(SettingError, match=rule):
        Schedule(**changes)
