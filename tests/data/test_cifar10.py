import numpy as np
import pytest
import torch

from saddlepoint.data import cifar10, load_data
from saddlepoint.errors import DataError, SettingError, SpecError


def write(folder, n=2, meta=True):
    """Every file of the binary version, with n images each; returns what was written, by split."""
    folder.mkdir(parents=True, exist_ok=True)
    random, wrote = np.random.default_rng(0), {}
    for split, names in cifar10.FILES.items():
        wrote[split] = random.integers(0, 256, (len(names) * n, 3, 32, 32)), random.integers(0, 10, len(names) * n)
        for i, name in enumerate(names):
            rows = range(i * n, (i + 1) * n)
            image, label = wrote[split]
            records = [bytes([label[row]]) + image[row].astype(np.uint8).tobytes() for row in rows]
            (folder / name).write_bytes(b"".join(records))
    if meta:
        (folder / "batches.meta.txt").write_text("\n".join(cifar10.CLASSES) + "\n\n")
    return wrote


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
@pytest.mark.parametrize("meta", [True, False])
def test_both_splits(tmp_path, inside, meta):
    for split, (pixels, labels) in write(tmp_path / inside, meta=meta).items():
        data = load_data(f"cifar10:{tmp_path}:{split}")
        assert data.x.shape == (len(labels), 3, 32, 32)
        assert data.x.dtype == torch.float32
        assert torch.equal(data.x, torch.from_numpy(pixels).float() / 255)
        assert data.y.tolist() == labels.tolist()
        assert data.classes == cifar10.CLASSES
        assert data.name == f"cifar10:{split}"


def test_test_is_the_default_and_a_folder_may_be_given_apart(tmp_path):
    write(tmp_path)
    assert load_data(f"cifar10:{tmp_path}").name == "cifar10:test"
    assert load_data("cifar10", data_dir=tmp_path).name == "cifar10:test"
    assert load_data("cifar10:train", data_dir=tmp_path).name == "cifar10:train"


def test_names_come_with_the_data(tmp_path):
    write(tmp_path)
    (tmp_path / "batches.meta.txt").write_text(" ".join("abcdefghij"))
    assert load_data(f"cifar10:{tmp_path}").classes == tuple("abcdefghij")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch.bin", None, "test_batch.bin is not in 'set'; unpack cifar-10-binary.tar.gz"),
        ("test_batch.bin", b"", r"test_batch.bin has 0 bytes, which is no multiple of 3073 \(one image\) above 0"),
        ("test_batch.bin", bytes(3072), "test_batch.bin has 3072 bytes"),
        ("test_batch.bin", b"\x0a" + bytes(3072), r"test_batch.bin holds the label 10, labels lie in \[0, 9\]"),
        ("batches.meta.txt", b"one two\n", "batches.meta.txt names 2 classes, there are 10"),
    ],
)
def test_missing_or_damaged_file_is_refused(tmp_path, name, content, message):
    write(tmp_path / "set")
    (tmp_path / "set" / name).unlink()
    if content is not None:
        (tmp_path / "set" / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_data(f"cifar10:{tmp_path / 'set'}")
    assert str(tmp_path) not in str(caught.value)


def test_the_python_version_is_not_unpickled(tmp_path):
    (tmp_path / "test_batch").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(DataError, match="holds test_batch, of the Python version, a pickle that is not loaded"):
        load_data(f"cifar10:{tmp_path}")


@pytest.mark.parametrize("name", ["test_batch.bin", "batches.meta.txt"])
def test_what_the_system_refuses_is_told(tmp_path, name, monkeypatch):
    write(tmp_path)

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(f"pathlib.Path.{'read_bytes' if name.endswith('bin') else 'read_text'}", refuse)
    with pytest.raises(DataError, match=rf"'{name}' cannot be read \(Permission denied\)"):
        load_data(f"cifar10:{tmp_path}")


def test_the_place_is_needed_once(tmp_path):
    with pytest.raises(SpecError, match="'cifar10' has no path; write cifar10:PATH:train or cifar10:PATH:test"):
        load_data("cifar10:test")
    with pytest.raises(SettingError, match="data_dir and a path cannot both be given for 'cifar10'"):
        load_data(f"cifar10:{tmp_path}:test", data_dir=tmp_path)
    with pytest.raises(DataError, match="cifar10: 'nothing' is not a folder; unpack"):
        load_data(f"cifar10:{tmp_path / 'nothing'}")
