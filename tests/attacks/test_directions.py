"""What MI-FGSM steps along: smoothed gradients, gradients of resized, scaled and looked-ahead images."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, cross_entropy, interpolate, pad

from saddlepoint import L1, L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import MIFGSM
from saddlepoint.attacks.directions import diverse, momentum, smoothed
from saddlepoint.errors import InputError, SettingError
from saddlepoint.evaluation.suites import PRESETS, build
from saddlepoint.problem import Problem
from saddlepoint.solve import search
from saddlepoint.testing import contract
from saddlepoint.testing._subject import network

ALL = {"nesterov": True, "scales": 3, "diversity": 0.5, "kernel": 3}
RIDE = {"true_counts": "rows that settle at a look ride along in the other copies of that step: fillers, counted below"}
test_contract_ni = contract(MIFGSM(ball=Linf(0.1), steps=4, nesterov=True), within=1 - 1e-6)
test_contract_si = contract(MIFGSM(ball=L2(0.3), steps=3, scales=3), skip=RIDE)
test_contract_all = contract(MIFGSM(ball=Linf(0.1), steps=3, **ALL), shape=(3, 4, 5), ranks=(4,), skip=RIDE)
FIELDS = ("x", "success", "undefined", "loss", "forwards", "backwards", "solved_at")


def case(dtype=torch.float64, shape=(2, 6, 5)):
    x = torch.rand(30, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    model = Classifier(network(x[0].numel(), dtype))
    return model, x, model.predict(x)


def gradient(model, x, y):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(model.module(leaf), y, reduction="sum"), leaf)[0]


@pytest.mark.parametrize("keep", Keep)
@pytest.mark.parametrize(
    "neutral",
    [{"scales": 1}, {"diversity": 0.0, "widest": 3.0}, {"kernel": 1}, {"nesterov": False}],
    ids=lambda setting: next(iter(setting)),
)
def test_neutral_settings_are_mi_fgsm_bit_for_bit(neutral, keep):
    model, x, y = case(torch.float32)
    plain = MIFGSM(ball=Linf(0.1), steps=4, keep=keep)(model, x, y)
    found = MIFGSM(ball=Linf(0.1), steps=4, keep=keep, **neutral)(model, x, y)
    for name in FIELDS:
        assert torch.equal(getattr(plain, name), getattr(found, name)), name


def test_looking_ahead_without_momentum_is_mi_fgsm_bit_for_bit():
    model, x, y = case(torch.float32)
    for keep in Keep:
        plain = MIFGSM(ball=Linf(0.1), steps=4, decay=0.0, keep=keep)(model, x, y)
        found = MIFGSM(ball=Linf(0.1), steps=4, decay=0.0, keep=keep, nesterov=True)(model, x, y)
        for name in FIELDS:
            assert torch.equal(getattr(plain, name), getattr(found, name)), name


def test_one_step_does_not_look_ahead():
    model, x, y = case()
    attack = MIFGSM(ball=Linf(0.1), steps=1)
    assert torch.equal(attack(model, x, y).x, MIFGSM(ball=Linf(0.1), steps=1, nesterov=True)(model, x, y).x)


def test_nesterov_by_hand():
    model, x, y = case()
    point, velocity, alpha = x.clone(), torch.zeros_like(x), 0.1 / 5
    for _ in range(5):
        ahead = (point + alpha * 0.9 * velocity * x[0].numel()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
        grad = gradient(model, ahead, y)
        velocity = 0.9 * velocity + grad / grad.abs().sum((1, 2, 3), keepdim=True)
        point = (point + alpha * velocity.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
    attack = MIFGSM(ball=Linf(0.1), steps=5, decay=0.9, nesterov=True, keep=Keep.LAST)
    torch.testing.assert_close(attack(model, x, y).x, point, rtol=0, atol=1e-12)
    assert not torch.allclose(MIFGSM(ball=Linf(0.1), steps=5, decay=0.9, keep=Keep.LAST)(model, x, y).x, point)


@pytest.mark.parametrize("ball", [L2(0.5), L1(2.0)], ids=repr)
def test_nesterov_looks_ahead_as_far_as_a_step_in_other_norms(ball):
    model, x, y = case()
    seen = []

    class Watched(nn.Module):
        def forward(self, inner):
            seen.append(inner.detach().clone())
            return model.module(inner)

    MIFGSM(ball=ball, steps=4, nesterov=True, keep=Keep.LAST)(Classifier(Watched()), x, y)
    ahead = ball.distance(seen[1], x)
    assert float(ahead.max()) <= 2 * float(ball.eps) / 4 + 1e-9, "a step, and as much again"
    assert float(ahead.median()) > 0.9 * float(ball.eps) / 4


def test_scales_by_hand_and_counted():
    model, x, y = case()
    grad = sum(gradient(model, x / 2**i, y) / 2**i for i in range(4)) / 4
    point = (x + 0.1 * grad.sign()).clamp(0, 1)
    found = MIFGSM(ball=Linf(0.1), steps=1, scales=4, keep=Keep.LAST)(model, x, y)
    torch.testing.assert_close(found.x, point, rtol=0, atol=1e-12)
    before = model.meter.forwards, model.meter.backwards
    found = MIFGSM(ball=Linf(0.1), steps=3, scales=4)(model, x, y)
    assert set(found.forwards.tolist()) == {3 * 4 + 1}
    assert set(found.backwards.tolist()) == {3 * 4}
    assert model.meter.forwards - before[0] == len(x) * (3 * 4 + 1 + 1)
    assert model.meter.backwards - before[1] == len(x) * 3 * 4


@pytest.mark.parametrize("shrink_at", [0, 0.8, 1.0])
def test_passes_and_fillers_are_what_the_meter_saw(shrink_at):
    model, x, y = case()
    attack = MIFGSM(ball=Linf(0.1), steps=4, keep=Keep.FIRST_SUCCESS, **ALL)
    y[:5] = (y[:5] + 1) % 4
    before = model.meter.forwards
    problem = Problem.open(attack, model, x, y, None, Noise(), Limits(shrink_at=shrink_at))
    search(attack, problem)
    found, record = problem.result(), problem.record
    assert len(set(found.forwards.tolist())) > 1
    assert int(found.forwards.sum()) + record.fillers + len(x) == model.meter.forwards - before


def test_copies_darken_towards_the_lower_bound():
    low, seen = -2.0, []

    class Watched(nn.Module):
        def forward(self, inner):
            seen.append(inner.detach().clone())
            return inner.flatten(1)[:, :3]

    x = torch.rand(4, 5) - 1
    MIFGSM(ball=Linf(0.1), steps=1, scales=3)(Classifier(Watched(), bounds=(low, 1.0)), x, torch.zeros(4).long())
    torch.testing.assert_close(seen[1], low + (x - low) / 2)
    torch.testing.assert_close(seen[2], low + (x - low) / 4)


def test_smoothing_is_a_convolution_with_the_normalised_gaussian():
    grad = torch.randn(3, 2, 20, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bell = torch.distributions.Normal(0.0, 1.0).log_prob(torch.linspace(-3, 3, 15, dtype=torch.float64)).exp()
    kernel = torch.outer(bell, bell)
    kernel = (kernel / kernel.sum()).expand(2, 1, 15, 15)
    torch.testing.assert_close(smoothed(grad, 15), conv2d(grad, kernel, padding=7, groups=2))
    assert smoothed(grad, 1) is grad


@pytest.mark.parametrize(("shape", "largest"), [((1, 9, 30), 9), ((3, 8, 8), 7), ((1, 2, 5), 1), ((1, 1, 5), 1)])
def test_the_kernel_shrinks_with_the_image(shape, largest):
    grad = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(smoothed(grad, 15), smoothed(grad, largest))


def test_smoothing_comes_before_the_momentum():
    model, x, y = case()
    grad = gradient(model, x, y)
    velocity = momentum(torch.zeros_like(x), smoothed(grad, 3), 1.0)
    wanted = (x + 0.1 * velocity.sign()).clamp(0, 1)
    found = MIFGSM(ball=Linf(0.1), steps=1, kernel=3, keep=Keep.LAST)(model, x, y).x
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def resized(x, r, top, left, canvas):
    """The same in three steps: resize, pad, resize back."""
    large = interpolate(x, size=(r, r), mode="bilinear", align_corners=False)
    padded = pad(large, (left, canvas - r - left, top, canvas - r - top))
    return interpolate(padded, size=x.shape[2:], mode="bilinear", align_corners=False)


def test_a_resized_image_is_the_smaller_one_at_its_place():
    ramp = torch.linspace(0, 1, 30, dtype=torch.float64)
    x = (ramp[:, None] + 2 * ramp).expand(1, 1, 30, 30) / 3 + 0.1
    canvas = 45  # widest 1.5: r in 30 .. 44, so draws of 0.5 give 37, and places 0 .. 8
    draws = torch.tensor([[0.0, 0.5, 0.4, 0.99]], dtype=torch.float64)
    found = diverse(x, draws, 1.0, 1.5, 0.0)
    wanted = resized(x, 37, 3, 8, canvas)
    inside = (slice(None), slice(None), slice(4, 24), slice(8, 28))  # away from the border of the content
    torch.testing.assert_close(found[inside], wanted[inside], rtol=0, atol=1e-2)
    assert float((found - wanted).abs().mean()) < 0.02
    assert float(found[..., 0, :].abs().max()) == 0, "padding"


def test_places_reach_both_ends_and_axes_are_not_mixed_up():
    x = torch.ones(1, 1, 20, 10, dtype=torch.float64)
    first = diverse(x, torch.tensor([[0.0, 0.0, 0.0, 0.999]]).double(), 1.0, 2.0, 0.0)[0, 0]
    assert float(first[0].max()) > 0.4, "at the top"
    assert float(first[-1].max()) == 0
    assert float(first[:, -1].max()) > 0.4, "at the right"
    assert float(first[:, 0].max()) == 0
    assert float(first.sum()) == pytest.approx(20 * 10 / 4), "half as large in each axis"


def test_each_row_draws_for_itself_and_only_with_its_probability():
    x = torch.rand(200, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    draws = Noise(0).uniform(torch.empty(200, 4))
    changed = (diverse(x, draws, 0.3, 330 / 299, 0.0) != x).flatten(1).any(1)
    assert torch.equal(changed, draws[:, 0] < 0.3)
    every = diverse(x[:1].expand(200, -1, -1, -1), draws, 1.0, 1.5, 0.0)
    assert len(every.unique(dim=0)) > 50


def test_the_border_is_filled_with_zero_or_the_bound_next_to_it():
    x = torch.full((1, 1, 8, 8), 3.0)
    draws = torch.zeros(1, 4)
    assert float(diverse(x, draws, 1.0, 2.0, 2.0).min()) == 2.0
    assert torch.equal(diverse(torch.full_like(x, 2.0), draws, 1.0, 2.0, 2.0), torch.full_like(x, 2.0))


def test_the_gradient_is_that_of_the_loss_at_the_resized_image():
    model, x, y = case()
    noise = Noise(5)
    draws = noise.child("diversity").uniform(x.new_empty(len(x), 4), 0)
    leaf = x.clone().requires_grad_()
    loss = cross_entropy(model.module(diverse(leaf, draws, 0.7, 1.5, 0.0)), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    attack = MIFGSM(ball=Linf(0.1), steps=1, diversity=0.7, widest=1.5, keep=Keep.LAST)
    found = attack(model, x, y, noise=noise)
    torch.testing.assert_close(found.x, (x + 0.1 * grad.sign()).clamp(0, 1), rtol=0, atol=1e-12)
    assert set(found.forwards.tolist()) == {1}


def test_images_that_are_looked_at_are_no_candidates():
    """With every image resized, only the last point can come back."""
    model, x, y = case()
    kept = MIFGSM(ball=Linf(0.05), steps=4, diversity=1.0, widest=2.0)(model, x, y)
    last = MIFGSM(ball=Linf(0.05), steps=4, diversity=1.0, widest=2.0, keep=Keep.LAST)(model, x, y)
    assert torch.equal(kept.x, last.x)


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"scales": 0}, "scales=0 must be an integer from 1 to 30"),
        ({"scales": 31}, "scales=31 must be an integer from 1 to 30"),
        ({"kernel": 4}, "kernel=4 must be an odd integer"),
        ({"kernel": -1}, "kernel=-1 must be an odd integer"),
        ({"diversity": 1.5}, "diversity=1.5 must be a probability"),
        ({"diversity": float("nan")}, "diversity=nan must be a probability"),
        ({"widest": 1.0}, "widest=1.0 must be > 1"),
    ],
)
def test_settings_out_of_range(setting, match):
    with pytest.raises(SettingError, match=match):
        MIFGSM(ball=Linf(0.1), **setting)


@pytest.mark.parametrize("setting", [{"kernel": 3}, {"diversity": 0.5}])
def test_what_needs_images_says_so(setting):
    model, x, y = case()
    with pytest.raises(InputError, match=r"shape \(30, 60\); diversity and kernel need images"):
        MIFGSM(ball=Linf(0.1), **setting)(model, x.flatten(1), y)


def test_no_steps_give_back_the_input():
    model, x, y = case()
    assert torch.equal(MIFGSM(ball=Linf(0.1), steps=0, **ALL)(model, x, y).x, x)


def test_an_attack_is_called_by_the_directions_that_it_takes():
    assert MIFGSM.name == MIFGSM(ball=Linf(0.1), decay=0.5, widest=2.0).name == "mi-fgsm"
    assert MIFGSM(ball=Linf(0.1), **ALL).name == "si-di-ti-ni-fgsm"
    for name in PRESETS:
        assert build(name, Linf(0.1)).name == name
    assert build({"name": "si-ni-fgsm", "scales": "3"}, Linf(0.1)) == MIFGSM(
        ball=Linf(0.1), nesterov=True, scales=3, keep=Keep.FIRST_SUCCESS
    )
    assert build("ni-fgsm-bisect", Linf(0.1)).name == "ni-fgsm-bisect"
