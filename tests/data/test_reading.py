from pathlib import Path

import numpy as np
import pytest
import torch

from saddlepoint.data.reading import base_name, text, unit


def test_every_byte_is_divided_exactly():
    x = unit(np.arange(256, dtype=np.uint8))
    assert torch.equal(x, torch.arange(256, dtype=torch.float32) / 255)


@pytest.mark.parametrize(
    ("path", "name"),
    [("/home/ada/birds", "birds"), ("/home/ada/birds/", "birds"), (".", "."), ("/", "/"), ("..", ".."), ("", "")],
)
def test_base_name(path, name):
    assert base_name(path) == name
    assert base_name(Path(path)) == (name or ".")


def test_bytes_that_are_no_text_are_escaped():
    assert text("caf\udce9 é") == "caf\\xe9 é"
