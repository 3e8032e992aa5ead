import torch
from torch import nn

from saddlepoint.defenses.training import Schedule, Standard, fit
from saddlepoint.defenses.training.average import follow, holding, put, snapshot


def test_the_average_is_the_weighted_sum_of_all_weights():
    module, average, decay = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1)), {}, 0.75
    values = [2.0, -1.0, 4.0, 0.5]
    for value in values:
        nn.init.constant_(module[0].weight, value)
        module[1].num_batches_tracked += 1
        follow(average, module, decay)
    known = decay**3 * values[0] + sum((1 - decay) * decay ** (3 - t) * values[t] for t in (1, 2, 3))
    assert torch.allclose(average["0.weight"], torch.tensor([[known]]))
    assert average["1.num_batches_tracked"] == 4


def test_a_module_has_its_own_weights_back():
    module = nn.Linear(2, 2)
    before = snapshot(module)
    with holding(module, {name: tensor + 1 for name, tensor in before.items()}):
        assert torch.equal(module.weight, before["weight"] + 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    with holding(module, {}):
        assert torch.equal(module.weight, before["weight"])
    put(module, {name: torch.zeros_like(tensor) for name, tensor in before.items()})
    assert not module.weight.any()


def test_the_average_is_the_result(make_net, batch):
    """Recomputed by hand from the weights after every step."""
    steps, net = [], make_net()
    fit(
        net, *batch, Standard(), Schedule(epochs=2, batch_size=30, ema=0.5),
        watch=lambda done, total: steps.append(snapshot(net)),
    )  # fmt: skip
    assert len(steps) == 4
    for name, found in net.state_dict().items():
        known = steps[0][name]
        for step in steps[1:]:
            known = 0.5 * known + 0.5 * step[name]
        assert torch.allclose(found, known, atol=1e-6)
        assert not torch.equal(found, steps[-1][name])
