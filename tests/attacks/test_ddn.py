import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from saddlepoint import L2, Classifier, Keep, Limits, Linf
from saddlepoint.attacks import DDN
from saddlepoint.errors import SettingError
from saddlepoint.testing import ConstantModel, LinearModel, contract
from saddlepoint.testing._subject import network

test_contract = contract(DDN(steps=30, norm=0.3, gamma=0.15), within=1.05)


def case(rows=30, features=12):
    generator = torch.Generator().manual_seed(0)
    x = 0.1 + 0.8 * torch.rand(rows, features, generator=generator, dtype=torch.float64)
    model = Classifier(network(features, torch.float64))
    return model, x, model.predict(x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("levels", [None, 256])
def test_algorithm_1_by_hand(targeted, levels):
    model, x, y = case()
    x = (x * 255).round() / 255
    target = (y + 1) % 4 if targeted else None
    delta, norm, steps = torch.zeros_like(x), torch.ones(len(x), dtype=x.dtype), 40
    best, most = torch.full_like(norm, math.inf), torch.maximum(x, 1 - x).norm(dim=1)
    for t in range(steps + 1):
        leaf = (x + delta).requires_grad_()
        logits = model.module(leaf)
        loss = (
            -cross_entropy(logits, target, reduction="sum") if targeted else cross_entropy(logits, y, reduction="sum")
        )
        (grad,) = torch.autograd.grad(loss, leaf)
        hit = logits.argmax(1) == target if targeted else logits.argmax(1) != y
        best = torch.where(hit, torch.minimum(best, delta.norm(dim=1)), best)
        norm = torch.minimum(norm * torch.where(hit, 0.95, 1.05), most)
        alpha = 0.01 + 0.99 * (1 + math.cos(math.pi * t / steps)) / 2
        delta = delta + alpha * grad / grad.norm(dim=1, keepdim=True)
        moved = (x + delta * (norm / delta.norm(dim=1))[:, None]).clamp(0, 1)
        delta = (moved if levels is None else (moved * 255).round() / 255) - x
    result = DDN(steps=steps, levels=levels)(model, x, y, target=target)
    found = best < math.inf
    assert found.double().mean() > 0.5
    assert torch.equal(result.success, found)
    torch.testing.assert_close(result.distance[found], best[found], rtol=0, atol=1e-9)


def linear(rows=40, features=20, classes=2):
    generator = torch.Generator().manual_seed(1)
    module = LinearModel(torch.randn(classes, features, generator=generator, dtype=torch.float64))
    x = torch.rand(rows, features, generator=generator, dtype=torch.float64)
    return module, x, module(x).argmax(1)


@pytest.mark.usefixtures("unchecked")
def test_it_finds_the_nearest_boundary_of_a_linear_model():
    module, x, y = linear()
    result = DDN()(Classifier(module), x, y)
    assert result.success.all()
    ratio = result.distance / module.minimal_distance(x, y, L2)
    assert ratio.min() >= 1
    assert ratio.median() < 1.001
    assert ratio.max() < 1.01


@pytest.mark.usefixtures("unchecked")
def test_a_finite_radius_ends_the_search_there():
    module, x, y = linear()
    least = module.minimal_distance(x, y, L2)
    eps = float(least.median())
    for keep in (Keep.MIN_DISTANCE, Keep.FIRST_SUCCESS):
        result = DDN(ball=L2(eps), keep=keep)(Classifier(module), x, y)
        assert (result.distance <= eps + 1e-9).all()
        assert not result.success[least > eps].any()
        assert result.success[least < 0.98 * eps].all()


def test_lengths_scale_with_the_box():
    model, x, y = case()
    wide = Classifier(lambda v: model.module(v / 255), bounds=(0, 255))
    narrow, scaled = DDN(steps=40)(model, x, y), DDN(steps=40)(wide, x * 255, y)
    assert torch.equal(narrow.success, scaled.success)
    torch.testing.assert_close(scaled.distance, narrow.distance * 255, rtol=1e-9, atol=0)


def test_rows_that_need_no_search_take_one_look():
    model, x, y = case()
    wrong = DDN()(model, x, (y + 1) % 4)
    reached = DDN()(model, x, y, target=y)
    for result in (wrong, reached):
        assert result.success.all()
        assert torch.equal(result.x, x)
        assert (result.forwards == 1).all()
        assert (result.backwards <= 1).all()


def test_without_a_gradient_a_row_stops():
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0])))
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    result = DDN()(model, x, torch.ones(4, dtype=torch.int64))
    assert not result.success.any()
    assert torch.equal(result.x, x)
    assert (result.forwards == 1).all()


def test_levels_are_those_of_the_box():
    model, x, y = case()
    wide = Classifier(lambda v: model.module((v + 1) / 2), bounds=(-1, 1))
    result = DDN(steps=40, levels=16)(wide, ((x * 15).round() / 15) * 2 - 1, y)
    assert result.success.any()
    grid = (result.x + 1) / 2 * 15
    torch.testing.assert_close(grid, grid.round(), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": Linf(0.1)}, "give it L2"),
        ({"gamma": 1.0}, "gamma=1.0 must lie in"),
        ({"norm": 0.0}, "norm=0.0 must be finite and > 0"),
        ({"levels": 1}, "levels=1 must be an integer >= 2"),
        ({"steps": -1}, "steps=-1"),
        ({"step_size": -1.0}, "step_size=-1.0"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        DDN(**settings)


@pytest.mark.slow
def test_it_is_at_least_as_near_as_foolbox():
    foolbox = pytest.importorskip("foolbox")
    import saddlepoint as sp

    model, data = sp.load_model("zoo:mnist-standard"), sp.load_data("mnist10k:test")[:40]
    right = model.predict(data.x) == data.y
    x, y = data.x[right], data.y[right]
    peer = foolbox.PyTorchModel(model.module.eval(), bounds=(0, 1))
    _, points, _ = foolbox.attacks.DDNAttack(steps=100)(peer, x, y, epsilons=None)
    ours = DDN(steps=100)(model, x, y, limits=Limits(forwards=100)).distance  # foolbox does not look at its last point
    torch.testing.assert_close(ours, L2(math.inf).distance(points, x), rtol=5e-3, atol=0)
