import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from saddlepoint.evaluation.stats import median, wilson

Z = 1.959963984540054


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (1, 2), (3, 7), (90, 100), (1, 1000), (1999, 2000), (5000, 10000)])
def test_the_interval_is_that_of_scipy(count, rows):
    share, known = wilson(count, rows), binomtest(count, rows).proportion_ci(method="wilson")
    assert (share.low, share.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert (share.count, share.rows, share.value) == (count, rows, count / rows)


def test_its_ends_are_where_the_score_test_rejects():
    share = wilson(13, 40)
    for end in (share.low, share.high):
        assert (share.value - end) ** 2 == pytest.approx(Z**2 * end * (1 - end) / 40)


def test_none_and_all_touch_the_ends_exactly():
    none, every = wilson(0, 50), wilson(50, 50)
    assert (none.low, every.high) == (0.0, 1.0)
    assert none.high == pytest.approx(Z**2 / (50 + Z**2))
    assert every.low == pytest.approx(50 / (50 + Z**2))


def test_no_rows_say_nothing():
    share = wilson(0, 0)
    assert (share.low, share.high, share.value) == (0.0, 1.0, 0.0)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_share_lies_in_its_interval(pair):
    share = wilson(*pair)
    assert 0 <= share.low <= share.value <= share.high <= 1


def test_the_median_is_over_all_parts():
    assert median([torch.tensor([5.0, 1.0]), torch.tensor([]), torch.tensor([3.0])]) == 3.0
    assert median([torch.tensor([4.0, 1.0, 2.0, 3.0])]) == 2.0  # the lower one of two


@pytest.mark.parametrize("parts", [[], [torch.empty(0)], [torch.empty(0), torch.empty(0)]])
def test_nothing_has_no_median(parts):
    assert median(parts) is None
