import pytest
import torch
from all_objectives import NOISE, grads_of, net_of, points_of, rows_of
from torch.nn import functional

from saddlepoint.balls import Linf
from saddlepoint.defenses.training import Mart
from saddlepoint.defenses.training.objectives.mart import boosted
from saddlepoint.errors import SettingError


@pytest.mark.parametrize(("k", "n"), [(2, 8), (3, 1), (10, 8)])
@pytest.mark.parametrize("beta", [0.0, 5.0])
def test_the_loss_and_its_gradient_through_all_of_its_terms(k, n, beta):
    x, y = rows_of(n, k=k, dtype=torch.float64)
    net, objective = net_of(k=k, dropout=0.0, dtype=torch.float64).eval(), Mart(ball=Linf(0.1), beta=beta)
    points = points_of(objective, net, x, y)
    loss = objective.loss(net, x, points, y)
    p, q, total = net(x).softmax(1), net(points).softmax(1), 0.0
    for i, label in enumerate(y.tolist()):
        other = torch.stack([q[i, j] for j in range(k) if j != label]).max()
        divergence = (p[i] * (p[i] / q[i]).log()).sum()
        total = total - q[i, label].log() - (1.0001 - other).log() + beta * divergence * (1 - p[i, label])
    known = total / n
    assert loss.item() == pytest.approx(known.item(), rel=1e-12)
    for one, two in zip(grads_of(loss, net), grads_of(known, net), strict=True):
        assert torch.allclose(one, two, atol=1e-11)


def test_points_follow_the_cross_entropy_from_a_start_of_noise():
    x0, y = rows_of()
    net = net_of(dropout=0.0).eval()
    x = x0 + 1e-3 * NOISE.child("start").normal(x0)
    for _ in range(4):
        x = x.detach().requires_grad_()
        grad = torch.autograd.grad(functional.cross_entropy(net(x), y, reduction="sum"), x)[0]
        x = (x0 + (x + 0.03 * grad.sign() - x0).clamp(-0.1, 0.1)).clamp(0, 1)
    assert torch.equal(points_of(Mart(ball=Linf(0.1), steps=4, step_size=0.03), net, x0, y), x.detach())


def test_certain_logits_stay_finite():
    for scale in (1e2, 1e4, 1e8):
        logits = (torch.eye(3) * scale).requires_grad_()
        for y in (torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])):
            value = boosted(logits.log_softmax(1), y)
            assert value.isfinite().all()
            assert torch.autograd.grad(value.sum(), logits)[0].isfinite().all()
    wrong = boosted(torch.tensor([[0.0, -200.0]]), torch.tensor([1]))
    assert wrong.item() == pytest.approx(200 - torch.tensor(1e-4).log().item(), rel=1e-4)


def test_settings_out_of_range_are_refused():
    for given, told in (({"beta": -1.0}, "beta=-1.0 must be"), ({"steps": 0}, "steps=0 must be an integer >= 1")):
        with pytest.raises(SettingError, match=told):
            Mart(ball=Linf(0.1), **given)
