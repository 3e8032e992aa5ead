"""Tensors in one file: whole, or refused."""

import pytest
import torch
from torch import nn

from saddlepoint import _tensors
from saddlepoint.errors import RecordError


def test_what_is_written_is_read(tmp_path):
    tensors = {"a.b": torch.arange(6.0).view(2, 3).T, "c": torch.tensor(1)}
    _tensors.write(tmp_path / "f", tensors, {"n": [1, None]})
    told, found = _tensors.read(tmp_path / "f")
    assert told["n"] == [1, None]
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert torch.equal(_tensors.under("a", found)["b"], tensors["a.b"])


def test_a_changed_tensor_is_noticed(tmp_path):
    _tensors.write(tmp_path / "f", {"a": torch.zeros(9)}, {})
    content = bytearray((tmp_path / "f").read_bytes())
    content[-1] ^= 1
    (tmp_path / "f").write_bytes(bytes(content))
    with pytest.raises(RecordError, match="no whole checkpoint .*not those that were written"):
        _tensors.read(tmp_path / "f")


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(RecordError, match="cannot be written"):
        _tensors.write(tmp_path / "no" / "f", {}, {})


def test_an_optimizer_goes_on(tmp_path):
    nets = [nn.Linear(2, 1) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    first, second = (torch.optim.Adam(net.parameters(), 0.1) for net in nets)
    nets[0](torch.ones(1, 2)).sum().backward()
    first.step()
    nets[1].load_state_dict(nets[0].state_dict())
    kept, groups = _tensors.of_optimizer(first)
    _tensors.write(tmp_path / "f", kept, {"groups": groups})
    told, found = _tensors.read(tmp_path / "f")
    _tensors.to_optimizer(second, found, told["groups"])
    for net, optimizer in zip(nets, (first, second), strict=True):
        net.zero_grad()
        net(torch.tensor([[1.0, -2.0]])).sum().backward()
        optimizer.step()
    assert torch.equal(nets[0].weight, nets[1].weight)
