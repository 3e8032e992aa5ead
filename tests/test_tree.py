from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
import torch

from saddlepoint import _tree


@dataclass(frozen=True)
class State:
    x: torch.Tensor
    shared: float
    nested: object = None


@dataclass(frozen=True)
class Derived:
    x: torch.Tensor
    double: torch.Tensor = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "double", 2 * self.x)


class Pair(NamedTuple):
    a: torch.Tensor
    b: object


ROWS = torch.tensor([2, 0])
X = torch.arange(6.0).view(3, 2)


def test_take_keeps_the_structure_and_only_the_rows():
    state = State(X, 0.5, {"pair": Pair(X + 1, None), "list": [X, (X[:, 0], "name")]})
    found = _tree.take(state, ROWS)
    assert isinstance(found, State)
    assert found.shared == 0.5
    assert torch.equal(found.x, X[ROWS])
    pair = found.nested["pair"]
    assert isinstance(pair, Pair)
    assert torch.equal(pair.a, X[ROWS] + 1)
    assert pair.b is None
    items = found.nested["list"]
    assert isinstance(items, list)
    assert isinstance(items[1], tuple)
    assert torch.equal(items[1][0], X[ROWS, 0])
    assert items[1][1] == "name"
    assert torch.equal(state.x, X), "the state itself stays as it was"


def test_fields_that_are_computed_are_computed_again():
    found = _tree.take(Derived(X), ROWS)
    assert torch.equal(found.double, 2 * X[ROWS])


def test_take_of_no_rows():
    assert _tree.take(State(X, 1.0), torch.tensor([], dtype=torch.int64)).x.shape == (0, 2)


@pytest.mark.parametrize("tree", [None, 3, "text", State, (), {}])
def test_anything_else_is_kept(tree):
    assert _tree.take(tree, ROWS) == tree


def test_where_chooses_row_by_row():
    mask = torch.tensor([True, False, True])
    new, old = State(X + 10, 1.0, (X.long(), [X[:, 0]])), State(X, 2.0, (X.long() - 1, [-X[:, 0]]))
    found = _tree.where(mask, new, old)
    assert found.x.tolist() == [[10, 11], [2, 3], [14, 15]]
    assert found.nested[0].tolist() == [[0, 1], [1, 2], [4, 5]]
    assert found.nested[1][0].tolist() == [0, -2, 4]
    assert found.shared == 1.0


def test_where_on_dicts_and_named_tuples():
    mask = torch.tensor([False, True, False])
    found = _tree.where(mask, {"a": Pair(X + 1, 5)}, {"a": Pair(X, 6)})
    assert found["a"].a.tolist() == [[0, 1], [3, 4], [4, 5]]


def test_where_refuses_other_structures():
    with pytest.raises(ValueError, match="zip"):
        _tree.where(torch.tensor([True, True, True]), (X, X), (X,))
