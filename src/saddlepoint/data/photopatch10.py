"""``photopatch10``: 32 x 32 colour patches of ten photographs, embedded as PNG (sources and licences: README.md).

The class is the photograph, so both splits show the same ones: a test bed for attacks, not of recognition.
"""

import hashlib
import io
from importlib import resources
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from saddlepoint.data.dataset import Dataset
from saddlepoint.data.reading import SPLITS, unit
from saddlepoint.errors import DataError, missing

SIDE = 32
STEP = {"train": 4, "test": 32}  # pixels from one patch to the next: those of test do not overlap
ROWS = {"train": 600, "test": 50}  # of each class


class Photograph(NamedTuple):
    """An embedded picture, cut into bands of columns: the first is of the train region, the next of test, and so on."""

    widths: tuple[int, ...]
    sha256: str


_NARROW, _WIDE = (48, 64, 48, 32, 48, 64, 48), (48, 64, 48, 64, 48, 64, 48)
_LOW, _SPARSE = (56, 64, 56, 64, 56, 64, 56), (56, 96, 56, 64, 56, 96, 56)
PHOTOGRAPHS = {
    "astronaut": Photograph(_WIDE, "a205c944756927fb629414d1455a334769352aa5a51e6910637916157732d74f"),
    "coffee": Photograph(_NARROW, "80d71ec2f7e354d1b0f50027f5c1b657824eed6706ed62b05237fff2c88c4ec1"),
    "chelsea": Photograph(_LOW, "10e09c84d125a38d6dde87d08ed49380dd43ead19fbe2e224e675f3a2d47bbca"),
    "rocket": Photograph(_WIDE, "f5a0aaa92aeb601671d94fcc64e3b2a0c30932de1ee00a5ea4607003a6393c6c"),
    "hubble": Photograph(_SPARSE, "6e85506ec623a57b80f49bacc3a5282c03bc902ae777b8ae2432cecb27dc80ac"),
    "immunohistochemistry": Photograph(_WIDE, "8f3be62daa7e586abafe0235f80e6ee754ee0bea5e8023da1b1b418b78d17bcd"),
    "retina": Photograph(_NARROW, "da60b4fc7ebc86de99442d802363ea020df064511070611136f48e4643307486"),
    "raccoon": Photograph(_NARROW, "797ba62870066dad76303efd015887a3179f1d329d3094d19491da8a39a3a710"),
    "china": Photograph(_WIDE, "352e9d2eaf7c7fdcbc7bdd4d92ee807ac013f5cf767f7b6ed20e876f0a2e5b5a"),
    "flower": Photograph(_WIDE, "416f349cc7ba24434f2bb87ea5ae5182dd2a76bbf3435d59d8ba55d3ead4b74a"),
}


def load(split: str) -> Dataset:
    """The patches of one split, (n, 3, 32, 32) in [0, 1]: 6,000 rows for ``train``, 500 for ``test``.

    Each photograph is cut into seven bands, of train and test in turn: the splits share no pixel. Rows go round the
    classes.

    Raises:
        DataError: if an embedded picture cannot be read, or is not the one that was shipped.
        MissingExtraError: if Pillow is not installed.
    """
    patches = np.stack([_rows(name, split) for name in PHOTOGRAPHS], axis=1)
    return Dataset(
        x=unit(patches.reshape(-1, 3, SIDE, SIDE)),
        y=torch.arange(len(PHOTOGRAPHS)).repeat(ROWS[split]),
        classes=tuple(PHOTOGRAPHS),
        name=f"photopatch10:{split}",
    )


def _rows(name: str, split: str) -> NDArray[np.uint8]:
    """The patches (rows, 3, 32, 32) of one class: all that have contrast, thinned out evenly."""
    bands = _bands(_picture(name), PHOTOGRAPHS[name].widths, split)
    patches = np.concatenate([_patches(band, STEP[split]) for band in bands])
    return patches[np.arange(ROWS[split]) * len(patches) // ROWS[split]]


def _bands(picture: NDArray[np.uint8], widths: tuple[int, ...], split: str) -> list[NDArray[np.uint8]]:
    """The bands of a picture (h, w, 3) that belong to a split."""
    bands = np.split(picture, np.cumsum(widths)[:-1], axis=1)
    return bands[SPLITS.index(split) :: 2]


def _picture(name: str) -> NDArray[np.uint8]:
    """The pixels (h, w, 3) of a photograph; the bytes that are hashed are the ones that are decoded."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("Pillow", "cli") from error
    shown, expected = f"photopatch10/{name}.png", PHOTOGRAPHS[name].sha256
    try:
        content = (resources.files("saddlepoint.data") / shown).read_bytes()
    except OSError as error:
        raise DataError(
            f"the embedded file {shown} cannot be read ({error.strerror}); install saddlepoint again"
        ) from error
    if (found := hashlib.sha256(content).hexdigest()) != expected:
        raise DataError(
            f"the embedded file {shown} has sha256 {found}, expected {expected}; "
            "it was changed or damaged: install saddlepoint again"
        )
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        return np.asarray(image)


def _patches(picture: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """The patches (n, 3, 32, 32) on a grid whose 3,072 values deviate by at least .05 (standard deviation, of 1)."""
    grid = sliding_window_view(picture, (SIDE, SIDE), axis=(0, 1))[::step, ::step].reshape(-1, 3, SIDE, SIDE)
    values = grid.reshape(len(grid), -1).astype(np.int64)
    n = values.shape[1]
    spread = n * (values**2).sum(1) - values.sum(1) ** 2  # n^2 times the variance, in integers: exact everywhere
    kept: NDArray[np.uint8] = grid[spread >= (n * 255 // 20) ** 2]
    return kept
