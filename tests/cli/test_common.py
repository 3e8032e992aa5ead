import sys

import pytest
import torch

from saddlepoint.balls import L2, Linf
from saddlepoint.cli import common
from saddlepoint.errors import RadiusError, SettingError, SpecError


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0.0), ("0.3", 0.3), ("8/255", 8 / 255), (" 1 / 4 ", 0.25), ("1e-3", 1e-3), ("2", 2.0)]
)
def test_numbers_and_fractions(text, value):
    assert common.number(text) == value


@pytest.mark.parametrize("text", ["", "x", "1/2/3", "1/0", "/", "1/", "-1", "1/-2", "nan", "inf", "1e999", "0x10"])
def test_what_is_no_radius_is_refused(text):
    with pytest.raises(RadiusError, match="such as 0.3 or 8/255"):
        common.number(text)


def test_lists_of_words():
    assert common.words("a, b,,c ") == ["a", "b", "c"]
    with pytest.raises(SpecError, match="give at least one"):
        common.words(" , ")


def test_one_ball_for_each_radius():
    assert common.balls("linf", "0.1,8/255,0.1") == [Linf(0.1), Linf(8 / 255)]
    assert common.balls("l2", "1") == [L2(1.0)]
    assert {name: cls.norm for name, cls in common.BALLS.items()} == {name: name for name in common.BALLS}
    with pytest.raises(SpecError, match="unknown norm 'L2'"):
        common.balls("L2", "1")


def test_batch_sizes():
    assert common.batch_size("auto") is None
    assert common.batch_size("64") == 64
    for text in ("0", "-1", "1.5", "all", "", "²"):
        with pytest.raises(SettingError, match="auto or an integer >= 1"):
            common.batch_size(text)


def test_threads(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    common.set_threads(None)
    common.set_threads(3)
    assert asked == [3]
    for threads in (0, -2, 4097, 10**20):
        with pytest.raises(SettingError, match=f"--threads {threads} must be >= 1"):
            common.set_threads(threads)


def test_devices():
    assert common.check_device(None) is None
    assert common.check_device("cpu") == "cpu"
    for device in ("nonsense", "cuda:99", "meta", "cpu:x", ""):
        with pytest.raises(SettingError, match=f"--device '{device}' cannot be used here: .+"):
            common.check_device(device)


def test_the_command_line_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/saddlepoint", "evaluate", "a b", "$(c)", "it's"])
    assert common.command_line() == "saddlepoint evaluate 'a b' '$(c)' 'it'\"'\"'s'"
