"""``npz``: images and labels from a NumPy archive, without pickles."""

import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saddlepoint.data.dataset import Dataset
from saddlepoint.data.reading import base_name, text, unit
from saddlepoint.errors import DataError

_PAIRS = {
    None: (("x", "y"), ("images", "labels")),
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
_LAYOUT = re.compile(r"@(nchw|nhwc)$")
_CHANNELS = (1, 3, 4)  # what the last axis of images has when the channels are last
_ARCHIVES = (b"PK", b"\x93NUMPY")  # what files of NumPy begin with
_MOST_CLASSES = 100_000
_SAVE = "save plain arrays: numpy.savez(file, x=images, y=labels)"
_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)

Array = NDArray[Any]


def load(where: str, split: str | None) -> Dataset:
    """The rows of a file, in its order: arrays ``x, y`` or ``images, labels``, and names in ``classes`` if it has them.

    Images are uint8 (divided by 255) or float32 in [0, 1]; (n, c, h, w), or (n, h, w) for one channel, or (n, f).
    Labels are integers (n,) or (n, 1).

    Args:
        where: the path; ``@nhwc`` after it: channels last; ``@nchw``: channels first, also where it looks otherwise.
        split: None, or ``train``, ``test`` for ``x_train, y_train`` or ``train_images, train_labels``, and so on.

    Raises:  DataError if the file cannot be read, or its arrays are none of these.
    """
    layout = _LAYOUT.search(where)
    path = Path(where[: layout.start()] if layout else where)
    name = base_name(path)
    pixels, labels, classes = _arrays(path, name, split)
    y = _labels(labels, name, classes)
    names = tuple(map(text, classes)) if classes else tuple(map(str, range(int(y.max()) + 1 if len(y) else 1)))
    x = _channels_first(_inputs(pixels, name), name, layout[1] if layout else None)
    if len(x) != len(y):
        raise DataError(f"{name!r} holds {len(x)} images and {len(y)} labels; save one label for each image")
    if not len(x):
        raise DataError(f"{name!r} holds no rows; save at least one")
    return Dataset(x=x, y=y, classes=names, name=f"npz:{name}" + (f":{split}" if split else ""))


def _arrays(path: Path, name: str, split: str | None) -> tuple[Array, Array, list[str]]:
    """Images, labels, and names of classes (none if the file has none)."""
    if not os.path.isfile(path):
        raise DataError(f"npz: there is no file {name!r}; write npz:PATH, npz:PATH@nhwc or npz:PATH:test")
    pairs = _PAIRS[split]
    asked = " or ".join(", ".join(pair) for pair in pairs)
    try:
        with path.open("rb") as stream:  # NumPy leaves a file open that it cannot read
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{name!r} is a single array; {_SAVE}")
            pair = next((pair for pair in pairs if set(pair) <= set(file.files)), None)
            if pair is None:
                _other_split(set(file.files), name, split)
                held = ", ".join(repr(text(each)) for each in sorted(file.files)[:8]) or "nothing"
                raise DataError(f"{name!r} holds {held}; it must hold {asked}: {_SAVE}")
            classes = file["classes"] if "classes" in file.files else np.empty(0, dtype=str)
            pixels, labels = file[pair[0]], file[pair[1]]
    except DataError:
        raise
    except _BROKEN as error:
        pickled = "pickle" in str(error)  # what NumPy says of all that it does not know
        if pickled and not _starts(path, *_ARCHIVES, b"\x80"):
            raise DataError(f"{name!r} is or holds no .npz file, whatever its name; {_SAVE}") from error
        said = "pickles, which are not loaded" if pickled else f"no readable .npz file ({type(error).__name__})"
        raise DataError(f"{name!r} is or holds {said}; {_SAVE}") from error
    if not all(isinstance(array, np.ndarray) for array in (pixels, labels, classes)):
        raise DataError(f"{name!r} holds files that are no arrays; {_SAVE}")
    if classes.dtype.kind != "U" or classes.ndim != 1:
        raise DataError(f"{name!r}: classes has type {classes.dtype}; it must be one axis of strings, or left out")
    return pixels, labels, classes.tolist()


def _other_split(held: set[str], name: str, split: str | None) -> None:
    """Raises:  DataError if a file holds rows, but of other splits than was asked for."""
    others = [each for each, pairs in _PAIRS.items() if each != split and any(set(pair) <= held for pair in pairs)]
    if others:
        specs = " or ".join(f"npz:{name}" + (f":{each}" if each else "") for each in reversed(others))
        asked = " or ".join(", ".join(pair) for pair in _PAIRS[split])
        raise DataError(
            f"{name!r} holds {', '.join(repr(text(each)) for each in sorted(held)[:8])}; it must hold {asked}. "
            f"Did you mean {specs}?"
        )


def _starts(path: Path, *marks: bytes) -> bool:
    """Whether a file begins with one of these bytes; an empty one does not."""
    with path.open("rb") as stream:
        return stream.read(max(map(len, marks))).startswith(marks)


def _labels(labels: Array, name: str, classes: list[str]) -> Tensor:
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name!r}: labels have type {labels.dtype}; they must be integers: y.astype('int64')")
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1:
        raise DataError(
            f"{name!r}: labels have shape {labels.shape}; they must be (n,), one class index per image: "
            "y.argmax(1) for rows of zeros with a one"
        )
    if flat.size:
        low, high, most = int(flat.min()), int(flat.max()), len(classes) or _MOST_CLASSES
        if not 0 <= low <= high < most:
            counted = f"the {most} names in classes" if classes else "class indices"
            raise DataError(
                f"{name!r}: labels run from {low} to {high}; for {counted} they must lie in [0, {most - 1}]"
            )
    return torch.from_numpy(flat.astype(np.int64))


def _inputs(pixels: Array, name: str) -> Tensor:
    if pixels.dtype == np.uint8:
        return unit(pixels)
    if pixels.dtype.newbyteorder("=") != np.float32:
        raise DataError(
            f"{name!r}: images have type {pixels.dtype}; they must be uint8 from 0 to 255: x.astype('uint8'), or "
            "float32 in [0, 1]: x.astype('float32')"
        )
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if not 0 <= low <= high <= 1:  # fails for NaN, too
        raise DataError(
            f"{name!r}: float32 images run from {low:g} to {high:g}; they must be finite and lie in [0, 1]. Divide by "
            "255, or save bytes, and leave normalisation to the model: Classifier(mean=..., std=...)"
        )
    return torch.from_numpy(pixels.astype(np.float32))


def _channels_first(x: Tensor, name: str, layout: str | None) -> Tensor:
    if layout and x.dim() != 4:
        raise DataError(f"{name!r}: images have shape {tuple(x.shape)}; @{layout} needs four axes; leave it out")
    if x.dim() == 4:
        if layout == "nhwc":
            return x.permute(0, 3, 1, 2).contiguous()
        if layout is None and x.shape[3] in _CHANNELS and x.shape[1] not in _CHANNELS:
            raise DataError(
                f"{name!r}: images have shape {tuple(x.shape)}, which looks like (n, h, w, c); they must be "
                "(n, c, h, w): write npz:PATH@nhwc, or save x.transpose(0, 3, 1, 2); npz:PATH@nchw if it is meant so"
            )
        return x
    if x.dim() == 3:
        return x.unsqueeze(1)
    if x.dim() == 2:
        return x
    raise DataError(f"{name!r}: images have shape {tuple(x.shape)}; they must be (n, c, h, w), (n, h, w) or (n, f)")
