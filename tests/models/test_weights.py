import hashlib
import os
import pickle
import stat

import pytest
import safetensors.torch
import torch
from torch import nn

from saddlepoint.errors import WeightsError
from saddlepoint.models import SmallCNN, file_sha256, load_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    """A net, and the file that it was saved to."""
    net = SmallCNN(size=4)
    path = tmp_path / "net.safetensors"
    save_weights(net, path)
    return net, path


def equal(one, other):
    other = other.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.state_dict().items())


def test_weights_come_back_bit_for_bit(saved):
    net, path = saved
    other = SmallCNN(size=4)
    assert not equal(net, other)
    load_weights(other, path, file_sha256(path))
    assert equal(net, other)


def test_hash_may_be_in_upper_case(saved):
    net, path = saved
    load_weights(net, path, file_sha256(path).upper())


def test_equal_weights_give_equal_bytes_that_others_can_read(saved, tmp_path):
    net, path = saved
    again = SmallCNN(size=4)
    again.load_state_dict(net.state_dict())
    save_weights(again, tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert safetensors.torch.load_file(path).keys() == net.state_dict().keys()


def test_buffers_shared_and_strided_tensors_are_saved(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.one = nn.Linear(3, 3)
            self.tied = self.one
            self.turned = nn.Parameter(torch.arange(6.0).view(2, 3).t())

    net, other = Net(), Net()
    net.norm(torch.randn(8, 3))
    save_weights(net, tmp_path / "a.safetensors")
    load_weights(other, tmp_path / "a.safetensors")
    assert equal(net, other)
    assert int(other.norm.num_batches_tracked) == 1


def test_file_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_saving_replaces_whole_files_and_leaves_nothing_beside(saved):
    net, path = saved
    with torch.no_grad():
        net.layers[0].weight.add_(1)
    save_weights(net, str(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR
    other = SmallCNN(size=4)
    load_weights(other, str(path))
    assert equal(net, other)


def test_crash_while_writing_keeps_the_old_file(saved, monkeypatch):
    _, path = saved
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"cannot be written \(No space left on device\)"):
        save_weights(SmallCNN(), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"cannot be written \(No such file or directory\); give a file in a folder"):
        save_weights(SmallCNN(), tmp_path / "no" / "net.safetensors")


def test_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(
        WeightsError, match=r"no.safetensors' cannot be read \(No such file or directory\); give the path"
    ):
        load_weights(SmallCNN(), tmp_path / "no.safetensors")


class Trap:
    """Unpickling this would leave a file behind."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_pickles_are_refused_and_never_run(tmp_path, monkeypatch, how, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if how == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save({"a": Trap()}, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(
        WeightsError, match=r"look like a pickle, .* only safetensors are read. Convert it .*save_weights"
    ):
        load_weights(SmallCNN(), path)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("size", [0, 4, 8, 100, -1])
def test_truncated_files_are_refused(saved, size):
    net, path = saved
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError, match=r"are no complete safetensors file \(.*\); it was cut off"):
        load_weights(net, path)


def test_other_hash_is_refused_before_anything_is_loaded(saved):
    _, path = saved
    net = SmallCNN(size=4)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(
        WeightsError, match=f"have sha256 {file_sha256(path)}, expected {'0' * 64}; the file was changed"
    ):
        load_weights(net, path, "0" * 64)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            SmallCNN(size=8),
            r"do not fit SmallCNN: shape layers.5.weight is \(100, 32\), not \(100, 128\). Give the file",
        ),
        (nn.Linear(2, 2), "do not fit Linear: missing bias, weight; unexpected .*layers.2.weight and 4 more"),
    ],
)
def test_other_architectures_are_refused_and_untouched(saved, module, message):
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_weights(module, saved[1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_weights_go_where_the_module_is(saved, device):
    net = SmallCNN(size=4).to(device, torch.float64)
    load_weights(net, saved[1])
    assert {(p.device.type, p.dtype) for p in net.parameters()} == {(device.type, torch.float64)}
