"""A data set: inputs, true labels and row ids that stay with their rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.errors import ArgumentTypeError, DataError

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
        x: inputs (n, *f), float32, finite, within ``bounds``.
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
        if not -float("inf") < self.bounds[0] < self.bounds[1] < float("inf"):
            raise DataError(f"bounds={self.bounds} must be finite with lower < upper; for images in [0, 1] use (0, 1)")
        _check_inputs(self.x, self.bounds)
        n = len(self.x)
        if self.rows is _COUNTED:
            object.__setattr__(self, "rows", torch.arange(n, device=self.x.device))
        _check_integers("y", self.y, self.x)
        _check_integers("rows", self.rows, self.x)
        if not self.classes:
            raise DataError("classes is empty; name at least one class")
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


def _check_inputs(x: object, bounds: tuple[float, float]) -> None:
    if not isinstance(x, Tensor) or x.dtype != torch.float32:
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        remedy = (
            "x.float() / 255 for images of bytes" if kind == torch.uint8 else "torch.as_tensor(x, dtype=torch.float32)"
        )
        raise DataError(f"x is {kind}; it must be a tensor of torch.float32: {remedy}")
    if x.dim() < 2:
        raise DataError(f"x has shape {tuple(x.shape)}; it must be (n, *f): rows first, then at least one feature axis")
    if not x.numel():
        return
    low, high = (float(end) for end in x.aminmax())
    if not bounds[0] <= low <= high <= bounds[1]:  # fails for NaN, too
        raise DataError(
            f"x runs from {low:g} to {high:g}; it must be finite and lie in bounds=({bounds[0]:g}, {bounds[1]:g}). "
            "Give the bounds of your inputs, and leave normalisation to the model: Classifier(mean=..., std=...)"
        )


def _check_integers(name: str, values: object, x: Tensor) -> None:
    if not isinstance(values, Tensor) or values.dtype != torch.int64:
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise DataError(
            f"{name} is {kind}; it must be a tensor of torch.int64: torch.as_tensor({name}, dtype=torch.int64)"
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
