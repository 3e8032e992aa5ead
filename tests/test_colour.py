import pytest
import torch

from saddlepoint.colour import difference, lab, squared_difference

# Sharma, Wu & Dalal 2005, Table 1: two Lab colours and their difference.
PAIRS = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def pairs():
    table = torch.tensor([[float(word) for word in line.split()] for line in PAIRS.split("\n") if line]).double()
    table = (table * 1e4).round() / 1e4  # as printed, not as float32 has it
    return table[:, :3], table[:, 3:6], table[:, 6]


def random_lab(rows, seed=0, dtype=torch.float64):
    draw = torch.rand(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.stack([100 * draw[:, 0], 256 * draw[:, 1] - 128, 256 * draw[:, 2] - 128], 1)


def test_the_34_pairs_of_sharma():
    first, second, wanted = pairs()
    assert len(wanted) == 34
    torch.testing.assert_close(difference(first, second), wanted, rtol=0, atol=6e-5)
    torch.testing.assert_close(difference(second, first), wanted, rtol=0, atol=6e-5)


@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_scikit_image_says_the_same(rows):
    skimage = pytest.importorskip("skimage.color")
    first, second = random_lab(rows, 1), random_lab(rows, 2)
    wanted = torch.from_numpy(skimage.deltaE_ciede2000(first.numpy(), second.numpy()))
    hues = [torch.atan2(each[:, 2], each[:, 1]).rad2deg() for each in (first, second)]
    opposite = ((hues[0] - hues[1]).abs() - 180).abs() < 1e-3
    assert ((difference(first, second) - wanted).abs()[~opposite] < 1e-4).all()
    assert (~opposite).double().mean() > 0.999


def test_lab_of_known_colours():
    rgb = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5]], dtype=torch.float64)
    wanted = torch.tensor(  # Lindbloom's calculator, sRGB, D65
        [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [53.39, 0, 0]], dtype=torch.float64
    )
    torch.testing.assert_close(lab(rgb), wanted, rtol=0, atol=0.03)


def test_lab_is_that_of_scikit_image():
    skimage = pytest.importorskip("skimage.color")
    rgb = torch.rand(5000, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(lab(rgb), torch.from_numpy(skimage.rgb2lab(rgb.numpy())), rtol=0, atol=0.03)


def test_gradients_are_those_of_finite_differences():
    draw = torch.Generator().manual_seed(4)
    rgb = torch.rand(40, 3, 1, generator=draw, dtype=torch.float64)
    other = (rgb + 0.05 * torch.randn(40, 3, 1, generator=draw, dtype=torch.float64)).clamp(0.05, 1)
    clean = lab(rgb)
    assert torch.autograd.gradcheck(lambda x: squared_difference(clean, lab(x)), other.requires_grad_(), atol=1e-4)


def test_the_slope_points_where_finite_differences_do():
    draw = torch.Generator().manual_seed(5)
    x = torch.rand(1, 3, 500, generator=draw, dtype=torch.float64)
    clean = lab((x + 0.03 * torch.randn(x.shape, generator=draw, dtype=torch.float64)).clamp(0, 1))
    single = x.float().requires_grad_()
    (slope,) = torch.autograd.grad(squared_difference(clean.float(), lab(single)).sum(), single)
    found = torch.empty_like(x)
    for channel in range(3):
        step = torch.zeros_like(x)
        step[:, channel] = 1e-6
        found[:, channel] = (squared_difference(clean, lab(x + step)) - squared_difference(clean, lab(x - step))) / 2e-6
    assert torch.cosine_similarity(slope.double().flatten(), found.flatten(), 0) > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(dtype):
    colours = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0], [0.04045] * 3]
    colours += [[0.5, 0.5, 0.5 + 1e-6], [1e-7, 0, 0], [0.0031308, 0, 0]]
    some = torch.tensor(colours, dtype=dtype)
    first, second = some.repeat(len(some), 1), some.repeat_interleave(len(some), 0).requires_grad_()
    found = squared_difference(lab(first), lab(second))
    (slope,) = torch.autograd.grad(found.sum(), second)
    assert found.isfinite().all()
    assert slope.isfinite().all()
    same = torch.arange(len(some)) * (len(some) + 1)
    assert (found[same] == 0).all()
    assert (slope[same] == 0).all()


def test_gradients_are_finite_where_hues_meet_and_oppose():
    angle = torch.deg2rad(torch.tensor([0.0, 90, 180, 270, 359.999999])).double()
    ring = torch.stack([torch.full_like(angle, 50), 30 * angle.cos(), 30 * angle.sin()], 1)
    ring = torch.cat(
        [ring, torch.tensor([[50.0, 30, 0], [50, -30, 0], [50, 0, 30], [50, 0, -30], [50, 0, 0]]).double()]
    )
    first, second = ring.repeat(len(ring), 1), ring.repeat_interleave(len(ring), 0).requires_grad_()
    found = squared_difference(first, second)
    (slope,) = torch.autograd.grad(found.sum(), second)
    assert found.isfinite().all()
    assert slope.isfinite().all()


def test_any_number_of_axes_and_no_rows():
    first, second = random_lab(24, 6), random_lab(24, 7)
    images = [each.view(2, 12, 3).movedim(2, 1).reshape(2, 3, 3, 4) for each in (first, second)]
    torch.testing.assert_close(difference(*images).flatten(), difference(first, second))
    assert difference(images[0][:0], images[1][:0]).shape == (0, 3, 4)
