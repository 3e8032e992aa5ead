"""A data set: inputs, true labels and row ids that stay with their rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, is_dense, is_number
from saddlepoint.errors import ArgumentTypeError, DataError, is_text, shown

_SLACK = 1e-6  # of the width of the bounds: rounding, which is clamped away
_COUNTED = torch.empty(0, dtype=torch.int64)  # stands for "not given"; recognised by identity


@final
@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of inputs with their true labels.

    A slice, a list or tensor of indices, or a mask picks rows and gives a data set again, in that order:

    >>> data = Dataset(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 0]), classes=("even", "odd"), name="toy")
    >>> data[1:3]
    Dataset('toy', 2 rows of shape (1, 2, 2), 2 classes)
    >>> data[[3, 0]].rows
    tensor([3, 0])

    Args:
        x: inputs (n, *f), float32, finite, within ``bounds``; what is at most 1e-6 of the width outside is clamped.
        y: true labels (n,), int64, from 0 to len(classes) - 1.
        classes: the name of each class.
        name: what reports call it.
        rows: row ids (n,), int64, no two equal; default 0 .. n-1. A row keeps its id, and so its noise, when others
            are left out.
        bounds: (lower, upper) in input units.

    Raises:  DataError if one of these does not hold.
    """

    x: Batch
    y: Labels
    classes: tuple[str, ...]
    name: str
    rows: Labels = _COUNTED
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_names(self.classes, self.name)
        _check_bounds(self.bounds)
        object.__setattr__(self, "x", _inputs(self.x, self.bounds))
        n = len(self.x)
        if self.rows is _COUNTED:
            object.__setattr__(self, "rows", torch.arange(n, device=self.x.device))
        _check_integers("y", self.y, self.x)
        _check_integers("rows", self.rows, self.x)
        low, high = (int(end) for end in self.y.aminmax()) if n else (0, 0)
        if not 0 <= low <= high < len(self.classes):
            raise DataError(
                f"y runs from {low} to {high}, but there are {len(self.classes)} classes; "
                f"labels must lie in [0, {len(self.classes) - 1}]"
            )
        if len(self.rows.unique()) != n:
            raise DataError(
                "rows has an id twice; give every row an id of its own, or leave rows out to count them from 0"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> "Dataset":
        """The rows at these positions, in this order, with the ids that they have.

        Args:  index: a slice, or integers (m,) (negative ones count from the end), or a mask (n,) of booleans.

        Raises:
            ArgumentTypeError: if the index is a single integer or something else.
            DataError: if a position lies outside the data set, or comes twice.
        """
        picked = _positions(index, len(self)).to(self.x.device)
        return replace(self, x=self.x[picked], y=self.y[picked], rows=self.rows[picked])

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self)} rows of shape {tuple(self.x.shape[1:])}, {len(self.classes)} classes)"
        )

    @property
    def fingerprint(self) -> str:
        """sha256, in hex, over the types, shapes and bytes of ``x`` and ``y``; name and row ids do not count."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.y):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _check_names(classes: object, name: object) -> None:
    if not is_text(name):
        raise DataError(f"name={shown(name)} must be text that can be written as UTF-8: what reports call the data set")
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise DataError(f"classes is {type(classes).__name__}; it must be a tuple with the name of each class")
    if not classes:
        raise DataError("classes is empty; name at least one class")
    if not all(map(is_text, classes)):
        raise DataError(f"classes={shown(classes)} must hold texts that can be written as UTF-8: map(str, classes)")


def _check_bounds(bounds: object) -> None:
    pair = isinstance(bounds, tuple | list) and len(bounds) == 2 and all(map(is_number, bounds))
    if not pair or not -float("inf") < bounds[0] < bounds[1] < float("inf"):  # type: ignore[index]
        raise DataError(f"bounds={shown(bounds)} must be finite with lower < upper; for images in [0, 1] use (0, 1)")


def _inputs(x: object, bounds: tuple[float, float]) -> Tensor:
    """The inputs without gradient, clamped to the bounds where rounding left them."""
    if not is_dense(x) or x.dtype != torch.float32:
        kind = _kind(x)
        remedy = "x.float() / 255 for images of bytes" if "uint8" in kind else "torch.as_tensor(x, dtype=torch.float32)"
        raise DataError(f"x is {kind}; it must be a tensor of torch.float32: {remedy}")
    if x.dim() < 2 or 0 in x.shape[1:]:
        raise DataError(f"x has shape {tuple(x.shape)}; it must be (n, *f): rows first, then at least one feature axis")
    x = x.detach()
    if not x.numel():
        return x
    slack = _SLACK * (bounds[1] - bounds[0])
    low, high = (float(end) for end in x.aminmax())
    if not bounds[0] - slack <= low <= high <= bounds[1] + slack:  # fails for NaN, too
        raise DataError(
            f"x runs from {low:g} to {high:g}; it must be finite and lie in bounds=({bounds[0]:g}, {bounds[1]:g}). "
            "Give the bounds of your inputs, and leave normalisation to the model: Classifier(mean=..., std=...)"
        )
    return x if bounds[0] <= low and high <= bounds[1] else x.clamp(*bounds)


def _kind(value: object) -> str:
    """What a value is, for a message."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return str(value.dtype) if is_dense(value) else f"no dense tensor of {value.dtype} on {value.device}"


def _check_integers(name: str, values: object, x: Tensor) -> None:
    if not isinstance(values, Tensor) or values.dtype != torch.int64 or values.layout is not torch.strided:
        raise DataError(
            f"{name} is {_kind(values)}; it must be a tensor of torch.int64: torch.as_tensor({name}, dtype=torch.int64)"
        )
    if values.shape != (len(x),):
        raise DataError(
            f"{name} has shape {tuple(values.shape)}, x has {len(x)} rows; it must be ({len(x)},): one value per row"
        )
    if values.device != x.device:
        raise DataError(f"{name} is on {values.device}, x is on {x.device}; move both to one device")


def _positions(index: object, n: int) -> Tensor:
    """An index of any allowed kind as positions (m,) from 0 to n-1."""
    if isinstance(index, slice):
        return (
            torch.arange(n)[index]
            if index.step is None or index.step > 0
            else torch.tensor(range(n)[index], dtype=torch.int64)
        )
    try:
        given = torch.as_tensor(index)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentTypeError(f"a data set takes a slice, integers or a mask as index, got {index!r}") from error
    if given.dim() != 1:
        remedy = f"; for a data set of one row write [{index}:{index + 1}]" if isinstance(index, int) else ""
        raise ArgumentTypeError(
            f"a data set takes a slice, a list of integers or a mask as index, got {index!r}{remedy}"
        )
    if given.dtype == torch.bool:
        if len(given) != n:
            raise DataError(f"the mask has {len(given)} entries, the data set {n} rows; give one entry per row")
        return given.nonzero()[:, 0]
    if given.numel() and (given.is_floating_point() or given.is_complex()):
        raise ArgumentTypeError(f"a data set takes integers as positions, got {given.dtype}")
    outside = given[(given < -n) | (given >= n)]
    if len(outside):
        raise DataError(
            f"position {int(outside[0])} is outside a data set of {n} rows; positions run from {-n} to {n - 1}"
        )
    return given.to(torch.int64) % max(n, 1)
