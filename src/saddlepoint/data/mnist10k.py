"""``mnist10k``: the first 10,000 training digits of MNIST, shuffled once, embedded (CC BY-SA 3.0, see README.md)."""

import zipfile
from importlib import resources

import numpy as np
import torch

from saddlepoint.data.dataset import Dataset
from saddlepoint.errors import DataError

SPLITS = {"train": slice(0, 8_000), "test": slice(8_000, 10_000)}


def load(split: str) -> Dataset:
    """The digits of one split, (n, 1, 28, 28) in [0, 1]: 8,000 rows for ``train``, 2,000 for ``test``.

    Both splits come from the official training set of MNIST, so ``test`` is not its official test set.

    Raises:  DataError if the embedded file is damaged.
    """
    file = resources.files("saddlepoint.data") / "mnist10k.npz"
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            images, labels = arrays["images"][SPLITS[split]], arrays["labels"][SPLITS[split]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"the embedded file mnist10k.npz cannot be read ({error}); install saddlepoint again"
        ) from error
    return Dataset(
        x=torch.from_numpy(images).float().div(255).unsqueeze(1),
        y=torch.from_numpy(labels).long(),
        classes=tuple("0123456789"),
        name=f"mnist10k:{split}",
    )
