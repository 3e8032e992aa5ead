"""Mean: scipy's uniform filter."""

import pytest
import torch
from scipy import ndimage

from saddlepoint.defenses.transforms import Gaussian, Mean


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 3), (4, 1), (5, 6), (9, 11)])
def test_it_is_scipys(height, width, dtype, atol):
    x = torch.rand(3, 2, 9, 11, dtype=dtype)
    expected = ndimage.uniform_filter(x.numpy(), size=(1, 1, height, width), mode="reflect")
    assert torch.allclose(Mean(height, width)(x), torch.from_numpy(expected), atol=atol, rtol=0)


def test_white_stays_inside_the_box_and_keeps_its_gradient():
    x = torch.ones(1, 1, 28, 28, requires_grad=True)
    out = Mean(3)(x)
    assert out.max() <= 1
    out.sum().backward()
    assert torch.allclose(x.grad, torch.ones_like(x), atol=1e-5)


@pytest.mark.parametrize("kind", [lambda: Mean(3), lambda: Gaussian(0.7)])
def test_a_look_in_inference_mode_leaves_gradients_alone(kind):
    x = torch.rand(2, 1, 11, 13)
    with torch.inference_mode():
        kind()(x)
    (grad,) = torch.autograd.grad(kind()(x.requires_grad_()).sum(), x)
    assert grad.abs().sum() > 0
