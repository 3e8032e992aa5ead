"""Held-out rows, the guard, the best weights and patience, on planted objectives."""

import pytest
import torch
from torch import nn

from saddlepoint.attacks import FGSM, PGD
from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training import SGD, Schedule, Standard, Validation, fit
from saddlepoint.defenses.training.guard import suspicion
from saddlepoint.errors import InputError, SettingError, SpecError
from saddlepoint.noise import Noise
from saddlepoint.result import Keep
from saddlepoint.training_record import Epoch, TrainingRecord

BALL = Linf(0.1)
QUIET = Validation(ball=BALL, rows=20, steps=2, guard="off")


class Planted(nn.Module):
    """Right by a margin of ``level`` along the first feature: it holds in Linf exactly while level > 2 eps."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.ones(1, 1))

    def forward(self, x):
        # features lie at 0.5 +- 0.3; below level 0 every answer is the opposite
        score = (x.flatten(1)[:, :1] - 0.5) * self.level
        return torch.cat((-score, score), 1)


class Levels:
    """An objective that sets the level of the planted net, epoch by epoch, whatever the rows are."""

    def __init__(self, *levels):
        self.levels, self.memory = levels, None

    def points(self, module, x, y, *, noise, progress, memory):
        memory["calls"] = memory.get("calls", torch.zeros(())) + 1
        self.level = self.levels[min(int(progress * len(self.levels) + 1e-9), len(self.levels) - 1)]
        return x

    def loss(self, module, x, points, y):
        return (module.level * (module.level.detach() - self.level)).sum()  # with a rate of 1 a step lands on it


@pytest.fixture
def planted():
    """600 rows of two classes, 0.3 from the border."""
    y = torch.arange(600) % 2
    x = (0.5 + 0.3 * (2.0 * y - 1))[:, None, None, None].expand(600, 1, 2, 2).clone()
    return x, y


def run(planted, *levels, **changes):
    net = Planted()
    schedule = Schedule(epochs=len(levels), batch_size=100, peak=1.0, rate="constant", optimizer=SGD(momentum=0.0))
    validation = Validation(**{"ball": BALL, "rows": 520, "steps": 2, **changes})
    return net, fit(net, *planted, Levels(*levels), schedule, validation=validation)


def test_the_guard_rolls_back_to_the_weights_before_the_collapse(planted):
    net, told = run(planted, 1.0, 2.0, -1.0, 1.0)
    assert net.level.item() == 2.0
    assert [(epoch.clean, epoch.fgsm, epoch.pgd) for epoch in told.epochs] == [(1, 1, 1), (1, 1, 1), (0, 0, 0)]
    assert (told.ended, told.kept, told.planned) == ("guard", 2, 4)
    (event,) = told.events
    assert (event.epoch, event.action) == (3, "rolled back")
    assert event.reason == "PGD accuracy fell from 100.0 % to 0.0 %"


def test_the_guard_may_only_warn_or_be_off(planted):
    net, told = run(planted, 1.0, -1.0, 3.0, guard="warn")
    assert (net.level.item(), told.ended, told.kept) == (3.0, "finished", 3)
    assert [(event.epoch, event.action) for event in told.events] == [(2, "warned")]
    _, told = run(planted, 1.0, -1.0, 3.0, guard="off")
    assert told.events == ()


def test_the_best_weights_are_kept_the_first_of_equals(planted):
    net, told = run(planted, -1.0, 1.0, 2.0, -2.0, guard="off", keep="best")
    assert (net.level.item(), told.kept, told.best.number) == (1.0, 2, 2)
    net, told = run(planted, 1.0, 2.0, -1.0, keep="best")
    assert (net.level.item(), told.kept, told.ended) == (1.0, 1, "guard")


def test_patience_ends_a_training_that_no_longer_improves(planted):
    net, told = run(planted, -1.0, 1.0, 2.0, 3.0, 4.0, patience=2)
    assert (net.level.item(), told.ended, told.kept, len(told.epochs)) == (3.0, "patience", 4, 4)


def test_what_is_suspect():
    def epoch(fgsm, pgd):
        return Epoch(number=1, loss=1.0, fgsm=fgsm, pgd=pgd)

    assert suspicion(None, epoch(0.9, 0.65)) is None
    assert suspicion(None, epoch(0.9, 0.55)) == "FGSM accuracy is 90.0 %, PGD accuracy 55.0 %"
    assert suspicion(epoch(0.3, 0.1), epoch(0.6, 0.2)) is None  # it still learns
    assert suspicion(epoch(0.3, 0.2), epoch(0.6, 0.2)) == "FGSM accuracy is 60.0 %, PGD accuracy 20.0 %"
    assert suspicion(epoch(0.3, 0.2), epoch(0.6, 0.22)) == "FGSM accuracy is 60.0 %, PGD accuracy 22.0 %"  # by chance
    assert suspicion(epoch(0.5, 0.5), epoch(0.31, 0.31)) is None
    assert suspicion(epoch(0.5, 0.5), epoch(0.29, 0.29)) == "PGD accuracy fell from 50.0 % to 29.0 %"
    assert suspicion(Epoch(number=1, loss=1.0), Epoch(number=2, loss=1.0)) is None


def test_after_a_suspect_first_epoch_there_is_nothing_to_go_back_to(planted, monkeypatch):
    from saddlepoint.defenses.training import epochs

    monkeypatch.setattr(epochs, "suspicion", lambda before, now: "planted" if now.number in (1, 3) else None)
    net, told = run(planted, 1.0, 2.0, 3.0, 4.0)
    assert [(event.epoch, event.action) for event in told.events] == [(1, "warned"), (3, "rolled back")]
    assert (net.level.item(), told.kept) == (2.0, 2)


def test_held_out_rows_are_not_trained_on_and_measured_as_by_hand(make_net, batch):
    x, y = batch
    seen, net = set(), make_net(dropout=0.5)

    class Spy:
        def points(self, module, x, y, *, noise, progress, memory):
            seen.update(noise.rows.tolist())
            return x

        loss = Standard().loss

    told = fit(net, x, y, Spy(), Schedule(epochs=2, batch_size=16, seed=4), validation=QUIET)
    train, held = QUIET.held_out(60, 4)
    assert seen == set(train.tolist())
    assert (sorted({*train.tolist(), *held.tolist()}), len(held)) == (list(range(60)), 20)
    assert held.tolist() != QUIET.held_out(60, 5)[1].tolist()
    model, last = Classifier(net), told.epochs[-1]
    right = model.predict(x[held]) == y[held]
    assert last.clean == pytest.approx(right.float().mean().item())
    noise = Noise(4).child("validation").at(held)
    for attack, share in ((FGSM(ball=BALL), last.fgsm), (PGD(ball=BALL, steps=2, keep=Keep.FIRST_SUCCESS), last.pgd)):
        found = attack(model, x[held], y[held], noise=noise)
        assert share == pytest.approx((~found.success).float().mean().item())
    assert last.pgd <= last.fgsm + 1e-9
    assert last.clean > 0


def test_passes_are_counted_apart(make_net, batch):
    told = fit(make_net(), *batch, Standard(), Schedule(epochs=2, batch_size=16), validation=QUIET)
    assert (told.forwards, told.backwards) == (2 * 40, 2 * 40)
    assert told.validation > 2 * 20
    assert told.best in told.epochs


def test_validation_moves_no_bit_of_the_training(make_net, batch):
    nets = [make_net(dropout=0.5) for _ in range(2)]
    rows = QUIET.held_out(60, 0)[0]
    fit(nets[0], *batch, Standard(), Schedule(epochs=2, batch_size=16), validation=QUIET)
    losses = [fit(nets[1], *batch, Standard(), Schedule(epochs=2, batch_size=16)).epochs]
    assert losses
    again = make_net(dropout=0.5)
    fit(again, *batch, Standard(), Schedule(epochs=2, batch_size=16), validation=Validation(
        ball=BALL, rows=20, steps=7, guard="off", keep="last"))  # fmt: skip
    assert len(rows) == 40
    for one, two in zip(nets[0].parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_record_is_read_back(planted):
    _, told = run(planted, 1.0, -1.0)
    assert TrainingRecord.from_json(told.to_json()) == told
    assert told.epochs[0].seconds > 0
    assert told.settings["validation"]["eps"] == 0.1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "error", "rule"),
    [
        ({"rows": 0}, SettingError, "rows=0 must be at least 1"),
        (
            {"rows": 100},
            SettingError,
            "rows=100 are too few for the guard, which needs 512; hold out more, or set guard",
        ),
        ({"keep": "bset"}, SpecError, "unknown keep 'bset'; did you mean 'best'"),
        ({"guard": "stopp"}, SpecError, "unknown guard 'stopp'; did you mean 'stop'"),
        ({"patience": 0}, SettingError, "patience=0 must be at least 1 epoch"),
        ({"ball": Linf(torch.tensor([0.1, 0.2]))}, SettingError, "validation needs one eps"),
        ({"steps": -1}, SettingError, "steps=-1"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, error, rule):
    with pytest.raises(error, match=rule):
        Validation(**{"ball": BALL, **changes})


def test_rows_must_be_left_to_train_on(make_net, batch):
    with pytest.raises(InputError, match="there are 60 rows, and 1000 are to be held out; hold out fewer"):
        fit(make_net(), *batch, Standard(), Schedule(epochs=1), validation=Validation(ball=BALL))
