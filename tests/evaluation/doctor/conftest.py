"""The rows that faults are planted for."""

import pytest
from stripes import stripes

import saddlepoint as sp


@pytest.fixture(scope="session")
def rgb():
    """Stripes that no net was trained on."""
    x, y = stripes(512, 2)
    return sp.Dataset(x, y, classes=tuple("abcdefgh"), name="stripes")


@pytest.fixture(scope="session")
def digits():
    return sp.load_data("mnist10k:test")[:512]
