import pytest

from saddlepoint.values import READERS, UNREADABLE, integer, number, truth


@pytest.mark.parametrize(
    ("value", "found"), [(3, 3.0), (0.25, 0.25), ("8/255", 8 / 255), (" 1e-3 ", 1e-3), ("-1/4", -0.25), ("1_000", 1e3)]
)
def test_numbers(value, found):
    assert number(value) == found


@pytest.mark.parametrize("value", [True, None, [], {}, "", "x", "1/0", "1/2/3", "0x1f", 10**400, "½"])
def test_what_is_no_number(value):
    with pytest.raises(UNREADABLE):
        number(value)


@pytest.mark.parametrize(("value", "found"), [(3, 3), ("40", 40), ("-2", -2)])
def test_integers(value, found):
    assert integer(value) == found


@pytest.mark.parametrize("value", [True, 3.0, "3.0", "1e3", "", None, [3], "9" * 5000])
def test_what_is_no_integer(value):
    with pytest.raises(UNREADABLE):
        integer(value)


@pytest.mark.parametrize(
    ("value", "found"), [(True, True), (False, False), ("yes", True), ("No", False), ("ON", True), ("false", False)]
)
def test_truths(value, found):
    assert truth(value) is found


@pytest.mark.parametrize("value", [0, 1, "y", "", None, [], "1"])
def test_what_is_neither_true_nor_false(value):
    with pytest.raises(UNREADABLE):
        truth(value)


def test_every_reader_has_a_rule():
    assert set(READERS) == {bool, int, float}
    assert all(rule for _, rule in READERS.values())
