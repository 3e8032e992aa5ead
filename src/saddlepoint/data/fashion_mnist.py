"""``fashion-mnist``: 28 x 28 grey pictures of clothes, from IDX files that are on this machine; nothing is downloaded.

Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747 (MIT).
"""

import os
from pathlib import Path

import torch

from saddlepoint.data.dataset import Dataset
from saddlepoint.data.idx import read_idx
from saddlepoint.data.reading import base_name, unit
from saddlepoint.errors import DataError

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
INSTALL = "sudo apt-get install dataset-fashion-mnist"
_TORCHVISION = Path("FashionMNIST", "raw")
_PREFIX = {"train": "train", "test": "t10k"}


def load(split: str, folder: Path | None) -> Dataset:
    """The rows of one split, (n, 1, 28, 28) in [0, 1]: 60,000 for ``train``, 10,000 for ``test``.

    Args:  folder: where the files are, or torchvision's ``root``; default: where Debian's package puts them.

    Raises:  DataError if a file is missing, damaged, or does not hold what its name says.
    """
    places = [DEBIAN] if folder is None else [folder, folder / _TORCHVISION]
    pixels_file = _find(places, f"{_PREFIX[split]}-images-idx3-ubyte", folder)
    labels_file = _find(places, f"{_PREFIX[split]}-labels-idx1-ubyte", folder)
    pixels, labels = read_idx(pixels_file, 3), read_idx(labels_file, 1)
    if pixels.shape[1:] != (28, 28):
        raise DataError(
            f"{base_name(pixels_file)!r} holds images of {pixels.shape[1]} x {pixels.shape[2]} pixels, those of "
            "Fashion-MNIST have 28 x 28; give the original file"
        )
    if not len(pixels):
        raise DataError(f"{base_name(pixels_file)!r} holds no image; give the original file")
    if len(pixels) != len(labels):
        raise DataError(
            f"{base_name(pixels_file)!r} holds {len(pixels)} images, {base_name(labels_file)!r} {len(labels)} labels; "
            "give two files that belong together"
        )
    if labels.max() >= len(CLASSES):
        raise DataError(
            f"{base_name(labels_file)!r} holds the label {labels.max()}; the labels of Fashion-MNIST lie in [0, 9]; "
            "give the original file"
        )
    return Dataset(
        x=unit(pixels).unsqueeze(1),
        y=torch.from_numpy(labels.astype("int64")),
        classes=CLASSES,
        name=f"fashion-mnist:{split}",
    )


def _find(places: list[Path], name: str, folder: Path | None) -> Path:
    """The file in the first place that has it, gzipped or not."""
    for place in places:
        for path in (place / name, place / f"{name}.gz"):
            if os.path.isfile(path):  # unlike Path.is_file, no error for a path that cannot exist
                return path
    if folder is None:
        raise DataError(
            f"fashion-mnist is not installed: no {name}.gz where Debian's package puts it. Install it with: {INSTALL} "
            "- or give the folder that has the IDX files: --data-dir DIR, data_dir=DIR"
        )
    raise DataError(
        f"fashion-mnist: neither {name} nor {name}.gz is in {base_name(folder)!r} or its {_TORCHVISION.as_posix()}; "
        f"give the folder of the IDX files, or leave it out after: {INSTALL}"
    )
