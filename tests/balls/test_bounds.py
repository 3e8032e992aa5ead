import pytest

from saddlepoint import Bounds
from saddlepoint.errors import SettingError


def test_bounds_from_a_pair_or_unchanged():
    bounds = Bounds(-1.0, 2.0)
    assert Bounds.of(bounds) is bounds
    assert Bounds.of((-1, 2)) == bounds
    assert bounds.width == 3.0
    assert Bounds() == Bounds(0.0, 1.0)


@pytest.mark.parametrize(
    ("lower", "upper"), [(1.0, 0.0), (0.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0), (-float("inf"), 0.0)]
)
def test_bounds_must_be_finite_and_in_order(lower, upper):
    with pytest.raises(SettingError, match="must be a pair of finite numbers, lower < upper"):
        Bounds(lower, upper)


@pytest.mark.parametrize("value", [1.0, (0.0,), (0.0, 1.0, 2.0), ("a", "b"), None])
@pytest.mark.usefixtures("unchecked")
def test_anything_but_a_pair_is_refused(value):
    with pytest.raises(SettingError, match="must be a pair"):
        Bounds.of(value)
