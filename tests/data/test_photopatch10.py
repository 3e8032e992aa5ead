import hashlib
import shutil
import sys
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.data import load_data, photopatch10
from saddlepoint.data.photopatch10 import PHOTOGRAPHS, ROWS, SIDE, STEP
from saddlepoint.errors import DataError, MissingExtraError

FOLDER = resources.files("saddlepoint.data") / "photopatch10"
FINGERPRINTS = {
    "train": "799476b372bff66b1d3becb6dd85eafe49cef6145ab637b743e7d3d1d65c5954",
    "test": "3a99da5c06ebb17593b965995379d80212b546246edf20b438700660c15e05ac",
}


@pytest.fixture(scope="module")
def loaded():
    return {split: load_data(f"photopatch10:{split}") for split in ("train", "test")}


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """A copy of the embedded pictures, which is read instead of them."""
    shutil.copytree(FOLDER, tmp_path / "photopatch10")
    monkeypatch.setattr("saddlepoint.data.photopatch10.resources.files", lambda package: tmp_path)
    return tmp_path / "photopatch10"


def picture(name):
    with Image.open(FOLDER / f"{name}.png") as image:
        assert image.mode == "RGB"
        return np.asarray(image)


@pytest.mark.parametrize(("split", "n"), [("train", 6000), ("test", 500)])
def test_shape_range_and_labels(loaded, split, n):
    data = loaded[split]
    assert data.x.shape == (n, 3, 32, 32)
    assert (data.x.dtype, data.y.dtype) == (torch.float32, torch.int64)
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)
    assert torch.equal(data.x * 255, (data.x * 255).round())
    assert data.name == f"photopatch10:{split}"
    assert data.y.tolist() == list(range(10)) * (n // 10)  # round the classes
    assert len(data.classes) == 10


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_rows_are_those_that_the_models_were_trained_on(loaded, split):
    assert loaded[split].fingerprint == FINGERPRINTS[split]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_patch_has_contrast(loaded, split):
    assert loaded[split].x.double().flatten(1).std(1, correction=0).min() >= 0.05


def test_a_patch_just_below_the_contrast_is_left_out():
    def half_and_half(difference):
        image = np.full((32, 32, 3), 100, np.uint8)
        image[16:] += np.uint8(difference)
        return len(photopatch10._patches(image, 32))

    assert (half_and_half(25), half_and_half(26)) == (0, 1)  # deviates by half the difference; .05 of 255 is 12.75


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_splits_share_no_pixel(name):
    """Each pixel's three bytes are its number: the bands of a split must consist of numbers of its own."""
    height, width, _ = picture(name).shape
    numbers = np.arange(height * width, dtype="<u4").view(np.uint8).reshape(height, width, 4)[..., :3]
    seen = {}
    for split in ("train", "test"):
        bands = photopatch10._bands(numbers, PHOTOGRAPHS[name].widths, split)
        assert all(band.shape[1] >= SIDE for band in bands)
        seen[split] = {pixel for band in bands for pixel in map(tuple, band.reshape(-1, 3).tolist())}
    assert not seen["train"] & seen["test"]
    assert len(seen["train"] | seen["test"]) == height * width


@pytest.mark.parametrize("split", ["train", "test"])
def test_patches_are_cut_from_the_bands_of_their_split(loaded, split):
    """Where a patch may lie, written anew, patch by patch."""
    for label, (name, photograph) in enumerate(PHOTOGRAPHS.items()):
        image, edges = picture(name), np.cumsum((0, *photograph.widths))
        places = set()
        for band in range(1 if split == "test" else 0, 7, 2):
            for top in range(0, len(image) - SIDE + 1, STEP[split]):
                for left in range(edges[band], edges[band + 1] - SIDE + 1, STEP[split]):
                    places.add(image[top : top + SIDE, left : left + SIDE].tobytes())
        rows = loaded[split].x[loaded[split].y == label].mul(255).round().byte().permute(0, 2, 3, 1)
        found = {row.contiguous().numpy().tobytes() for row in rows}
        assert found <= places, name
        assert len(found) == len(rows) == ROWS[split]  # no patch twice


def test_patches_of_the_test_split_do_not_overlap():
    assert STEP["test"] == SIDE


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_each_picture_is_the_one_whose_hash_stands_in_the_code(name):
    assert hashlib.sha256((FOLDER / f"{name}.png").read_bytes()).hexdigest() == PHOTOGRAPHS[name].sha256


def test_the_pictures_are_few_and_small_and_each_has_a_licence():
    files = {file.name: len(file.read_bytes()) for file in FOLDER.iterdir()}
    assert set(files) == {f"{name}.png" for name in PHOTOGRAPHS}
    assert sum(files.values()) < 2_000_000
    told = (resources.files("saddlepoint.data") / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | s" in told.lower() for name in files)


def test_a_changed_picture_is_refused_and_named(copies):
    Image.new("RGB", (416, 288)).save(copies / "chelsea.png")
    with pytest.raises(
        DataError, match="photopatch10/chelsea.png has sha256 .* expected 10e09c84.*install saddlepoint"
    ):
        load_data("photopatch10:test")


def test_a_missing_picture_is_named(copies):
    (copies / "flower.png").unlink()
    with pytest.raises(DataError, match="photopatch10/flower.png cannot be read .No such file.*install saddlepoint"):
        load_data("photopatch10:test")


def test_copies_are_what_is_read(copies):
    assert load_data("photopatch10:test").fingerprint == FINGERPRINTS["test"]


def test_without_pillow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'saddlepoint\[cli\]'"):
        load_data("photopatch10:test")
