import pytest
import torch

from saddlepoint import L2, Classifier, Keep, Linf
from saddlepoint.attacks import BIM, MIFGSM
from saddlepoint.attacks.directions import momentum
from saddlepoint.errors import SettingError
from saddlepoint.testing import ConstantModel, contract
from saddlepoint.testing._subject import network

test_contract_linf = contract(MIFGSM(ball=Linf(0.1), steps=5), within=1 - 1e-6)
test_contract_l2 = contract(MIFGSM(ball=L2(0.4), steps=10), within=0.75)


def case(dtype=torch.float64):
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(0), dtype=dtype)
    model = Classifier(network(12, dtype))
    return model, x, model.predict(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("keep", Keep)
def test_without_momentum_it_is_bim_bit_for_bit(keep, dtype):
    model, x, y = case(dtype)
    ball, size = Linf(0.1), 0.1 / 7
    for target in (None, (y + 1) % 4):
        still = MIFGSM(ball=ball, steps=7, decay=0.0, keep=keep)(model, x, y, target=target)
        plain = BIM(ball=ball, steps=7, step_size=size, keep=keep)(model, x, y, target=target)
        for name in ("x", "success", "loss", "forwards", "backwards", "solved_at"):
            assert torch.equal(getattr(still, name), getattr(plain, name)), name


def test_without_momentum_it_is_bim_in_l2_up_to_rounding():
    model, x, y = case()
    still = MIFGSM(ball=L2(0.5), steps=7, decay=0.0)(model, x, y)
    plain = BIM(ball=L2(0.5), steps=7, step_size=0.5 / 7)(model, x, y)
    torch.testing.assert_close(still.x, plain.x, rtol=0, atol=1e-12)


def test_algorithm_1_by_hand():
    model, x, y = case()
    point, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(6):
        leaf = point.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(model.module(leaf), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, leaf)
        velocity = 0.9 * velocity + grad / grad.abs().sum(1, keepdim=True)
        point = torch.clamp(torch.clamp(point + 0.1 / 6 * velocity.sign(), x - 0.1, x + 0.1), 0, 1)
    found = MIFGSM(ball=Linf(0.1), steps=6, decay=0.9, keep=Keep.LAST)(model, x, y).x
    torch.testing.assert_close(found, point, rtol=0, atol=1e-12)


def test_momentum_scales_each_row_by_its_own_l1_norm():
    grad = torch.tensor([[[3.0, -1.0]], [[0.0, 0.0]], [[1e-30, 1e-30]], [[1e30, -3e30]], [[1e-44, 0.0]]])
    velocity = torch.ones_like(grad)
    found = momentum(velocity, grad, 0.5)
    wanted = torch.tensor([[[1.25, 0.25]], [[0.5, 0.5]], [[1.0, 1.0]], [[0.75, -0.25]]])
    torch.testing.assert_close(found[:4], wanted)
    assert found.isfinite().all()
    assert (velocity == 1).all()


def test_zero_gradients_leave_the_point_and_stay_finite():
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0])))
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    for ball in (Linf(0.1), L2(0.1)):
        result = MIFGSM(ball=ball, steps=5)(model, x, torch.ones(4, dtype=torch.int64))
        assert torch.equal(result.x, x)
        assert not result.success.any()


@pytest.mark.parametrize("decay", [-0.1, float("nan"), float("inf")])
def test_decay_must_be_finite_and_positive(decay):
    with pytest.raises(SettingError, match="the paper's is 1.0"):
        MIFGSM(ball=Linf(0.1), decay=decay)


@pytest.mark.parametrize("steps", [0, -1])
def test_number_of_steps(steps):
    model, x, y = case()
    if steps < 0:
        with pytest.raises(SettingError, match="steps=-1"):
            MIFGSM(ball=Linf(0.1), steps=steps)
    else:
        assert torch.equal(MIFGSM(ball=Linf(0.1), steps=steps)(model, x, y).x, x)
