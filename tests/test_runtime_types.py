"""The run-time check of annotations is on, and checks what it can of a function that it cannot check whole."""

from typing import Protocol, Self

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation
from runtime_types import check

from saddlepoint.losses import cross_entropy


class Named(Protocol):
    name: str


def test_shapes_are_checked_in_the_package():
    with pytest.raises(jaxtyping.TypeCheckError):
        cross_entropy(torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("odd", [Self, Named])
def test_annotations_that_can_be_checked_are(odd):
    def function(one: odd, other: float) -> odd:
        return one

    hints = dict(function.__annotations__)
    checked = check(function)
    assert checked("anything", 1) == "anything"
    with pytest.raises(BeartypeCallHintParamViolation):
        checked("anything", "one")
    assert function.__annotations__ == hints


@pytest.mark.usefixtures("unchecked")
def test_checks_can_be_switched_off():
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        cross_entropy(torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64))
