"""Learning rates against closed forms, and one of them against torch."""

import math

import pytest
import torch

from saddlepoint.defenses.training import Schedule
from saddlepoint.defenses.training.rates import rate
from saddlepoint.errors import SettingError, SpecError


def rates(schedule, total):
    return [rate(schedule, step, total) for step in range(total)]


@pytest.mark.parametrize(
    ("peak", "rise", "total"), [(5e-3, 0.4, 2), (5e-3, 0.4, 1890), (0.03, 0.25, 77), (1.0, 0.9, 5)]
)
def test_one_cycle_is_that_of_torch_to_the_last_bit(peak, rise, total):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=total, pct_start=rise, cycle_momentum=False
    )
    known = []
    for _ in range(total):
        known.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cycle.step()
    assert rates(Schedule(peak=peak, rise=rise), total) == known


def test_cyclic_is_a_triangle():
    found = rates(Schedule(rate="cyclic", peak=0.2, rise=0.5), 30)
    assert found == pytest.approx([0.2 * (1 - abs(step - 15) / 15) for step in range(30)])
    skew = rates(Schedule(rate="cyclic", peak=1.0, rise=0.4), 10)
    assert skew == pytest.approx([0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_piecewise_drops_at_its_shares():
    schedule = Schedule(rate="piecewise", peak=0.1, drops=(0.5, 0.75), factor=0.1)
    assert rates(schedule, 8) == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)
    assert rates(Schedule(rate="piecewise", peak=0.1, drops=(75 / 76,)), 76)[-2:] == pytest.approx([0.1, 0.01])
    for epochs in range(2, 120):  # a share of whole epochs falls on the epoch's first step, whatever rounding does
        for drop in range(1, epochs):
            schedule = Schedule(rate="piecewise", peak=1.0, drops=(drop / epochs,), factor=0.5)
            steps = [rate(schedule, step, 7 * epochs) for step in (7 * drop - 1, 7 * drop)]
            assert steps == [1.0, 0.5]


def test_linear_goes_through_its_points():
    schedule = Schedule(rate="linear", peak=0.4, points=((0, 0), (1 / 6, 1), (1, 0.1)))
    found = rates(schedule, 60)
    assert [found[0], found[5], found[10], found[35]] == pytest.approx([0, 0.2, 0.4, 0.22])
    assert found[59] == pytest.approx(0.04 + 0.36 / 50)


def test_cosine_and_constant_with_a_warm_up():
    assert rates(Schedule(rate="constant", peak=0.1), 3) == [0.1] * 3
    assert rates(Schedule(rate="constant", peak=0.1, warmup=0.5), 4) == pytest.approx([0, 0.05, 0.1, 0.1])
    known = [0.1 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates(Schedule(rate="cosine", peak=0.1), 8) == pytest.approx(known)
    warm = rates(Schedule(rate="cosine", peak=0.1, warmup=0.2), 10)
    assert warm == pytest.approx([0, 0.05, *known])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"rate": "piecewise"}, "drops=.* belong to the rates piecewise and linear, which need them"),
        ({"drops": (0.5,)}, "the rate is 'one-cycle'"),
        ({"rate": "piecewise", "drops": (0.7, 0.5)}, "must rise between 0 and 1"),
        ({"rate": "piecewise", "drops": (75.0,)}, "must rise between 0 and 1"),
        ({"rate": "piecewise", "drops": (0.5,), "factor": 0.0}, "factor=0.0 must be positive"),
        ({"rate": "linear", "points": ((0, 0), (0.5, 1))}, "must rise from share 0 to share 1"),
        ({"rate": "linear", "points": ((0, -1), (1, 1))}, "multiples of peak, finite and >= 0"),
        ({"warmup": 0.1}, "cannot be given for rate 'one-cycle'"),
        ({"rate": "cosine", "warmup": 1.0}, r"warmup=1.0 must lie in \[0, 1\)"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(changes, rule):
    with pytest.raises(SettingError, match=rule):
        Schedule(**changes)


def test_an_unknown_rate_is_answered_with_the_nearest():
    with pytest.raises(SpecError, match="unknown rate 'cosin'; did you mean 'cosine'"):
        Schedule(rate="cosin")
    with pytest.raises(SpecError, match="unknown precision 'bfloat'; did you mean 'bfloat16'"):
        Schedule(precision="bfloat")
