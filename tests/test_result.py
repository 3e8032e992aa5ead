"""The record: best points, counters, and a verdict that is asked for again."""

import pytest
import torch

from saddlepoint import Classifier, Keep, Linf
from saddlepoint.losses import cross_entropy
from saddlepoint.result import Record

X0 = torch.zeros(4, 2)


def seen(record, value, loss, success=(False,) * 4, defined=(True,) * 4, distance=None):
    x = torch.full((len(record.live), 2), value)
    take = record.live
    rank, success, defined = (torch.tensor(values)[take] for values in (loss, success, defined))
    if distance is not None:
        rank = torch.where(success, -torch.tensor(distance)[take], -torch.inf)
    return record.update(x, rank, success, defined, torch.zeros(()))


def test_loss_decides_among_failures_and_success_comes_first():
    record = Record(X0, Keep.MAX_LOSS)
    record.count(forwards=1)
    seen(record, 0.1, [1.0, 2.0, 3.0, 4.0])
    record.count(forwards=1)
    seen(record, 0.2, [2.0, 1.0, -9.0, 5.0], success=(False, False, True, True))
    record.count(forwards=1)
    seen(record, 0.3, [0.0, 0.0, -8.0, 9.0], success=(False, False, True, False))
    torch.testing.assert_close(record.points()[:, 0], torch.tensor([0.2, 0.1, 0.3, 0.2]))
    assert record.success.tolist() == [False, False, True, True]
    assert record._solved_at.tolist() == [-1, -1, 2, 2]


def test_settled_rows_are_written_never_again():
    record = Record(X0, Keep.MAX_LOSS)
    record.count(forwards=1, backwards=1)
    seen(record, 0.1, [1.0] * 4)
    record.settle(torch.tensor([True, False, False, True]))
    assert record.settled_rows == 2
    record.count(forwards=1)
    assert record.fillers == 2
    seen(record, 0.2, [9.0] * 4, success=(True,) * 4)
    record.settle(torch.tensor([True, True, False, False]))
    assert record.settled_rows == 3
    torch.testing.assert_close(record.points()[:, 0], torch.tensor([0.1, 0.2, 0.2, 0.1]))
    assert record._spent.tolist() == [[1, 2, 2, 1], [1, 1, 1, 1]]
    assert record._solved_at.tolist() == [-1, 2, 2, -1]


def test_compact_goes_on_with_the_rest_and_points_have_all_rows():
    record = Record(X0, Keep.MAX_LOSS)
    seen(record, 0.1, [1.0, 2.0, 3.0, 4.0])
    record.settle(torch.tensor([True, False, True, False]))
    record.compact(torch.tensor([1, 3]))
    assert record.live.tolist() == [1, 3]
    assert record.settled_rows == 0
    seen(record, 0.2, [0.0, 2.5, 0.0, 3.5])
    torch.testing.assert_close(record.points()[:, 0], torch.tensor([0.1, 0.2, 0.1, 0.1]))


def test_undefined_rows_keep_the_evidence_unless_they_were_fooled_before():
    record = Record(X0, Keep.MAX_LOSS)
    seen(record, 0.1, [1.0] * 4, success=(True, False, False, False))
    seen(record, 0.2, [torch.nan, torch.nan, 5.0, 0.0], defined=(False, False, True, True))
    assert record.settled.tolist() == [True, True, False, False]
    assert record._undefined.tolist() == [False, True, False, False]
    torch.testing.assert_close(record.points()[:, 0], torch.tensor([0.1, 0.2, 0.2, 0.1]))


def test_put_spares_settled_rows():
    record = Record(X0, Keep.LAST)
    record.put(torch.full((4, 2), 0.1))
    record.settle(torch.tensor([True, False, False, False]))
    record.put(torch.full((4, 2), 0.2))
    torch.testing.assert_close(record.points()[:, 0], torch.tensor([0.1, 0.2, 0.2, 0.2]))


def test_update_tells_whether_the_gradients_are_finite():
    for keep in (Keep.MAX_LOSS, Keep.LAST):
        record = Record(X0, keep)
        flags = torch.zeros(4, dtype=torch.bool)
        assert record.update(X0, torch.zeros(4), flags, ~flags, torch.tensor(1.0)) is True
        assert record.update(X0, torch.zeros(4), flags, ~flags, torch.tensor(torch.nan)) is False


def answers(values):
    """A model that says these logits, whatever it is asked."""
    return Classifier(lambda x: torch.tensor(values)[: len(x)])


@pytest.mark.parametrize("keep", [Keep.MAX_LOSS, Keep.LAST, Keep.FIRST_SUCCESS])
def test_success_is_what_the_model_says_when_asked_again(keep):
    record = Record(X0, keep)
    seen(record, 0.1, [1.0] * 4, success=(True,) * 4)
    if keep is Keep.LAST:
        record.put(torch.full((4, 2), 0.1))
    model = answers([[1.0, 0.0], [0.0, 1.0], [torch.nan, 1.0], [1.0, 0.0]])
    result = record.result(model, Linf(0.5), cross_entropy, X0, torch.zeros(4, dtype=torch.int64), None)
    assert result.success.tolist() == [False, True, False, False]
    assert result.undefined.tolist() == [False, False, True, False]
    assert result.loss[1] > result.loss[0]
    torch.testing.assert_close(result.distance, torch.full((4,), 0.1))
    assert model.meter.forwards == 4


def test_minimum_norm_attack_that_fails_returns_the_input():
    record = Record(X0, Keep.MIN_DISTANCE)
    seen(record, 0.3, [1.0] * 4, success=(True,) * 4, distance=[0.3] * 4)
    seen(record, 0.2, [1.0] * 4, success=(True, False, False, False), distance=[0.2] * 4)
    model = answers([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    result = record.result(model, Linf(0.5), cross_entropy, X0, torch.zeros(4, dtype=torch.int64), None)
    torch.testing.assert_close(result.x[:, 0], torch.tensor([0.2, 0.0, 0.0, 0.3]))
    torch.testing.assert_close(result.distance, torch.tensor([0.2, 0.0, 0.0, 0.3]))


def test_targeted_success_is_the_target_and_nothing_else():
    record = Record(X0, Keep.MAX_LOSS)
    model = answers([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, torch.inf, 0.0]])
    target = torch.ones(4, dtype=torch.int64)
    result = record.result(model, Linf(0.5), cross_entropy, X0, torch.zeros(4, dtype=torch.int64), target)
    assert result.success.tolist() == [True, False, False, False]
    assert result.undefined.tolist() == [False, False, False, True]


def test_time_runs_out():
    assert Record(X0, Keep.LAST, 0.0).late
    assert not Record(X0, Keep.LAST).late
