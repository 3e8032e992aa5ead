"""Sizes and forms, the box, gradients that arrive, weights in a file."""

import pytest
import torch
from torch import nn

from saddlepoint.defenses.transforms import DenoisingAutoencoder
from saddlepoint.errors import InputError, SettingError, SpecError, WeightsError
from saddlepoint.models import load_weights, save_weights


def test_the_digits_net_is_784_256_128_256_784():
    linear = [layer for layer in DenoisingAutoencoder((1, 28, 28)).modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        (784, 256),
        (256, 128),
        (128, 256),
        (256, 784),
    ]


@pytest.mark.parametrize(
    ("shape", "form"),
    [((1, 28, 28), "dense"), ((3, 5, 7), "dense"), ((6,), "dense"), ((1, 28, 28), "conv"), ((3, 5, 7), "conv")],
)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-3.0, 2.0)])
def test_any_shape_is_rebuilt_inside_the_box(shape, form, bounds):
    model = DenoisingAutoencoder(shape, form=form, hidden=(8, 4), bounds=bounds)
    x = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(3, *shape)
    x.requires_grad_()
    rebuilt = model(x)
    assert rebuilt.shape == x.shape
    assert bounds[0] < rebuilt.min()
    assert rebuilt.max() < bounds[1]
    assert torch.autograd.grad(rebuilt.sum(), x)[0].abs().sum() > 0
    assert model.differentiable
    assert not model.random


@pytest.mark.parametrize("form", ["dense", "conv"])
def test_the_box_is_only_a_scale(form):
    plain, wide = (DenoisingAutoencoder((2, 6, 6), form=form, bounds=bounds) for bounds in ((0.0, 1.0), (-1.0, 3.0)))
    wide.load_state_dict(plain.state_dict())
    x = torch.rand(4, 2, 6, 6)
    assert torch.allclose(wide(4 * x - 1), 4 * plain(x) - 1, atol=1e-5)


def test_passes_follow_one_another():
    once, thrice = DenoisingAutoencoder((1, 6, 6)), DenoisingAutoencoder((1, 6, 6), passes=3)
    thrice.load_state_dict(once.state_dict())
    x = torch.rand(4, 1, 6, 6)
    assert torch.equal(thrice(x), once(once(once(x))))
    assert thrice.settings() == {"form": "dense", "passes": 3}


def test_weights_go_through_a_file(tmp_path):
    made, other = DenoisingAutoencoder((1, 6, 6), form="conv"), DenoisingAutoencoder((1, 6, 6), form="conv")
    x = torch.rand(4, 1, 6, 6)
    assert not torch.equal(made(x), other(x))
    save_weights(made, tmp_path / "autoencoder.safetensors")
    load_weights(other, tmp_path / "autoencoder.safetensors")
    assert torch.equal(made(x), other(x))
    with pytest.raises(WeightsError, match="do not fit DenoisingAutoencoder"):
        load_weights(DenoisingAutoencoder((1, 6, 6)), tmp_path / "autoencoder.safetensors")


def test_what_cannot_be_is_refused():
    with pytest.raises(SpecError, match="unknown form 'convolution'"):
        DenoisingAutoencoder((1, 6, 6), form="convolution")
    with pytest.raises(SettingError, match=r"must be \(c, h, w\) for form='conv'; use form='dense'"):
        DenoisingAutoencoder((6,), form="conv")
    for given in ({"passes": 0}, {"hidden": ()}, {"hidden": (4, 0)}):
        with pytest.raises(SettingError, match="must be at least 1"):
            DenoisingAutoencoder((1, 6, 6), **given)
    with pytest.raises(InputError, match=r"inputs of shape \(2, 1, 5, 6\) must be \(n, 1, 6, 6\)"):
        DenoisingAutoencoder((1, 6, 6))(torch.zeros(2, 1, 5, 6))
