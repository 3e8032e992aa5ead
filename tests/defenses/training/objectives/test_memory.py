"""What an objective keeps from batch to batch outlives the process, through a checkpoint."""

import pytest
import torch

from saddlepoint.balls import L2, Linf
from saddlepoint.defenses.training import AWP, Fast, Free, Schedule, checkpoint, fit
from saddlepoint.defenses.training.checkpoint import Checkpoint
from saddlepoint.defenses.training.objectives import _recall

SCHEDULE = Schedule(epochs=2, batch_size=25)  # three batches an epoch, the last of them smaller
OBJECTIVES = {
    "free": Free(ball=Linf(0.05), replays=2),
    "free-awp": AWP(objective=Free(ball=L2(0.5), replays=2), warmup=0.5),
    "fast": Fast(ball=Linf(0.05), start="previous"),
}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_killed_after_any_batch_it_ends_with_the_same_bits(make_net, batch, tmp_path, monkeypatch, name, stop):
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    objective, path = OBJECTIVES[name], tmp_path / "net.checkpoint"

    def train(net, path, watch=None):
        fit(net, *batch, objective, SCHEDULE, watch=watch, checkpoint=Checkpoint(path, {"name": name}))
        return torch.cat([tensor.flatten() for tensor in net.state_dict().values()])

    def kill(done, total):
        if done == stop:
            raise Killed

    whole = train(make_net(), tmp_path / "whole.checkpoint")
    with pytest.raises(Killed):
        train(make_net(), path, kill)
    assert torch.equal(train(make_net(seed=1), path), whole)


def test_it_matters(make_net, batch, tmp_path, monkeypatch):
    """Were the memory lost, the test above would tell."""
    known = []
    for lost in (False, True):
        if lost:
            monkeypatch.setattr(_recall, "keep", lambda memory, delta: None)
        net = make_net()
        fit(net, *batch, OBJECTIVES["free"], SCHEDULE)
        known.append(torch.cat([tensor.flatten() for tensor in net.state_dict().values()]))
    assert not torch.equal(*known)


def test_what_is_kept_is_a_copy_without_a_graph():
    delta, memory = torch.ones(3, 2, requires_grad=True), {}
    _recall.keep(memory, delta * 2)
    assert not memory["delta"].requires_grad
    before = memory["delta"]
    _recall.keep(memory, torch.zeros(1, 2))
    assert memory["delta"].tolist() == [[0, 0], [2, 2], [2, 2]]
    assert before.tolist() == [[2, 2]] * 3
    x = torch.zeros(4, 2, dtype=torch.float64)
    assert _recall.recall(memory, x).tolist() == [[0, 0], [2, 2], [2, 2], [0, 0]]
    assert _recall.recall(memory, x).dtype == torch.float64
    assert _recall.recall(memory, x[:2]).tolist() == [[0, 0], [2, 2]]
