import numpy as np
import pytest
import torch

from saddlepoint.data import fashion_mnist, load_data
from saddlepoint.errors import DataError

FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("inside", ["", "FashionMNIST/raw"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_both_layouts_gzipped_or_not(tmp_path, fashion, split, inside, zipped):
    pixels, labels = fashion(tmp_path / inside, split, zipped=zipped)
    data = load_data(f"fashion-mnist:{split}", data_dir=tmp_path)
    assert data.x.shape == (6, 1, 28, 28)
    assert data.x.dtype == torch.float32
    assert torch.equal(data.x[:, 0], torch.from_numpy(pixels).float() / 255)
    assert data.y.tolist() == labels.tolist()
    assert data.classes == fashion_mnist.CLASSES
    assert data.name == f"fashion-mnist:{split}"


def test_folder_itself_comes_before_torchvisions_and_plain_before_gzipped(tmp_path, fashion):
    for n, (inside, zipped) in enumerate([("", False), ("", True), ("FashionMNIST/raw", False)], start=1):
        fashion(tmp_path / inside, n=n, zipped=zipped)
    assert len(load_data("fashion-mnist:test", data_dir=str(tmp_path))) == 1
    for name in FILES:
        (tmp_path / name).unlink()
    assert len(load_data("fashion-mnist:test", data_dir=str(tmp_path))) == 2


def test_without_a_folder_debians_is_used(tmp_path, fashion, monkeypatch):
    fashion(tmp_path, zipped=True)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path)
    assert len(load_data("fashion-mnist:test")) == 6


def test_home_is_expanded(tmp_path, fashion, monkeypatch):
    fashion(tmp_path / "sets")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load_data("fashion-mnist:test", data_dir="~/sets")) == 6


def test_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nothing")
    with pytest.raises(DataError, match="not installed.*: sudo apt-get install dataset-fashion-mnist - .*--data-dir"):
        load_data("fashion-mnist:test")


@pytest.mark.parametrize("missing", FILES)
def test_missing_file_is_named_and_a_given_folder_stands_alone(tmp_path, fashion, monkeypatch, missing):
    fashion(tmp_path / "debian")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    fashion(tmp_path / "own")
    (tmp_path / "own" / missing).unlink()
    with pytest.raises(DataError, match=f"neither {missing} nor {missing}.gz is in 'own' .*sudo apt-get install") as e:
        load_data("fashion-mnist:test", data_dir=tmp_path / "own")
    assert str(tmp_path) not in str(e.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((6, 32, 28))}, "holds images of 32 x 28 pixels, those of Fashion-MNIST have 28 x 28"),
        ({"labels": np.arange(5)}, "holds 6 images, 't10k-labels-idx1-ubyte' 5 labels; give two files that belong"),
        ({"labels": np.arange(6) + 5}, r"holds the label 10; the labels of Fashion-MNIST lie in \[0, 9\]"),
        ({"n": 0}, "holds no image"),
        ({"pixels": np.zeros((6, 28))}, "starts with the bytes 00000802"),
    ],
)
def test_other_content_is_refused(tmp_path, fashion, changes, message):
    fashion(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        load_data("fashion-mnist:test", data_dir=tmp_path)


@pytest.mark.data
@pytest.mark.skipif(not fashion_mnist.DEBIAN.is_dir(), reason=f"needs: {fashion_mnist.INSTALL}")
@pytest.mark.parametrize(("split", "n"), [("train", 60_000), ("test", 10_000)])
def test_the_real_thing(split, n):
    data = load_data(f"fashion-mnist:{split}")
    assert data.x.shape == (n, 1, 28, 28)
    assert data.y.bincount().tolist() == [n // 10] * 10
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)
    means = torch.stack([data.x[data.y == label].mean(0)[0] for label in range(10)])
    trouser, boot = means[1], means[9]
    assert trouser[:, 10:18].mean() > 4 * trouser[:, :4].mean()  # upright: a narrow shape in the middle
    assert boot[14:].sum() > boot[:14].sum()  # the sole is below
    if split == "test":
        nearest = torch.cdist(data.x.flatten(1), means.flatten(1)).argmin(1)
        assert (nearest == data.y).float().mean() > 0.65  # a nearest-mean classifier gets about 0.68
