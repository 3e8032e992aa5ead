"""``folder``: images in one folder per class, read by Pillow."""

import os
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from saddlepoint.data.dataset import Dataset
from saddlepoint.data.reading import SPLITS, base_name, text, unit, unreadable
from saddlepoint.errors import DataError, missing

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_SIZE = re.compile(r"@([1-9]\d{0,4})$")
_GREY, _COLOUR, _ALPHA = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"), ("LA", "RGBA", "PA")
_THREADS = 8


class _File(NamedTuple):
    path: Path
    label: int

    def __str__(self) -> str:
        return repr(text(f"{self.path.parent.name}/{self.path.name}"))


def load(where: str, split: str | None) -> Dataset:
    """The images below a folder, (n, c, h, w) in [0, 1]: one channel if all are grey, otherwise three.

    Classes are its folders, by name. Rows go round the classes: the first file, by name, of each class, then the second
    of each, so that the first rows are of every class.

    Args:
        where: the path; ``@32`` after it: each image is scaled until it covers 32 x 32 pixels, and cut in its middle.
        split: None, or ``train``, ``test`` for the folder of that name in it; then the classes are those of both.

    Raises:
        DataError: if there is no image, one cannot be read, or, without a size, they are not all of one size.
        MissingExtraError: if Pillow is not installed.
    """
    sized = _SIZE.search(where)
    size, root = (int(sized[1]), Path(where[: sized.start()])) if sized else (None, Path(where))
    name = base_name(root)
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise missing("Pillow", "cli") from error
    place = root / split if split else root
    if not os.path.isdir(place):
        shown = f"{name}/{split}" if split else name
        raise DataError(f"folder: there is no folder {shown!r}; write folder:PATH, folder:PATH@32 or folder:PATH:test")
    among = [root / each for each in SPLITS if os.path.isdir(root / each)] if split else [place]
    classes = sorted({each for one in among for each in _names(one, folders=True)})
    files = _files(place, classes, name)
    with ThreadPoolExecutor(max_workers=min(_THREADS, os.cpu_count() or 1)) as pool:
        images = list(pool.map(partial(_read, size=size), files))  # the first error, in this order, ends it
    _check_sizes(files, images, name)
    channels = max(image.shape[2] for image in images)
    x = torch.empty(len(images), channels, *images[0].shape[:2])
    for row, image in zip(x, images, strict=True):
        row.copy_(unit(image).permute(2, 0, 1))  # grey into three channels: the same in each
    shown = f"folder:{name}" + (f"@{size}" if size else "") + (f":{split}" if split else "")
    return Dataset(x=x, y=torch.tensor([file.label for file in files]), classes=tuple(map(text, classes)), name=shown)


def _names(folder: Path, *, folders: bool) -> list[str]:
    """Names in a folder, sorted, without hidden ones: its folders, or its files."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir() == folders)
    except OSError as error:
        raise unreadable(folder, error, "see that you may read it") from error


def _files(place: Path, classes: list[str], name: str) -> list[_File]:
    """Every image, round the classes."""
    found: list[tuple[int, _File]] = []
    for label, folder in enumerate(map(place.joinpath, classes)):
        if not os.path.isdir(folder):  # a class of the other split only
            continue
        images = [each for each in _names(folder, folders=False) if each.lower().endswith(ENDINGS)]
        if not images and (deeper := _names(folder, folders=True)):
            example = f"{text(folder.name)}/{text(deeper[0])}"
            raise DataError(
                f"folder: {name!r} holds {example!r}, folders in folders; give the one whose folders are the classes, "
                "for example folder:PATH:train for PATH/train"
            )
        found += [(turn, _File(folder / each, label)) for turn, each in enumerate(images)]
    if not found:
        raise DataError(
            f"folder: {name!r} has {len(classes)} class folders, and no image in them; put images "
            f"({', '.join(ENDINGS)}) into one folder per class: PATH/CLASS/NAME.png"
        )
    return [file for _, file in sorted(found, key=lambda item: (item[0], item[1].label))]


def _read(file: _File, size: int | None) -> NDArray[np.uint8]:
    """One image, (h, w, 1) or (h, w, 3)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file.path, formats=FORMATS) as image:
            image.load()
            plain = _plain(image, file)
    except DataError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(
            f"folder: {file} is no readable image ({type(error).__name__}); replace it, or take it out of the folder"
        ) from error
    if size is not None:
        plain = ImageOps.fit(plain, (size, size), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(plain, dtype=np.uint8))


def _plain(image: "Image.Image", file: _File) -> "Image.Image":
    """Eight bits of grey or RGB."""
    if image.mode not in _GREY + _COLOUR:
        raise DataError(f"folder: {file} has pixels of type {image.mode!r}; save it with 8 bits, grey or RGB")
    mode = "L" if image.mode in _GREY else "RGB"
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise DataError(f"folder: {file} is transparent in places; save it on a background, without transparency")
    return image.convert(mode)


def _check_sizes(files: list[_File], images: list[NDArray[np.uint8]], name: str) -> None:
    (height, width), first = images[0].shape[:2], files[0]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != (height, width):
            raise DataError(
                f"folder: {file} has {image.shape[1]} x {image.shape[0]} pixels, {first} {width} x {height}; all must "
                f"have one size: folder:PATH@{min(height, width)} scales each until it covers a square, and cuts it"
            )
