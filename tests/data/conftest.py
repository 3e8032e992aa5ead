"""Tiny data sets, made on the spot in the formats of the real ones."""

import gzip
import struct

import numpy as np
import pytest


def _idx(array, magic=None):
    """The bytes of an IDX file, written from the description of the format."""
    head = bytes([0, 0, 8, array.ndim]) if magic is None else magic
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx():
    return _idx


@pytest.fixture
def fashion():
    """Write both files of a split of Fashion-MNIST: random pixels, labels counted round the classes."""

    def write(folder, split="test", n=6, zipped=False, pixels=None, labels=None):
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 256, (n, 28, 28)) if pixels is None else pixels
        labels = np.arange(n) % 10 if labels is None else labels
        prefix = {"train": "train", "test": "t10k"}[split]
        for array, kind in ((pixels, "images-idx3-ubyte"), (labels, "labels-idx1-ubyte")):
            content, name = _idx(array), f"{prefix}-{kind}"
            (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
        return pixels, labels

    return write
