import warnings

import pytest
import torch
from scipy.stats import binom

from saddlepoint.detectors import threshold
from saddlepoint.errors import DataError, DetectorWarning, InputError, SettingError


@pytest.mark.parametrize(
    ("fpr", "expected", "published"), [(0.05, 96.0, 95.0), (0.01, 100.0, 99.0), (0.5, 51.0, 50.0), (0.1, 91.0, 90.0)]
)
def test_of_a_hundred_known_scores(fpr, expected, published):
    scores = torch.randperm(100, generator=torch.Generator().manual_seed(0)).float() + 1
    assert threshold(scores, fpr) == expected
    assert threshold(scores, fpr, rule="published") == published


def test_the_published_rule_keeps_the_rate_on_its_own_rows():
    scores = torch.randn(237, generator=torch.Generator().manual_seed(0))
    for fpr in (0.01, 0.05, 0.1, 0.33):
        rejected = (scores > threshold(scores, fpr, rule="published")).double().mean()
        assert fpr - 1 / 237 < rejected <= fpr


@pytest.mark.parametrize("levels", [None, 40, 4])
def test_the_stated_rate_holds_on_new_rows_over_200_resamplings_ties_included(levels):
    generator = torch.Generator().manual_seed(3)
    n, fresh, fpr, rejected = 99, 200, 0.05, 0
    for _ in range(200):
        scores = torch.rand(n + fresh, generator=generator)
        scores = scores if levels is None else (scores * levels).floor()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DetectorWarning)
            rejected += int((scores[n:] > threshold(scores[:n], fpr)).sum())
    # rows of one resampling share a threshold: the share that it rejects is Beta(5, 95), and adds to the variance
    draws, spread = 200 * fresh, (fpr * (1 - fpr) / 101 / 200) ** 0.5
    low, high = binom.interval(0.999, draws, fpr)
    assert rejected <= high + 3.3 * spread * draws
    if levels is None:
        assert rejected >= low - 3.3 * spread * draws


def test_ties_at_the_threshold_are_not_rejected():
    scores = torch.tensor([0.0] * 60 + [1.0] * 40)
    assert threshold(scores, 0.05) == 1.0
    assert not bool((scores > 1.0).any())


def test_scores_that_are_nearly_all_tied_are_told_of():
    with pytest.warns(DetectorWarning, match=r"99 of 100 clean scores are 0, the threshold"):
        assert threshold(torch.tensor([0.0] * 99 + [1.0]), 0.05) == 0.0


def test_too_few_rows_are_refused_with_the_number_that_suffices():
    with pytest.raises(DataError, match=r"99 clean rows cannot tell a false positive rate of 0.01; give at least 100"):
        threshold(torch.rand(99), 0.01)
    assert threshold(torch.arange(100.0), 0.01) == 99.0


@pytest.mark.parametrize("fpr", [0, 1, -0.1, float("nan")])
def test_a_rate_that_is_none_is_refused(fpr):
    with pytest.raises(SettingError, match=r"fpr=.* must lie between 0 and 1"):
        threshold(torch.rand(100), fpr)


def test_what_is_no_score_is_refused():
    with pytest.raises(InputError, match=r"scores hold NaN"):
        threshold(torch.tensor([0.0, float("nan")] * 50), 0.05)
    with pytest.raises(InputError, match=r"must be a float tensor \(n,\)"):
        threshold(torch.zeros(100, 2), 0.05)
    with pytest.raises(SettingError, match=r"rule='median' must be 'expected' or 'published'"):
        threshold(torch.rand(100), 0.05, rule="median")
