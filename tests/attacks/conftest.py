"""Annotations are checked in one contract of each attack; checking them in the others too would only cost time."""

import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def _checked_once(request):
    unchecked = request.node.name.startswith(("test_contract_l1", "test_contract_l2"))
    jaxtyping.config.update("jaxtyping_disable", unchecked)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
