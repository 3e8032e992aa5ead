"""Median: scipy's, to the last bit, by the network and by OpenCV."""

import builtins

import pytest
import torch
from scipy import ndimage

from saddlepoint.defenses.transforms import Median, _opencv, median
from saddlepoint.defenses.transforms._selection import plan


def scipy_median(x, height, width):
    return torch.from_numpy(ndimage.median_filter(x.numpy(), size=(1, 1, height, width), mode="reflect"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1, 5, 5), (3, 3, 9, 8), (2, 2, 28, 31)])
def test_every_window_is_scipys(shape, dtype):
    x = torch.rand(shape, dtype=dtype)
    for height in range(1, 6):
        for width in range(1, 6):
            expected = scipy_median(x, height, width)
            assert torch.equal(Median(height, width)(x), expected), (height, width)
            assert torch.equal(Median(height, width)(x.clone().requires_grad_()).detach(), expected), (height, width)


def test_a_large_window_is_scipys_too():
    x = torch.rand(2, 1, 20, 20)
    assert torch.equal(Median(7, 6)(x), scipy_median(x, 7, 6))


def test_ties_are_scipys():
    x = torch.randint(3, (4, 1, 12, 12)) / 2
    for size in (2, 3, 4, 5):
        assert torch.equal(Median(size)(x), scipy_median(x, size, size))


def test_an_even_window_takes_the_upper_median_and_reaches_up_and_left():
    x = torch.tensor([[[[0.0, 0.2], [0.4, 0.6]]]])
    assert Median(2)(x).tolist() == [[[[0, pytest.approx(0.2)], [pytest.approx(0.4), pytest.approx(0.4)]]]]


def test_without_opencv_it_is_the_same(monkeypatch):
    x, real = torch.rand(3, 3, 12, 12), builtins.__import__

    def without(name, *rest, **named):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **named)

    expected = [Median(size)(x) for size in (3, 5)]
    monkeypatch.setattr(builtins, "__import__", without)
    _opencv.opencv.cache_clear()
    assert _opencv.opencv() is None
    assert all(torch.equal(Median(size)(x), one) for size, one in zip((3, 5), expected, strict=True))
    _opencv.opencv.cache_clear()


def test_many_rows_go_by_in_parts(monkeypatch):
    x = torch.rand(7, 2, 6, 6)
    expected = [Median(2)(x), Median(4)(x)]
    monkeypatch.setattr(median, "CHUNK", 100)
    monkeypatch.setattr(median, "WHOLE", 100)
    for size, whole in zip((2, 4), expected, strict=True):
        assert torch.equal(Median(size)(x), whole)
        assert torch.equal(Median(size)(x.clone().requires_grad_()).detach(), whole)


@pytest.mark.parametrize(("height", "width", "operations"), [(1, 1, 0), (2, 2, 5), (3, 3, 18)])
def test_small_windows_are_short_networks(height, width, operations):
    assert sum(step.node.made in ("min", "max") for step in plan(height, width, height * width // 2)) == operations


@pytest.mark.parametrize(("height", "width"), [(1, 4), (3, 2), (4, 4), (5, 3)])
def test_a_network_finds_every_rank(height, width):
    from saddlepoint.defenses.transforms._selection import select

    x = torch.rand(200, 1, height, width)
    ordered = x.flatten(1).sort(1).values
    for rank in range(height * width):
        assert torch.equal(select(x, height, width, rank).flatten(), ordered[:, rank])


def test_the_gradient_goes_to_the_median():
    x = torch.tensor([[[[0.0, 0.1, 0.2], [0.9, 0.8, 0.7], [0.3, 0.6, 0.5]]]], requires_grad=True)
    Median(3)(x)[0, 0, 1, 1].backward()
    assert x.grad.flatten().tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_inputs_are_not_touched():
    x = torch.rand(2, 1, 8, 8) * 3 - 1
    before = x.clone()
    for size in (1, 2, 3, 4, 5):
        Median(size)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("shape", [(5, 3, 9, 7), (4, 1, 5, 5), (2, 2, 6, 40)])
def test_no_plane_sees_another_one(size, shape):
    x = torch.rand(shape)
    x[1, 0] = torch.nan
    expected = torch.stack([torch.stack([Median(size)(plane[None, None])[0, 0] for plane in one]) for one in x])
    found = Median(size)(x)
    assert found[1, 0].isnan().all()
    assert torch.equal(found.nan_to_num(2), expected.nan_to_num(2))
    assert found.isnan().sum() == shape[2] * shape[3]


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_layout_in_memory_and_values_beyond_the_box_do_not_matter(size):
    x = torch.rand(3, 8, 9, 2).permute(0, 3, 1, 2) * 3 - 1
    clipped = x.contiguous().clamp(0, 1)
    assert torch.equal(Median(size)(x), Median(size)(clipped))
    assert torch.equal(Median(size)(x), scipy_median(clipped, size, size))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_no_rows_are_no_rows(size):
    assert Median(size)(torch.rand(0, 2, 6, 7)).shape == (0, 2, 6, 7)
