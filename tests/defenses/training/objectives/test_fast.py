import pytest
import torch
from all_objectives import NOISE, net_of, points_of, rows_of
from torch.nn import functional

from saddlepoint.attacks import PGD
from saddlepoint.balls import L2, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training import Fast
from saddlepoint.errors import SettingError
from saddlepoint.result import Keep


def slope(net, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(functional.cross_entropy(net(x), y), x)[0]


@pytest.fixture
def net():
    return net_of(dropout=0.0).eval()


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)], ids=str)
def test_a_random_start_is_one_step_of_pgd(net, ball):
    x, y = rows_of()
    known = PGD(ball=ball, steps=1, step_size=1.25 * ball.eps, keep=Keep.LAST)(Classifier(net), x, y, noise=NOISE).x
    assert torch.equal(points_of(Fast(ball=ball), net, x, y), known)
    other = PGD(ball=ball, steps=1, step_size=0.5 * ball.eps, keep=Keep.LAST)(Classifier(net), x, y, noise=NOISE).x
    assert torch.equal(points_of(Fast(ball=ball, step_size=0.5 * ball.eps), net, x, y), other)
    assert not torch.equal(known, other)


def test_a_start_at_zero_is_fgsm(net):
    x, y = rows_of()
    known = (x + 0.1 * slope(net, x, y).sign()).clamp(0, 1)
    assert torch.allclose(points_of(Fast(ball=Linf(0.1), start="zero"), net, x, y), known, atol=1e-7)


def test_the_previous_perturbation_is_the_start_of_the_next_batch(net):
    memory, delta = {}, torch.zeros(8, 1, 6, 6)
    objective = Fast(ball=Linf(0.1), step_size=0.06, start="previous")
    for n, seed in ((8, 1), (8, 2), (5, 3), (8, 4)):  # one of them smaller: its rows alone are replaced
        x, y = rows_of(n, seed=seed)
        start = (x + delta[:n]).clamp(0, 1)
        known = (start + 0.06 * slope(net, start, y).sign() - x).clamp(-0.1, 0.1).add(x).clamp(0, 1)
        points = points_of(objective, net, x, y, memory=memory)
        assert torch.allclose(points, known, atol=1e-6)
        delta[:n] = known - x
        assert memory.keys() == {"delta"}
        assert torch.allclose(memory["delta"], delta, atol=1e-6)


def test_a_larger_batch_and_another_shape_start_at_zero(net):
    memory, objective = {}, Fast(ball=Linf(0.1), step_size=0.0, start="previous")
    memory["delta"] = torch.full((3, 1, 6, 6), 0.05)
    x, y = rows_of()
    moved = (points_of(objective, net, x, y, memory=memory) - x).flatten(1).amax(1)
    assert (moved[:3] > 0.04).all()
    assert (moved[3:] == 0).all()
    x, y = rows_of(shape=(36,))
    assert torch.equal(points_of(objective, net, x, y, memory=memory), x)
    assert memory["delta"].shape == (8, 36)


def test_other_starts_keep_nothing(net):
    memory = {}
    for start in ("random", "zero"):
        points_of(Fast(ball=Linf(0.1), start=start), net, *rows_of(), memory=memory)
    assert not memory


def test_the_loss_is_about_the_points_only(net):
    x, y = rows_of()
    objective = Fast(ball=Linf(0.1))
    points = points_of(objective, net, x, y)
    assert torch.equal(objective.loss(net, x, points, y), functional.cross_entropy(net(points), y))


@pytest.mark.usefixtures("unchecked")
def test_other_starts_and_sizes_are_refused():
    with pytest.raises(SettingError, match="start='gauss' must be 'random' or 'zero' or 'previous'"):
        Fast(ball=Linf(0.1), start="gauss")
    with pytest.raises(SettingError, match="step_size=-1 must be finite and >= 0"):
        Fast(ball=Linf(0.1), step_size=-1)
