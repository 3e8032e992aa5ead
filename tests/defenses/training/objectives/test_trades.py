import pytest
import torch
from all_objectives import NOISE, grads_of, loss_of, net_of, points_of, rows_of
from torch import nn
from torch.nn import functional

from saddlepoint.balls import L2, Bounds, Linf
from saddlepoint.defenses.training import Standard, Trades
from saddlepoint.defenses.training.objectives.trades import kl
from saddlepoint.errors import SettingError


def net_in(dtype=torch.float32):
    return net_of(dropout=0.0, dtype=dtype).eval()


def by_loop(net, x0, ball, steps, size):
    """The inner loop with the clean output computed anew, with its graph, in every step."""
    x = x0 + 1e-3 * NOISE.child("start").normal(x0)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        divergence = functional.kl_div(
            net(x).log_softmax(1), net(x0).log_softmax(1), reduction="none", log_target=True
        ).sum()
        grad = torch.autograd.grad(divergence, x)[0]
        if ball.norm == "linf":
            moved = x + size * grad.sign()
            x = (x0 + (moved - x0).clamp(-ball.eps, ball.eps)).clamp(0, 1)
        else:
            x = ball.project(x + size * ball.steepest_step(grad), x0, Bounds())
    return x.detach()


@pytest.mark.parametrize(("ball", "customary"), [(Linf(0.1), 2.5), (L2(0.5), 2.0)], ids=str)
@pytest.mark.parametrize("size", [None, 0.02])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_cached_output_gives_the_same_points_bit_for_bit(ball, customary, size, dtype):
    x, y = rows_of(dtype=dtype)
    net = net_in(dtype)
    points = points_of(Trades(ball=ball, steps=5, step_size=size), net, x, y)
    known = by_loop(net, x, ball, 5, customary * ball.eps / 5 if size is None else size)
    assert torch.equal(points, known)


def test_the_clean_output_is_computed_once_inside_and_once_outside():
    x, y = rows_of()
    net, seen, objective = net_in(), [], Trades(ball=Linf(0.1), steps=4)
    net.register_forward_pre_hook(lambda _, given: seen.append(torch.equal(given[0], x)))
    points = points_of(objective, net, x, y)
    assert seen == [True] + [False] * 4
    seen.clear()
    objective.loss(net, x, points, y)
    assert seen == [True, False]


@pytest.mark.parametrize("beta", [0.5, 6.0])
def test_the_loss_and_its_gradient_through_both_outputs(beta):
    x, y = rows_of(dtype=torch.float64)
    net, objective = net_in(torch.float64), Trades(ball=Linf(0.1), beta=beta)
    points = points_of(objective, net, x, y)
    loss = objective.loss(net, x, points, y)
    p, q = net(x).softmax(1), net(points).softmax(1)
    known = -p[torch.arange(8), y].log().mean() + beta * (p * (p / q).log()).sum(1).mean()
    assert loss.item() == pytest.approx(known.item(), rel=1e-12)
    through_both = grads_of(known, net)
    for one, two in zip(grads_of(loss, net), through_both, strict=True):
        assert torch.allclose(one, two, atol=1e-12)
    p, q = net(x).softmax(1), net(points).softmax(1)
    target = p.detach()
    half = -p[torch.arange(8), y].log().mean() + beta * (target * (target / q).log()).sum(1).mean()
    assert not torch.allclose(grads_of(half, net)[0], through_both[0], atol=1e-6)


def test_the_points_maximise_the_divergence():
    x, y = rows_of()
    net = net_in()
    clean = net(x).log_softmax(1)

    def divergence(points):
        return kl(clean, net(points).log_softmax(1))

    few, many = (points_of(Trades(ball=Linf(0.1), steps=steps), net, x, y) for steps in (1, 10))
    noise = x + 0.1 * NOISE.uniform(x).sub(0.5).sign()
    assert (divergence(many) >= 0.99 * divergence(few)).all()
    assert divergence(many).mean() > 5 * divergence(noise.clamp(0, 1)).mean()  # a random corner of the ball


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_the_divergence_is_never_negative_and_always_finite(scale):
    generator = torch.Generator().manual_seed(0)
    one, two = (scale * torch.randn(1000, 10, generator=generator) for _ in range(2))
    one, two = one.requires_grad_(), two.requires_grad_()
    found = kl(one.log_softmax(1), two.log_softmax(1))
    assert found.isfinite().all()
    assert found.min() >= -1e-5
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(found.sum(), [one, two]))
    p, q = one.double().log_softmax(1), two.double().log_softmax(1)
    known = (p.exp() * (p - q)).sum(1)
    assert torch.allclose(found.double(), known, rtol=1e-4, atol=1e-5)


class Flat(nn.Module):
    """No slope at all for the rows whose first feature is below one half."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) * (x[:, :1, 0, 0] >= 0.5)


def test_rows_without_slope_move_along_noise_in_l2_and_give_no_nan():
    x, y = rows_of()
    x[:4, 0, 0, 0], x[4:, 0, 0, 0] = 0.0, 1.0
    net = Flat(net_in())
    points = points_of(Trades(ball=L2(0.05), steps=3), net, x, y)
    assert points.isfinite().all()
    assert (L2(0.05).distance(points, x) > 0.02).all()
    assert torch.equal(points, points_of(Trades(ball=L2(0.05), steps=3), net, x, y))
    assert torch.allclose(points[4:], by_loop(net, x, L2(0.05), 3, 0.1 / 3)[4:])
    still = points_of(Trades(ball=Linf(0.05), steps=3), net, x, y)  # sign(0) = 0: the start's noise only
    assert (Linf(0.05).distance(still, x)[:4] < 0.01).all()


def test_without_weight_there_is_no_attack():
    x, y = rows_of()
    net, calls, objective = net_in(), [], Trades(ball=Linf(0.1), beta=0.0)
    net.register_forward_hook(lambda *_: calls.append(1))
    assert points_of(objective, net, x, y) is x
    assert not calls
    assert torch.equal(objective.loss(net, x, x, y), loss_of(Standard(), net, x, y))


def test_settings_out_of_range_are_refused():
    for given, told in (
        ({"beta": -1.0}, "beta=-1.0 must be a finite number >= 0"),
        ({"beta": float("nan")}, "beta=nan must be"),
        ({"steps": 0}, "steps=0 must be an integer >= 1"),
        ({"step_size": -0.1}, "step_size=-0.1 must be finite"),
    ):
        with pytest.raises(SettingError, match=told):
            Trades(ball=Linf(0.1), **given)
