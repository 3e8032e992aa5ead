import pytest
import torch
from all_objectives import net_of, points_of, rows_of
from torch.nn import functional

from saddlepoint.balls import L1, L2, Bounds, Linf
from saddlepoint.defenses.training import StrongAdversary
from saddlepoint.defenses.training.objectives import strong_adversary
from saddlepoint.errors import SettingError
from saddlepoint.testing import LinearModel

FREE = Bounds(-100.0, 100.0)
SLOPE = torch.tensor([3.0, -4.0, 0.0])  # w_1 - w_0


def binary():
    return LinearModel(torch.stack([torch.zeros(3), SLOPE]))


@pytest.mark.parametrize("variant", ["loss", "jacobian"])
@pytest.mark.parametrize(
    ("ball", "step"),
    [
        (L2(0.5), [0.3, -0.4, 0.0]),
        (Linf(0.5), [0.5, -0.5, 0.0]),
        (L1(0.5), [0.0, -0.5, 0.0]),
        (L1(0.5, share=1.0), [0.0, -0.5, 0.0]),
    ],
    ids=str,
)
def test_points_of_a_linear_model_in_closed_form(variant, ball, step):
    x, y = torch.zeros(2, 3), torch.tensor([0, 1])
    points = points_of(StrongAdversary(ball=ball, variant=variant, bounds=FREE), binary(), x, y)
    assert torch.allclose(points, torch.tensor([step, step]) * torch.tensor([[1.0], [-1.0]]), atol=1e-6)


def test_in_l1_the_box_makes_way_for_the_next_feature():
    x, y = torch.tensor([[0.5, 0.0, 0.5]]), torch.tensor([0])  # the steepest feature stands at its end already
    points = points_of(StrongAdversary(ball=L1(0.3)), binary(), x, y)
    assert torch.allclose(points, torch.tensor([[0.8, 0.0, 0.5]]))


@pytest.mark.parametrize("variant", ["loss", "jacobian"])
def test_without_a_slope_a_row_stays(variant):
    x, y = rows_of(shape=(4,))
    net = LinearModel(torch.zeros(3, 4))
    for ball in (L1(0.5), L2(0.5), Linf(0.1)):
        assert torch.equal(points_of(StrongAdversary(ball=ball, variant=variant), net, x, y), x)


def nearest_class(net, x, y, ball):
    """Row by row, class by class: the direction of the least linearised distance, by the full Jacobian."""
    found = []
    for row, label in zip(x, y.tolist(), strict=True):

        def probabilities(one):
            return net(one[None]).softmax(1)[0]

        a, jacobian = probabilities(row), torch.func.jacrev(probabilities)(row).flatten(1)
        best, direction = float("inf"), torch.zeros_like(jacobian[0])
        for j in range(len(a)):
            slope = jacobian[j] - jacobian[label]
            dual = {"linf": slope.abs().sum(), "l2": slope.norm(), "l1": slope.abs().max()}[ball.norm]
            if j != label and dual > 0 and (a[label] - a[j]) / dual < best:
                best, direction = (a[label] - a[j]) / dual, slope
        if ball.norm == "l1":
            step = torch.zeros_like(direction)
            step[direction.abs().argmax()] = direction[direction.abs().argmax()].sign()
        else:
            step = direction.sign() if ball.norm == "linf" else direction / direction.norm()
        found.append(row + ball.eps * step.view(row.shape))
    return torch.stack(found)


@pytest.mark.parametrize("ball", [L2(0.5), Linf(0.1), L1(1.0)], ids=str)
@pytest.mark.parametrize("cells", [1, 250, 1 << 24])
def test_the_jacobian_variant_is_the_brute_force_one(monkeypatch, ball, cells):
    monkeypatch.setattr(strong_adversary, "_CELLS", cells)  # also with the classes in several parts
    x, y = rows_of(6, shape=(5,), k=7, dtype=torch.float64)
    net = net_of((5,), 7, dtype=torch.float64).eval()
    for parameter in net.parameters():
        parameter.data.mul_(3)
    y[:3] = net(x[:3]).argmax(1)  # some right, some wrong
    points = points_of(StrongAdversary(ball=ball, variant="jacobian", bounds=FREE), net, x, y)
    assert torch.allclose(points, nearest_class(net, x, y, ball), atol=1e-9)
    other = points_of(StrongAdversary(ball=ball, bounds=FREE), net, x, y)
    assert not torch.allclose(points, other)  # another direction than the loss has


def test_the_loss_is_about_the_points_only():
    x, y = rows_of()
    net, objective = net_of(dropout=0.0).eval(), StrongAdversary(ball=L2(0.5))
    points = points_of(objective, net, x, y)
    assert torch.equal(objective.loss(net, x, points, y), functional.cross_entropy(net(points), y))


@pytest.mark.usefixtures("unchecked")
def test_other_variants_are_refused():
    with pytest.raises(SettingError, match="variant='best' must be 'loss' or 'jacobian'"):
        StrongAdversary(ball=L2(0.5), variant="best")
