import pytest
import torch

from saddlepoint.data import load_data, mnist10k
from saddlepoint.errors import DataError


@pytest.mark.parametrize(("split", "n"), [("train", 8000), ("test", 2000)])
def test_shape_range_and_labels(split, n):
    data = load_data(f"mnist10k:{split}")
    assert data.x.shape == (n, 1, 28, 28)
    assert (data.x.dtype, data.y.dtype) == (torch.float32, torch.int64)
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)
    assert torch.equal(data.x * 255, (data.x * 255).round())
    assert data.classes == tuple("0123456789")
    assert data.name == f"mnist10k:{split}"
    shares = data.y.bincount(minlength=10) / n
    assert shares.min() > 0.07
    assert shares.max() < 0.14


def test_digits_are_upright_and_belong_to_their_labels():
    data = load_data("mnist10k:train")
    means = torch.stack([data.x[data.y == label].mean(0).flatten() for label in range(10)])
    test = load_data("mnist10k:test")
    nearest = torch.cdist(test.x.flatten(1), means).argmin(1)
    assert (nearest == test.y).float().mean() > 0.75  # a nearest-mean classifier gets about 0.8 on MNIST
    one, seven = data.x[data.y == 1].mean(0)[0], data.x[data.y == 7].mean(0)[0]
    assert one.std(1).mean() > one.std(0).mean()  # a one is a vertical bar
    assert seven[:14].sum() > seven[14:].sum()  # a seven has its bar at the top


def test_splits_share_no_row():
    train, test = (load_data(f"mnist10k:{split}").x.flatten(1) for split in mnist10k.SPLITS)
    seen = {row.numpy().tobytes() for row in train}
    assert not any(row.numpy().tobytes() in seen for row in test)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04 a pickle"])
def test_damaged_file_is_refused(monkeypatch, tmp_path, content):
    (tmp_path / "mnist10k.npz").write_bytes(content)
    monkeypatch.setattr("saddlepoint.data.mnist10k.resources.files", lambda package: tmp_path)
    with pytest.raises(DataError, match="mnist10k.npz cannot be read .*; install saddlepoint again"):
        mnist10k.load("test")
