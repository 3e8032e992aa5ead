"""The sign test, and what counts as an explanation."""

import pytest
import torch
from scipy.stats import binomtest

from saddlepoint.evaluation.doctor.evidence import gain


def rows(mended, spoiled, right, wrong):
    before = torch.tensor([False] * mended + [True] * spoiled + [True] * right + [False] * wrong)
    after = torch.tensor([True] * mended + [False] * spoiled + [True] * right + [False] * wrong)
    return gain(before, after)


@pytest.mark.parametrize("spoiled", [0, 3, 20])
@pytest.mark.parametrize("mended", [10, 16, 17, 40, 60, 90])
def test_a_gain_is_sure_where_the_sign_test_says_so(mended, spoiled):
    found = rows(mended, spoiled, 100, 10)
    chance = binomtest(mended, mended + spoiled, alternative="greater").pvalue
    assert found.sure == (chance < 1e-5)
    assert (found.before, found.after) == (100 + spoiled, 100 + mended)


def test_what_mends_few_of_the_wrong_rows_is_no_explanation():
    assert rows(50, 0, 0, 200).sure
    assert not rows(50, 0, 0, 201).sure


def test_a_small_gain_counts_only_if_half_of_the_wrong_rows_are_mended():
    assert rows(20, 0, 960, 20).sure  # 2 points, half of the wrong rows
    assert not rows(20, 0, 959, 21).sure


def test_a_loss_is_no_gain():
    assert not rows(0, 50, 10, 10).sure
    assert not rows(0, 0, 10, 0).sure


def test_it_says_both_accuracies():
    assert str(rows(60, 0, 30, 10)) == "90.0 % of 100 rows are right, not 30.0 %"
