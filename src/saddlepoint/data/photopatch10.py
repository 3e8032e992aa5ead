"""``photopatch10``: 32 x 32 colour patches of ten photographs, embedded as PNG (sources and licences: README.md).

The class is the photograph, so both splits show the same ones: a test bed for attacks, not of recognition.
"""

import hashlib
import io
from importlib import resources

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from saddlepoint.data.dataset import Dataset
from saddlepoint.data.reading import unit
from saddlepoint.errors import DataError, missing

SIDE = 32
STEP = {"train": 8, "test": 32}  # pixels from one patch to the next: those of test do not overlap
ROWS = {"train": 600, "test": 50}  # of each class
SHA256 = {
    "astronaut-train.png": "0658cebf055acdcb4c7e9e0fdfbe24bf6b0c72161b4cbc88b0b0b0d1c92ba328",
    "astronaut-test.png": "af329e0707d7727842c9d3cf9abf0908290864c1c940f64adb72b1e6c0b9ce3f",
    "coffee-train.png": "b32f0c2ddd20f622c93cbcd5f02ef7cacd3590b63ecd76300332723b227b3a9a",
    "coffee-test.png": "5582f858d7eec9d1495f00034ccc424bebe598449d8557d4c00efa24f647d453",
    "chelsea-train.png": "20b537f0eba1b021a98a832e40fa33b2b23450d3c09c7a6ee7369a1de262b43b",
    "chelsea-test.png": "6ee9b6b10ae40d972278f1dc01a8592ee899de25f4871b30833f3e06f9be7cb5",
    "rocket-train.png": "2ee32a081ed8b9fcd2e19d82c30c4de3ef51c230d48c36186e00f697c750d667",
    "rocket-test.png": "1745b87dfd9abdb78ab7f35ba490660860a7d3c072e934a7a2cba9da588cb4d8",
    "hubble-train.png": "05b217052667613f7742042b0f12800c99f947a1d42cddf8847597db0a4846ce",
    "hubble-test.png": "87556dfc40c841709c052c9892ec3068218e823c2dc974b93d0590dab71cfa75",
    "immunohistochemistry-train.png": "6424e760f16954b1988db35db841049e37baaa0476aa8a2bd0a9fb407c3591b7",
    "immunohistochemistry-test.png": "8fcf457aef31bdc470aa3e6b0e780b90af01e0bb75177b2fd35686192e7c0997",
    "retina-train.png": "8b0c5c2522b991fbc52a2d0d01baf6a2c60d397d47fb72943e525ce00cc5e81a",
    "retina-test.png": "af3fe645426d50fd4cd017a8fc8be7b69008d87c121e9399d915b94ddee0434a",
    "raccoon-train.png": "4432d7d522536f3e3663119b34b72eaf73e43330daa55325aaa1fad01594363f",
    "raccoon-test.png": "4a7e8d794751bde331aa27f3f2fc5453279bb3ffd05496ec0125e1d065a6b041",
    "china-train.png": "dd4173519c46329ddf89f850455b81414ea17a633a30927681966779152c8326",
    "china-test.png": "8006497effef980e6db43615887a3eda0eb1b859dc066bd006c2066ceebd1a76",
    "flower-train.png": "575d746fb2db5216c1607c2912d8e2fcf8c27cac3386de8778e86365b427a9b7",
    "flower-test.png": "80cc8d6ce56793064aae86ba17c01d311ebd6a0de431d0a5a71a862f53d886df",
}
CLASSES = tuple(name.removesuffix("-test.png") for name in SHA256 if name.endswith("-test.png"))


def load(split: str) -> Dataset:
    """The patches of one split, (n, 3, 32, 32) in [0, 1]: 6,000 rows for ``train``, 500 for ``test``.

    Each photograph has a train and a test region, which share no pixel. Rows go round the classes, in reading order.

    Raises:
        DataError: if an embedded picture cannot be read, or is not the one that was shipped.
        MissingExtraError: if Pillow is not installed.
    """
    patches = np.stack(
        [_chosen(_patches(_picture(f"{name}-{split}.png"), STEP[split]), ROWS[split]) for name in CLASSES]
    )
    return Dataset(
        x=unit(patches.swapaxes(0, 1).reshape(-1, 3, SIDE, SIDE)),
        y=torch.arange(len(CLASSES)).repeat(ROWS[split]),
        classes=CLASSES,
        name=f"photopatch10:{split}",
    )


def _picture(name: str) -> NDArray[np.uint8]:
    """The pixels (h, w, 3) of an embedded file; the bytes that are hashed are the ones that are decoded."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("Pillow", "cli") from error
    try:
        content = (resources.files("saddlepoint.data") / "photopatch10" / name).read_bytes()
    except OSError as error:
        raise DataError(
            f"the embedded file photopatch10/{name} cannot be read ({error.strerror}); install saddlepoint again"
        ) from error
    if (found := hashlib.sha256(content).hexdigest()) != SHA256[name]:
        raise DataError(
            f"the embedded file photopatch10/{name} has sha256 {found}, expected {SHA256[name]}; "
            "it was changed or damaged: install saddlepoint again"
        )
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        return np.asarray(image)


def _patches(picture: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """All patches (n, 3, 32, 32) on a grid whose values have a standard deviation of at least .05, in reading order."""
    grid = sliding_window_view(picture, (SIDE, SIDE), axis=(0, 1))[::step, ::step].reshape(-1, 3, SIDE, SIDE)
    values = grid.reshape(len(grid), -1).astype(np.int64)
    n = values.shape[1]
    spread = n * (values**2).sum(1) - values.sum(1) ** 2  # n^2 times the variance, in integers: exact everywhere
    kept: NDArray[np.uint8] = grid[spread >= (n * 255 // 20) ** 2]
    return kept


def _chosen(patches: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
    """So many of the patches, spread evenly over them."""
    return patches[np.arange(rows) * len(patches) // rows]
