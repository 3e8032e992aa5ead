"""What several readers share: names for messages, and bytes as inputs in [0, 1]."""

from os import PathLike, fspath
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saddlepoint.errors import DataError

SPLITS = ("train", "test")


def text(name: str) -> str:
    r"""A file name that can be written as UTF-8; bytes that are none become ``\xNN``.

    >>> text("birds"), text("caf\udce9")
    ('birds', 'caf\\xe9')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def base_name(path: str | PathLike[str]) -> str:
    """The last part of a path: messages, reports and names of data sets show no more of it.

    >>> base_name("/home/ada/sets/birds/"), base_name(".")
    ('birds', '.')
    """
    return text(Path(path).name or fspath(path))


def unreadable(path: Path, error: OSError, remedy: str) -> DataError:
    """The error for a file or folder that the system does not let us read."""
    return DataError(f"{base_name(path)!r} cannot be read ({error.strerror or type(error).__name__}); {remedy}")


def unit(pixels: NDArray[np.uint8]) -> Tensor:
    """Bytes as float32 inputs, divided by 255."""
    return torch.from_numpy(pixels.astype(np.float32)).div_(255)
