import pytest
import torch
from all_objectives import grads_of, loss_of, net_of, points_of, rows_of
from torch.nn import functional

from saddlepoint.balls import L2, Linf
from saddlepoint.defenses.training import FGSMMixed
from saddlepoint.errors import SettingError
from saddlepoint.testing import LinearModel

WEIGHT = torch.tensor([[1.0, -2.0, 0.0], [0.5, 1.0, 0.0]])


def test_points_of_a_linear_model_in_closed_form():
    x, y = torch.tensor([[0.5, 0.05, 0.5], [0.5, 0.5, 0.5]]), torch.tensor([0, 1])
    points = points_of(FGSMMixed(ball=Linf(0.1)), LinearModel(WEIGHT), x, y)
    # Away from class 0: sign(w_1 - w_0) = (-, +, 0); from class 1 the other way.
    assert torch.allclose(points, torch.tensor([[0.4, 0.15, 0.5], [0.6, 0.4, 0.5]]))
    points = points_of(FGSMMixed(ball=Linf(0.1)), LinearModel(WEIGHT), x, torch.tensor([1, 1]))
    assert torch.allclose(points[0], torch.tensor([0.6, 0.0, 0.5]))  # clipped to the box
    points = points_of(FGSMMixed(ball=L2(0.1)), LinearModel(WEIGHT), x, y)
    step = torch.tensor([-0.5, 3.0, 0.0]) / 9.25**0.5 * 0.1
    assert torch.allclose(points - x, torch.stack([step, -step]), atol=1e-6)


def test_predicted_labels_do_not_leak_the_true_ones():
    x, net = torch.tensor([[0.5, 0.5, 0.5]]), LinearModel(WEIGHT)  # logits (-0.5, 0.75): class 1 is predicted
    away_from_1, away_from_0 = torch.tensor([[0.6, 0.4, 0.5]]), torch.tensor([[0.4, 0.6, 0.5]])
    for label, true in ((0, away_from_0), (1, away_from_1)):
        y = torch.tensor([label])
        assert torch.allclose(points_of(FGSMMixed(ball=Linf(0.1)), net, x, y), true)
        objective = FGSMMixed(ball=Linf(0.1), labels="predicted")
        points = points_of(objective, net, x, y)
        assert torch.allclose(points, away_from_1)
        known = 0.5 * functional.cross_entropy(net(x), y) + 0.5 * functional.cross_entropy(net(points), y)
        assert torch.allclose(objective.loss(net, x, points, y), known)  # about the true label


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5])
def test_the_loss_is_the_mixture_on_the_same_rows(alpha):
    x, y = rows_of()
    net, objective = net_of(dropout=0.0).eval(), FGSMMixed(ball=Linf(0.1), alpha=alpha)
    points = points_of(objective, net, x, y)
    loss = objective.loss(net, x, points, y)
    known = alpha * functional.cross_entropy(net(x), y) + (1 - alpha) * functional.cross_entropy(net(points), y)
    assert loss.item() == pytest.approx(known.item(), rel=1e-6)
    assert loss > loss_of(FGSMMixed(ball=Linf(0.1), alpha=1.0), net, x, y)


@pytest.mark.parametrize(
    "given", [{"ball": Linf(0.0)}, {"ball": L2(0.0), "alpha": 0.3}, {"ball": Linf(0.1), "alpha": 1.0}]
)
def test_where_nothing_moves_it_is_standard_training_bit_for_bit(given):
    x, y = rows_of()
    nets = [net_of(dropout=0.0).train() for _ in range(2)]
    loss, known = loss_of(FGSMMixed(**given), nets[0], x, y), functional.cross_entropy(nets[1](x), y)
    assert torch.equal(loss, known)
    for one, two in zip(grads_of(loss, nets[0]), grads_of(known, nets[1]), strict=True):
        assert torch.equal(one, two)
    assert nets[0][2].num_batches_tracked == 1
    assert torch.equal(nets[0][2].running_mean, nets[1][2].running_mean)


def test_clean_and_moved_rows_have_statistics_of_their_own():
    x, y = rows_of()
    net, objective, sizes = net_of().train(), FGSMMixed(ball=Linf(0.1)), []
    points = points_of(objective, net, x, y)
    net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    objective.loss(net, x, points, y)
    assert sizes == [8, 8]


def test_settings_out_of_range_are_refused():
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingError, match=r"alpha=.* must lie in \[0, 1\]: the weight of the clean loss"):
            FGSMMixed(ball=Linf(0.1), alpha=alpha)


@pytest.mark.usefixtures("unchecked")
def test_other_labels_are_refused():
    with pytest.raises(SettingError, match="labels='least' must be 'true' or 'predicted'"):
        FGSMMixed(ball=Linf(0.1), labels="least")
