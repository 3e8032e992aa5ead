"""From the scores of clean rows to the threshold of a stated false positive rate."""

import math
import warnings
from fractions import Fraction

from torch import Tensor

from saddlepoint._typing import is_dense, is_number
from saddlepoint.errors import DataError, DetectorWarning, InputError, SettingError, shown


def threshold(scores: Tensor, fpr: float, *, rule: str = "expected") -> float:
    """The score above which an input is rejected: ``score > threshold``, strictly.

    With s the n scores in ascending order, s[ceil((n + 1) (1 - fpr)) - 1]: a new clean row is then rejected with a
    probability of at most fpr, in expectation over the n rows, whatever the distribution; ties make it less.

    Args:
        scores: (n,) of clean rows that are used neither for training nor for testing, n >= 1 / fpr.
        fpr: false positive rate, in (0, 1).
        rule: "expected", or "published" for s[ceil(n (1 - fpr)) - 1], whose rate on these very rows is at most fpr.

    Raises:
        SettingError: if fpr or rule is none.
        InputError: if the scores are no float tensor (n,), or hold NaN.
        DataError: if n < 1 / fpr: so few rows cannot tell such a rate.

    Warns:  DetectorWarning if more than half of the scores are tied at the threshold.

    Source:  Vovk, Gammerman & Shafer 2005, conformal prediction; "published": Xu, Evans & Qi 2018, arXiv:1704.01155, as
        in the authors' code.

    >>> import torch
    >>> threshold(torch.arange(1.0, 101), 0.05), threshold(torch.arange(1.0, 101), 0.05, rule="published")
    (96.0, 95.0)
    """
    if not is_number(fpr) or not 0 < fpr < 1:
        raise SettingError(f"fpr={shown(fpr)} must lie between 0 and 1, such as 0.05")
    if rule not in ("expected", "published"):
        raise SettingError(f"rule={shown(rule)} must be 'expected' or 'published'")
    if not is_dense(scores) or not scores.is_floating_point() or scores.dim() != 1:
        raise InputError(f"scores={shown(scores)} must be a float tensor (n,): scorer.scores(x)")
    if bool(scores.isnan().any()):
        raise InputError("scores hold NaN; leave out the rows for which the model's output is not finite")
    n, rate = len(scores), Fraction(str(fpr))  # as written: 0.05 is 1/20
    if n * rate < 1:
        raise DataError(
            f"{n} clean rows cannot tell a false positive rate of {fpr:g}; give at least {math.ceil(1 / rate)}"
        )
    place = math.ceil((n + (rule == "expected")) * (1 - rate)) - 1
    found = scores.sort().values[place].item()
    tied = int((scores == found).sum())
    if 2 * tied > n:
        warnings.warn(
            f"{tied} of {n} clean scores are {found:g}, the threshold: the detector does not tell them apart, as with "
            "a net whose softmax is saturated; the false positive rate will be far below the stated one",
            DetectorWarning,
            stacklevel=2,
        )
    return float(found)
