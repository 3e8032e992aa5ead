"""What every filter promises: shape, type and box, constants, rows on their own, gradients, errors."""

import pytest
import torch

from saddlepoint.defenses import transforms
from saddlepoint.defenses.transforms import (
    JPEG,
    Bilateral,
    BitDepth,
    Gaussian,
    GaussianNoise,
    Mean,
    Median,
    NonLocalMeans,
    TotalVariation,
)
from saddlepoint.errors import InputError
from saddlepoint.noise import Noise, drawing

pytest.importorskip("cv2")
pytest.importorskip("PIL")
CASES = [
    (BitDepth, (3,)),
    (BitDepth, (3, "truncate")),
    (Median, (2,)),
    (Median, (3,)),
    (Median, (2, 3)),
    (Median, (5,)),
    (Mean, (3,)),
    (Gaussian, (1.0,)),
    (GaussianNoise, (0.1,)),
    (Bilateral, (5, 0.1, 1.5)),
    (NonLocalMeans, (11, 3, 0.02)),
    (JPEG, (75,)),
    (TotalVariation, (0.03,)),
]
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].name}:{','.join(map(str, case[1]))}")
NEAR_COLOUR = {JPEG: 3.5 / 255, NonLocalMeans: 3.5 / 255}  # their 8-bit colours, see their own tests


def made(case, **named):
    kind, settings = case
    return kind(*settings, **named)


def through(transform, x, rows=None):
    """The output, with noise by row id."""
    with drawing(Noise(0, torch.arange(len(x)) if rows is None else rows)):
        return transform(x)


def test_every_transform_is_tried():
    kinds = {case[0].__name__ for case in CASES}
    filters = {
        name
        for name in transforms.__all__
        if vars(transforms)[name].__module__ != "saddlepoint.defenses.transforms.transform"
    }
    assert kinds <= filters
    assert len({case[0].name for case in CASES}) == len(kinds)


@EVERY
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_shape_type_and_box(case, channels, dtype, rows, device):
    x = torch.rand(rows, channels, 12, 13, dtype=dtype, device=device).mul(7).sub(3.5)  # some of it outside
    before = x.clone()
    out = through(made(case, bounds=(-3, 3)), x)
    assert (out.shape, out.dtype, out.device) == (x.shape, dtype, x.device)
    assert ((out >= -3) & (out <= 3)).all()
    assert torch.equal(x, before)


@EVERY
def test_the_box_is_only_a_scale(case):
    x = torch.randint(256, (3, 3, 12, 12)).double() / 255
    scaled = through(made(case, bounds=(-2, 6)), 8 * x - 2)
    assert torch.allclose((scaled + 2) / 8, through(made(case), x), atol=1e-6, rtol=0)


@EVERY
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_image_is_a_fixed_point(case, channels):
    if case[0] is GaussianNoise:
        return
    values = torch.tensor([0.0, 0.2, 0.6, 1.0]).view(-1, 1, 1, 1)
    if channels == 3:
        values = torch.cat([values, values.flip(0), values.roll(1, 0)], 1)
    if case[0] is BitDepth:
        values = made(case)(values)  # of its grid
    x = values.expand(-1, -1, 12, 12)
    near = NEAR_COLOUR.get(case[0], 1e-6) if channels == 3 else 1e-6
    assert torch.allclose(through(made(case), x), x, atol=near, rtol=0)  # corners, too


@EVERY
def test_a_row_is_on_its_own(case):
    x, order = torch.rand(5, 3, 12, 12, dtype=torch.float64), torch.tensor([4, 1, 0, 3])
    whole = through(made(case), x)
    assert torch.allclose(through(made(case), x[order], order), whole[order], atol=1e-12, rtol=0)


@EVERY
def test_a_gradient_where_one_is_declared(case):
    transform, x = made(case), 0.1 + 0.8 * torch.rand(2, 2, 11, 11, dtype=torch.float64)
    if transform.differentiable:
        assert torch.autograd.gradcheck(lambda x: through(transform, x), x[:1].requires_grad_())
    else:
        assert torch.equal(transform.surrogate(x), x)


@EVERY
def test_the_gradient_is_wanted_at_the_ends_of_the_box_too(case):
    transform, x = made(case), torch.ones(1, 3, 12, 12, requires_grad=True)
    if transform.differentiable and not transform.random:
        transform(x).sum().backward()
        assert torch.allclose(x.grad.sum(), torch.tensor(3.0 * 144), rtol=1e-4)


@EVERY
def test_what_it_was_made_with_is_told(case):
    told = made(case).settings()
    assert list(told.values())[: len(case[1])] == list(case[1])
    assert made(case).random == (case[0] in (GaussianNoise, TotalVariation))


@EVERY
def test_what_is_no_image_is_refused(case, unchecked):
    transform = made(case)
    with pytest.raises(InputError, match=f"x is torch.uint8; {case[0].name} needs floating-point inputs"):
        transform(torch.zeros(1, 3, 12, 12, dtype=torch.uint8))
    if case[0] in (BitDepth, GaussianNoise):
        assert transform(torch.rand(2, 7)).shape == (2, 7)
        return
    with pytest.raises(InputError, match=rf"x has shape \(3, 12, 12\); {case[0].name} needs images \(n, c, h, w\)"):
        transform(torch.rand(3, 12, 12))
    if case[0] not in (JPEG, TotalVariation):
        with pytest.raises(InputError, match=f"the window of {case[0].name} has .* make the window smaller"):
            transform(torch.rand(1, 3, 12, 1))
