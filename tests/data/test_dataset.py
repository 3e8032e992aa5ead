import hashlib
import struct

import pytest
import torch

from saddlepoint.data import Dataset
from saddlepoint.errors import ArgumentTypeError, DataError

NAN, INF = float("nan"), float("inf")


def make(n=6, **changes):
    x = torch.arange(n * 4, dtype=torch.float32).view(n, 1, 2, 2) / max(n * 4, 1)
    return Dataset(**{"x": x, "y": torch.arange(n) % 3, "classes": ("a", "b", "c"), "name": "toy", **changes})


def test_rows_are_counted_from_zero_by_default():
    data = make()
    assert len(data) == 6
    assert data.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.rows.dtype == torch.int64


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, 2), [0, 2, 4]),
        (slice(None, None, -1), [5, 4, 3, 2, 1, 0]),
        (slice(4, 100), [4, 5]),
        (slice(0, 0), []),
        ([4, 0], [4, 0]),
        ([-1], [5]),
        ([], []),
        (range(3), [0, 1, 2]),
        (torch.tensor([2, 1]), [2, 1]),
        (torch.tensor([2, 1], dtype=torch.int32), [2, 1]),
        (torch.tensor([True, False, False, True, False, False]), [0, 3]),
    ],
)
def test_index_picks_rows_with_their_ids(index, expected):
    data = make()
    part = data[index]
    assert isinstance(part, Dataset)
    assert part.rows.tolist() == expected
    assert torch.equal(part.x, data.x[expected])
    assert torch.equal(part.y, data.y[expected])
    assert (part.classes, part.name, part.bounds) == (data.classes, data.name, data.bounds)


def test_ids_stay_with_their_rows_through_two_picks():
    assert make()[[5, 3, 1]][1:].rows.tolist() == [3, 1]


def test_empty_data_set_can_be_picked_from():
    empty = make(0)
    assert len(empty) == len(empty[:5]) == len(empty[[]]) == 0


@pytest.mark.parametrize("shape", [(3, 5), (3, 1, 2, 2), (3, 2, 2, 2, 2)])
def test_any_rank_of_features(shape):
    data = make(3, x=torch.zeros(shape))
    assert data[1:].x.shape == (2, *shape[1:])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("index", "message"),
    [
        (2, r"got 2; for a data set of one row write \[2:3\]"),
        ("ab", "takes a slice, integers or a mask as index, got 'ab'"),
        ([0.5], "takes integers as positions, got torch.float32"),
        (torch.zeros(2, 2, dtype=torch.int64), "takes a slice, a list of integers or a mask"),
    ],
)
def test_wrong_kind_of_index_is_refused(index, message):
    with pytest.raises(ArgumentTypeError, match=message):
        make()[index]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 6], "position 6 is outside a data set of 6 rows; positions run from -6 to 5"),
        ([-7], "position -7 is outside"),
        ([1, 1], "rows has an id twice; give every row an id of its own"),
        (torch.tensor([True]), "the mask has 1 entries, the data set 6 rows"),
    ],
)
def test_position_outside_or_twice_is_refused(index, message):
    with pytest.raises(DataError, match=message):
        make()[index]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(6, 2, dtype=torch.uint8)}, r"x is torch.uint8; .*: x.float\(\) / 255 for images of bytes"),
        ({"x": torch.zeros(6, 2, dtype=torch.float64)}, "x is torch.float64; it must be a tensor of torch.float32"),
        ({"x": [[0.0]] * 6}, "x is list; it must be a tensor"),
        ({"x": torch.zeros(6)}, r"x has shape \(6,\); it must be \(n, \*f\)"),
        ({"x": torch.full((6, 2), 255.0)}, r"x runs from 255 to 255; .* bounds=\(0, 1\)"),
        ({"x": torch.tensor([[0.0, NAN]] * 6)}, "x runs from nan to nan; it must be finite"),
        ({"x": torch.full((6, 1), INF), "bounds": (0.0, INF)}, "bounds=.* must be finite"),
        ({"x": torch.full((6, 2), 0.5), "bounds": (0.0, 0.4)}, r"bounds=\(0, 0.4\)"),
        ({"bounds": (1.0, 0.0)}, "bounds=.* must be finite"),
        ({"y": torch.zeros(6)}, r"y is torch.float32; .*torch.as_tensor\(y, dtype=torch.int64\)"),
        ({"y": [0] * 6}, "y is list"),
        ({"y": torch.zeros(5, dtype=torch.int64)}, r"y has shape \(5,\), x has 6 rows; it must be \(6,\)"),
        ({"y": torch.tensor([0, 1, 2, 3, 0, 0])}, r"y runs from 0 to 3, but there are 3 classes; .* \[0, 2\]"),
        ({"y": torch.tensor([0, -1, 2, 1, 0, 0])}, "y runs from -1 to 2"),
        ({"rows": torch.zeros(6)}, "rows is torch.float32"),
        ({"rows": torch.arange(7)}, r"rows has shape \(7,\)"),
        ({"rows": torch.zeros(6, dtype=torch.int64)}, "rows has an id twice"),
        ({"rows": torch.arange(6, device="meta")}, "rows is on meta, x is on cpu; move both to one device"),
        ({"classes": ()}, "classes is empty"),
    ],
)
def test_what_does_not_hold_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_fingerprint_depends_on_values_and_shapes_only():
    data = make()
    assert data.fingerprint == make(name="other", rows=torch.arange(6) + 9).fingerprint
    assert data.fingerprint == data[:].fingerprint
    others = [
        make(x=data.x * 0.5),
        make(x=data.x.view(6, 4)),
        make(y=(data.y + 1) % 3),
        data[[1, 0, 2, 3, 4, 5]],
        data[:5],
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_fingerprint_is_the_same_everywhere():
    content = b"torch.float32 (1, 2)" + struct.pack("<2f", 0, 1) + b"torch.int64 (1,)" + struct.pack("<q", 1)
    data = Dataset(torch.tensor([[0.0, 1.0]]), torch.tensor([1]), classes=("a", "b"), name="toy")
    assert data.fingerprint == hashlib.sha256(content).hexdigest()


def test_repr_shows_no_tensor():
    assert repr(make()) == "Dataset('toy', 6 rows of shape (1, 2, 2), 3 classes)"


def test_device_is_kept(device):
    data = make(x=torch.zeros(6, 2, device=device), y=torch.zeros(6, dtype=torch.int64, device=device))
    part = data[[3, 1]]
    assert part.x.device.type == part.rows.device.type == device.type
