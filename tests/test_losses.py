import math

import pytest
import torch

from saddlepoint.losses import cross_entropy, difference_of_logits_ratio, fooled, margin

LOSSES = [cross_entropy, margin, difference_of_logits_ratio]

LOGITS = torch.tensor([[2.0, 5.0, -1.0], [0.0, 0.0, 0.0], [100.0, -100.0, 3.0]], dtype=torch.float64)
Y = torch.tensor([0, 1, 2])


def test_cross_entropy_by_hand():
    p = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)
    wanted = [-math.log(p[0, 0]), math.log(3), 97.0]
    torch.testing.assert_close(cross_entropy(LOGITS, Y).tolist(), wanted, rtol=0, atol=1e-9)
    towards = cross_entropy(LOGITS, Y, torch.tensor([1, 2, 1])).tolist()
    torch.testing.assert_close(towards, [math.log(p[0, 1]), -math.log(3), -200.0], rtol=0, atol=1e-9)


def test_margin_by_hand():
    assert margin(LOGITS, Y).tolist() == [3.0, 0.0, 97.0]
    assert margin(LOGITS, Y, torch.tensor([1, 2, 1])).tolist() == [3.0, 0.0, -200.0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("aimed", [False, True])
def test_losses_are_per_row_shift_invariant_and_grow_with_the_attackers_gain(loss, aimed):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(50, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (50,), generator=generator)
    aim = (y + 1) % 4 if aimed else None
    value = loss(logits, y, aim)
    assert value.shape == (50,)
    shift = torch.randn(50, 1, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(loss(logits + shift, y, aim), value)
    for row in (0, 7):
        torch.testing.assert_close(
            loss(logits[row : row + 1], y[row : row + 1], aim[row : row + 1] if aimed else None)[0], value[row]
        )
    if loss is difference_of_logits_ratio:
        return  # the spread below may grow more than the margin above
    better = logits.scatter_add(1, (aim if aimed else y)[:, None], torch.full((50, 1), 1.0 if aimed else -1.0).double())
    assert (loss(better, y, aim) > value).all()


@pytest.mark.parametrize("aimed", [False, True])
def test_margin_is_positive_exactly_on_success(aimed):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(500, 5, generator=generator)
    y = torch.randint(5, (500,), generator=generator)
    target = (y + 2) % 5 if aimed else None
    assert torch.equal(margin(logits, y, target) > 0, fooled(logits, y, target))


def test_fooled():
    assert fooled(LOGITS, Y).tolist() == [True, True, True]
    assert fooled(LOGITS, torch.tensor([1, 0, 0])).tolist() == [False, False, False]
    assert fooled(LOGITS, Y, torch.tensor([1, 2, 0])).tolist() == [True, False, True]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_stay_in_their_rows_and_finite(loss):
    logits = torch.tensor([[1e4, -1e4], [0.0, 0.0], [float("nan"), 1.0]], requires_grad=True)
    (grad,) = torch.autograd.grad(loss(logits, torch.tensor([0, 1, 0])).sum(), logits)
    assert grad[:2].isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_no_rows_and_two_classes(loss):
    assert loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).shape == (0,)
    assert loss(torch.tensor([[0.0, 2.0]]), torch.tensor([0])).item() > 0


def test_margin_does_not_depend_on_the_scale_of_other_rows():
    logits = torch.tensor([[1.0, 2.0], [1e30, -1e30]])
    assert margin(logits, torch.tensor([0, 0]))[0] == 1


def test_difference_of_logits_ratio_by_hand():
    logits = torch.tensor([[5.0, 2.0, 1.0, -3.0], [0.0, 4.0, 3.0, 1.0], [1.0, 9.0, 4.0, 2.0]], dtype=torch.float64)
    y = torch.tensor([0, 2, 0])
    away = difference_of_logits_ratio(logits, y).tolist()
    assert away == [-(5 - 2) / (5 - 1), (4 - 3) / (4 - 1), (9 - 1) / (9 - 2)]
    towards = difference_of_logits_ratio(logits, y, torch.tensor([1, 1, 3])).tolist()
    assert towards == [-(5 - 2) / (5 - (1 - 3) / 2), (4 - 3) / (4 - 1 / 2), (2 - 1) / (9 - (2 + 1) / 2)]
    back = difference_of_logits_ratio(logits, y, y).tolist()  # towards the label: away from the best other class
    assert back == [(5 - 2) / (5 - (1 - 3) / 2), (3 - 4) / (4 - 1 / 2), (1 - 9) / (9 - (2 + 1) / 2)]


@pytest.mark.parametrize(("classes", "aimed"), [(2, False), (2, True), (3, True)])
def test_the_ratio_is_the_margin_where_there_are_too_few_classes(classes, aimed):
    logits = torch.randn(20, classes, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % classes
    aim = (y + 1) % classes if aimed else None
    assert torch.equal(difference_of_logits_ratio(logits, y, aim), margin(logits, y, aim))


@pytest.mark.parametrize("aimed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ratio_does_not_depend_on_the_scale(aimed, dtype):
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    y = torch.arange(50) % 6
    aim = (y + 1) % 6 if aimed else None
    value = difference_of_logits_ratio(logits, y, aim)
    for scale in (1e-20, 1e-3, 100.0, 1e20):
        torch.testing.assert_close(difference_of_logits_ratio(scale * logits, y, aim), value)
    if not aimed:
        assert torch.equal(value > 0, fooled(logits, y))


@pytest.mark.parametrize("aimed", [False, True])
def test_the_ratio_of_equal_logits_is_finite(aimed):
    logits = torch.tensor([[2.0] * 5, [7.0, 7.0, 7.0, 7.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]], requires_grad=True)
    y = torch.tensor([0, 4, 0])
    value = difference_of_logits_ratio(logits, y, (y + 1) % 5 if aimed else None)
    (grad,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert grad.isfinite().all()
    assert grad.abs().max() < 10
    assert value[0] == 0


def test_where_the_label_is_third_the_ratio_is_one_and_its_gradient_exactly_zero():
    logits = torch.tensor([[0.1, 0.7, 0.3, -1.9]], requires_grad=True)
    value = difference_of_logits_ratio(logits, torch.tensor([0]))
    (grad,) = torch.autograd.grad(value.sum(), logits)
    assert value.item() == 1
    assert (grad == 0).all()
