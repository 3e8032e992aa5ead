import copy

import pytest
import torch
from torch import nn

from saddlepoint import Classifier, Linf
from saddlepoint.attacks import PGD
from saddlepoint.testing import ConstantModel, LinearModel, MaskedModel, NaNModel, RandomModel, away_from


@pytest.fixture
def x():
    x = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0))
    x[:, 0, 0] = torch.tensor([0.1, 0.9, 0.2, 0.3, 0.8, 0.4])
    return x


@pytest.fixture
def inner():
    return LinearModel(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)))


def gradient(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).square().sum(), x)[0]


def test_nan_model_spoils_only_its_rows(x, inner):
    model = NaNModel(inner, lambda x: x.flatten(1)[:, 0] > 0.5)
    bad = x.flatten(1)[:, 0] > 0.5
    logits = model(x)
    assert logits[bad].isnan().all()
    assert torch.equal(logits[~bad], inner(x)[~bad])
    assert gradient(model, x)[bad].isnan().all()
    assert torch.equal(gradient(model, x)[~bad], gradient(inner, x)[~bad])


def test_nan_away_from_the_clean_inputs_only(x, inner):
    model = NaNModel(inner, away_from(x))
    assert torch.equal(model(x.flip(0)), inner(x.flip(0)))
    moved = x.clone()
    moved[2, 0, 0] += 1e-6
    assert model(moved).isnan().any(1).tolist() == [False, False, True, False, False, False]
    assert model(x[:0]).shape == (0, 3)


@pytest.mark.parametrize("shattered", [False, True])
def test_masked_model_decides_the_same_and_hides_its_gradient(x, inner, shattered):
    model = MaskedModel(inner, shattered=shattered)
    assert torch.equal(model(x), inner(x))
    masked, true = gradient(model, x), gradient(inner, x)
    if shattered:
        cosine = nn.functional.cosine_similarity(masked.flatten(1), true.flatten(1))
        assert (masked != 0).all()
        assert cosine.abs().mean() < 0.6
    else:
        assert (masked == 0).all()


@pytest.mark.parametrize("shattered", [False, True])
def test_masked_model_withstands_a_gradient_attack_that_breaks_the_inner_one(shattered):
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(2, 50, generator=generator)
    inner = LinearModel(weight, -weight.sum(1) / 2)
    x = torch.rand(100, 50, generator=generator)
    y = inner(x).argmax(1)
    attack = PGD(ball=Linf(0.2), steps=10, random_start=False)
    bare = attack(Classifier(inner), x, y).success.float().mean()
    masked = attack(Classifier(MaskedModel(inner, shattered=shattered)), x, y).success.float().mean()
    assert bare > 0.9
    assert masked < bare - 0.4


def test_random_model_differs_every_time_and_repeats_from_its_seed(x, inner):
    before = torch.get_rng_state()
    model = RandomModel(inner, scale=0.5)
    again = copy.deepcopy(model)
    first, second = model(x), model(x)
    assert (first != second).all()
    assert torch.equal(again(x), first)
    assert not torch.equal(RandomModel(inner, scale=0.5, seed=1)(x), first)
    assert 0.2 < (first - inner(x)).std() < 0.9
    assert torch.equal(torch.get_rng_state(), before)


def test_constant_model_has_a_zero_gradient(x):
    model = ConstantModel(torch.tensor([1.0, 2.0]))
    assert torch.equal(model(x), torch.tensor([[1.0, 2.0]]).expand(6, 2))
    assert model(x.double()).dtype == torch.float64
    assert (gradient(model, x) == 0).all()
    assert "constant" in model.state_dict()
