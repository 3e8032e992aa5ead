"""Specs of defended models: the order, the settings, and what is said of what cannot be read."""

from typing import Literal

import pytest
import torch
from filters import Jitter, Levels

import saddlepoint
from saddlepoint import Bounds
from saddlepoint.defenses import spec, transforms
from saddlepoint.defenses.spec import load_model, transform
from saddlepoint.defenses.transforms import TRANSFORMS, Transform
from saddlepoint.errors import ArgumentTypeError, SettingError, SpecError


class Shift(Transform):
    name = "shift"
    differentiable = True

    def __init__(
        self,
        by: float,
        times: int | None = 1,
        mode: Literal["add", "subtract"] = "add",
        *,
        clip: bool = False,
        table: dict[str, int] | None = None,
        **bounds: Bounds,
    ):
        super().__init__(**bounds)
        self.by, self.times, self.mode, self.clip = by, times, mode, clip

    def forward(self, x):
        return x + self.by


@pytest.fixture(autouse=True)
def known(monkeypatch):
    for cls in (Shift, Levels, Jitter):
        monkeypatch.setitem(TRANSFORMS, cls.name, cls)


def test_an_input_meets_transforms_in_the_written_order():
    x = torch.rand(2, 1, 28, 28)
    model = load_model("zoo:mnist-standard | shift:0.3 | levels:2")
    assert [type(each) for each in model.transforms] == [Shift, Levels]
    bare = load_model("zoo:mnist-standard")
    torch.testing.assert_close(model.logits(x), bare.logits((x + 0.3).round()))
    assert model.bare.fingerprint == bare.fingerprint


def test_the_package_loads_defended_models():
    assert saddlepoint.load_model is load_model
    assert saddlepoint.load_model("zoo:mnist-standard|levels:4").transforms[0].count == 4


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("shift:1/4", (0.25, 1, "add", False)),
        ("shift:0.5,3", (0.5, 3, "add", False)),
        (" shift : 0.5 : 3 : subtract ", (0.5, 3, "subtract", False)),
        ("shift:by=0.5,clip=yes", (0.5, 1, "add", True)),
        ("shift:0.5,mode=subtract", (0.5, 1, "subtract", False)),
    ],
)
def test_settings_come_in_order_or_by_name(text, settings):
    found = transform(text)
    assert (found.by, found.times, found.mode, found.clip) == settings


def test_transforms_have_the_bounds_of_the_model():
    assert transform("levels:2", Bounds(-1.0, 1.0)).bounds == Bounds(-1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("level:2", SpecError, "unknown transform 'level'; did you mean 'levels'"),
        ("", SpecError, "unknown transform ''"),
        ("shift:size=2", SpecError, "unknown setting of shift 'size'"),
        ("shift", SpecError, "lacks by; write for example shift:by=2"),
        ("shift:", SpecError, "empty setting"),
        ("shift:1,,2", SpecError, "empty setting"),
        ("shift:1,2,add,4", SpecError, "'4' is one setting too many; shift has by, times, mode"),
        ("shift:1,by=2", SpecError, "by is set twice"),
        ("shift:much", SettingError, "by='much' must be a number or a fraction"),
        ("levels:2.5", SettingError, "count='2.5' must be an integer"),
        ("shift:1,table=3", SettingError, "cannot be written in a spec; set it in Python"),
    ],
)
def test_what_cannot_be_read_is_told(text, error, said):
    with pytest.raises(error, match=said):
        transform(text)


def test_transforms_are_looked_up_before_the_model_is_loaded():
    with pytest.raises(SpecError, match="unknown transform"):
        load_model("py:no.such:thing | level:2")


@pytest.mark.usefixtures("unchecked")
def test_a_spec_is_text():
    with pytest.raises(ArgumentTypeError, match="must be text"):
        load_model(3)


def test_the_registry_is_what_the_package_exports():
    exported = {kind for name in transforms.__all__ if issubclass(kind := getattr(transforms, name), Transform)}
    assert exported - {Transform} == {cls for cls in TRANSFORMS.values() if cls.__module__.startswith("saddlepoint.")}
    assert all(cls.name == name for name, cls in TRANSFORMS.items())
    assert spec.TRANSFORMS is TRANSFORMS


@pytest.mark.parametrize("text", ["autoencoder", "autoencoder:28", "autoencoder:1,28,28"])
def test_a_transform_that_is_trained_has_no_spec(text):
    with pytest.raises(SpecError, match="needs weights that were trained.*py:module:function"):
        transform(text)
