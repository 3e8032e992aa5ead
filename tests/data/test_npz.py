import zipfile

import numpy as np
import pytest
import torch

from saddlepoint.data import load_data
from saddlepoint.errors import DataError

BYTES = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
Y = np.array([0, 2, 1, 2])


@pytest.fixture
def saved(tmp_path):
    """Save arrays, and load them by a spec with this at its end."""

    def run(suffix="", **arrays):
        np.savez(tmp_path / "rows.npz", **arrays)
        return load_data(f"npz:{tmp_path / 'rows.npz'}{suffix}")

    return run


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels")])
def test_bytes_are_divided_by_255(saved, names):
    data = saved(**dict(zip(names, (BYTES, Y), strict=True)))
    assert torch.equal(data.x, torch.from_numpy(BYTES).float() / 255)
    assert data.y.tolist() == [0, 2, 1, 2]
    assert data.classes == ("0", "1", "2")
    assert data.name == "npz:rows.npz"


@pytest.mark.parametrize("kind", ["<f4", ">f4"])
def test_floats_are_kept(saved, kind):
    x = (BYTES / 300).astype(kind)
    assert torch.equal(saved(x=x, y=Y).x, torch.from_numpy(x.astype(np.float32)))


def test_compressed_files_are_read(tmp_path):
    np.savez_compressed(tmp_path / "rows.npz", x=BYTES, y=Y)
    assert len(load_data(f"npz:{tmp_path / 'rows.npz'}")) == 4


@pytest.mark.parametrize(
    ("shape", "suffix", "becomes"),
    [
        ((2, 3, 8, 8), "", (2, 3, 8, 8)),
        ((2, 3, 8, 3), "", (2, 3, 8, 3)),
        ((2, 12, 8, 8), "", (2, 12, 8, 8)),
        ((2, 8, 9), "", (2, 1, 8, 9)),
        ((2, 8), "", (2, 8)),
        ((2, 8, 9, 3), "@nhwc", (2, 3, 8, 9)),
        ((2, 8, 9, 3), "@nchw", (2, 8, 9, 3)),
        ((2, 1, 8, 8), "@nchw", (2, 1, 8, 8)),
    ],
)
def test_shapes(saved, shape, suffix, becomes):
    data = saved(suffix, x=np.zeros(shape, np.uint8), y=np.zeros(2, int))
    assert data.x.shape == becomes
    assert data.x.is_contiguous()


def test_channels_last_holds_the_same_pixels(saved):
    data = saved("@nhwc", x=BYTES.transpose(0, 2, 3, 1), y=Y)
    assert torch.equal(data.x, torch.from_numpy(BYTES).float() / 255)


@pytest.mark.parametrize("y", [Y.astype(np.uint8), Y.astype(">i2"), Y[:, None], Y.astype(np.uint64)])
def test_labels_of_any_integer_type(saved, y):
    data = saved(x=BYTES, y=y)
    assert data.y.dtype == torch.int64
    assert data.y.tolist() == [0, 2, 1, 2]


def test_classes_may_have_names(saved):
    data = saved(x=BYTES, y=Y, classes=np.array(["cat", "dog", "gnu", "emu"]))
    assert data.classes == ("cat", "dog", "gnu", "emu")


@pytest.mark.parametrize("names", ["x_{0} y_{0}", "{0}_images {0}_labels"])
def test_splits_in_one_file(saved, names):
    arrays = {}
    for n, split in ((4, "train"), (2, "test")):
        x, y = names.format(split).split()
        arrays |= {x: BYTES[:n], y: Y[:n]}
    for n, split in ((4, "train"), (2, "test")):
        data = saved(f":{split}", **arrays)
        assert (len(data), data.name) == (n, f"npz:rows.npz:{split}")
    assert len(saved("@nchw:train", **arrays)) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "holds nothing; it must hold x, y or images, labels: save plain arrays: numpy.savez"),
        ({"x": BYTES, "labels": Y}, "holds 'labels', 'x'; it must hold x, y or images, labels"),
        ({"x": np.array([object()]), "y": Y}, "holds pickles, which are not loaded; save plain arrays"),
        ({"x": BYTES.astype(float), "y": Y}, r"images have type float64; .*x.astype\('float32'\)"),
        ({"x": BYTES.astype(int), "y": Y}, r"images have type int64; .*x.astype\('uint8'\)"),
        ({"x": BYTES.astype(np.float32), "y": Y}, r"float32 images run from \d+ to 255; .*\[0, 1\]. Divide by 255"),
        ({"x": np.full((4, 1, 2, 2), np.nan, np.float32), "y": Y}, "run from nan to nan; they must be finite"),
        (
            {"x": BYTES.transpose(0, 2, 3, 1), "y": Y},
            r"\(4, 5, 6, 3\), which looks like .*npz:PATH@nhwc, or save x.tra",
        ),
        (
            {"x": np.zeros(4, np.uint8), "y": Y},
            r"images have shape \(4,\); they must be \(n, c, h, w\), \(n, h, w\) or",
        ),
        ({"x": np.zeros((4, 1, 2, 2, 2), np.uint8), "y": Y}, r"images have shape \(4, 1, 2, 2, 2\)"),
        ({"x": BYTES[:3], "y": Y}, "holds 3 images and 4 labels; save one label for each image"),
        ({"x": BYTES[:0], "y": Y[:0]}, "holds no rows"),
        ({"x": BYTES[:0].astype(np.float32), "y": Y[:0]}, "holds no rows"),
        ({"x": BYTES, "y": Y.astype(float)}, r"labels have type float64; they must be integers: y.astype\('int64'\)"),
        ({"x": BYTES, "y": np.eye(4, dtype=int)}, r"labels have shape \(4, 4\); .*y.argmax\(1\)"),
        ({"x": BYTES, "y": Y - 1}, r"labels run from -1 to 1; for class indices they must lie in \[0, 99999\]"),
        ({"x": BYTES, "y": Y + 10**9}, "labels run from 1000000000 to"),
        ({"x": BYTES, "y": Y, "classes": np.array(["a", "b"])}, r"run from 0 to 2; for the 2 names .* \[0, 1\]"),
        ({"x": BYTES, "y": Y, "classes": np.arange(3)}, "classes has type int64; it must be one axis of strings"),
    ],
)
def test_other_arrays_are_refused(saved, tmp_path, arrays, message):
    with pytest.raises(DataError, match=f"'rows.npz'.*{message}") as caught:
        saved(**arrays)
    assert str(tmp_path) not in str(caught.value)


def test_layout_needs_four_axes(saved):
    with pytest.raises(DataError, match=r"shape \(4, 5, 6\); @nhwc needs four axes; leave it out"):
        saved("@nhwc", x=BYTES[:, 0], y=Y)


def test_split_needs_its_arrays(saved):
    with pytest.raises(DataError, match="holds 'x', 'y'; it must hold x_test, y_test or test_images, test_labels. Did"):
        saved(":test", x=BYTES, y=Y)


def test_rows_of_other_splits_are_named(saved):
    with pytest.raises(
        DataError, match=r"must hold x, y or images, labels\. Did you mean npz:.*\.npz:test or npz:.*:train\?"
    ):
        saved("", x_train=BYTES, y_train=Y, x_test=BYTES, y_test=Y)
    with pytest.raises(DataError, match=r"Did you mean npz:[^:]*\.npz\?"):
        saved(":test", x=BYTES, y=Y)


def test_a_file_that_is_no_archive_is_not_called_a_pickle(tmp_path):
    (tmp_path / "bad.npz").write_text("hello\nworld\n")
    with pytest.raises(DataError, match="'bad.npz' is or holds no .npz file, whatever its name; save plain arrays"):
        load_data(f"npz:{tmp_path / 'bad.npz'}")
    (tmp_path / "bad.npz").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(DataError, match="holds pickles, which are not loaded"):
        load_data(f"npz:{tmp_path / 'bad.npz'}")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04 a pickle", b"plain text"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "rows.npz").write_bytes(content)
    with pytest.raises(DataError, match="'rows.npz' is or holds .*; save plain arrays"):
        load_data(f"npz:{tmp_path / 'rows.npz'}")


def test_single_array_and_files_that_are_no_arrays_are_refused(tmp_path):
    np.save(tmp_path / "one.npy", BYTES)
    with pytest.raises(DataError, match="'one.npy' is a single array; save plain arrays"):
        load_data(f"npz:{tmp_path / 'one.npy'}")
    with zipfile.ZipFile(tmp_path / "texts.npz", "w") as file:
        file.writestr("x", "text")
        file.writestr("y", "text")
    with pytest.raises(DataError, match=r"'texts.npz' holds files that are no arrays"):
        load_data(f"npz:{tmp_path / 'texts.npz'}")


def test_damage_anywhere_is_a_data_error(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, x=BYTES[:2, :, :2, :2], y=Y[:2])
    whole, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(
            damaged[: random.integers(len(whole) // 2, len(whole) + 1)] if random.random() < 0.2 else damaged
        )
        try:
            load_data(f"npz:{path}")
        except DataError:
            refused += 1
    assert refused > 100


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no file 'rows.npz'; write npz:PATH, npz:PATH@nhwc or npz:PATH:test"):
        load_data(f"npz:{tmp_path}/rows.npz")
