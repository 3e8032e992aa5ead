"""``cifar10``: 32 x 32 colour pictures, from the binary version that its authors publish; nothing is downloaded.

Records of 3,073 bytes: the label, then 1,024 bytes of red, of green and of blue, each row by row.
Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
"""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saddlepoint.data.dataset import Dataset
from saddlepoint.data.reading import base_name, unit, unreadable
from saddlepoint.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
_FOLDER, _META, _RECORD = "cifar-10-batches-bin", "batches.meta.txt", 3073
_ARCHIVE = "unpack cifar-10-binary.tar.gz, and give the folder that it makes: cifar10:PATH"


def load(split: str, folder: Path) -> Dataset:
    """The rows of one split, (n, 3, 32, 32) in [0, 1]: 50,000 for ``train``, 10,000 for ``test``.

    Args:  folder: the one with the ``.bin`` files, or the one in which the archive was unpacked.

    Raises:  DataError if a file is missing or damaged.
    """
    if not os.path.isdir(folder):
        raise DataError(f"cifar10: {base_name(folder)!r} is not a folder; {_ARCHIVE}")
    inner = folder / _FOLDER
    place = inner if os.path.isdir(inner) else folder
    records = [_records(place, name) for name in FILES[split]]
    x, start = torch.empty(sum(map(len, records)), 3, 32, 32), 0
    for part in records:
        x[start : start + len(part)] = unit(part[:, 1:].reshape(-1, 3, 32, 32))
        start += len(part)
    y = torch.from_numpy(np.concatenate([part[:, 0] for part in records]).astype(np.int64))
    return Dataset(x=x, y=y, classes=_classes(place / _META), name=f"cifar10:{split}")


def _records(place: Path, name: str) -> NDArray[np.uint8]:
    path = place / name
    if not os.path.isfile(path):
        if os.path.isfile(path.with_suffix("")):
            raise DataError(
                f"cifar10: {base_name(place)!r} holds {path.stem}, of the Python version, a pickle that is not loaded; "
                f"take the binary version: {_ARCHIVE}"
            )
        raise DataError(f"cifar10: {name} is not in {base_name(place)!r}; {_ARCHIVE}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, _ARCHIVE) from error
    if not content or len(content) % _RECORD:
        raise DataError(
            f"cifar10: {name} has {len(content)} bytes, which is no multiple of {_RECORD} (one image) above 0; "
            f"it is cut off or another file: {_ARCHIVE}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if (highest := records[:, 0].max()) >= len(CLASSES):
        raise DataError(
            f"cifar10: {name} holds the label {highest}, labels lie in [0, 9]; it is damaged, or not CIFAR-10's: "
            f"{_ARCHIVE}"
        )
    return records


def _classes(path: Path) -> tuple[str, ...]:
    """The names that the data come with; the published ones if that file is missing."""
    if not os.path.isfile(path):
        return CLASSES
    try:
        names = tuple(path.read_text(encoding="utf-8", errors="replace").split())
    except OSError as error:
        raise unreadable(path, error, _ARCHIVE) from error
    if len(names) != len(CLASSES):
        raise DataError(f"cifar10: {path.name} names {len(names)} classes, there are {len(CLASSES)}; {_ARCHIVE}")
    return names
