import pytest
import torch

from saddlepoint.balls import Bounds
from saddlepoint.colour import difference, lab
from saddlepoint.evaluation.appearance import measure, ssim


def images(side=20):
    draw = torch.Generator().manual_seed(0)
    x0 = torch.rand(4, 3, side, side, generator=draw, dtype=torch.float64)
    x = (x0 + torch.tensor([0.0, 0.01, 0.1, 0.3]).view(-1, 1, 1, 1) * torch.randn(x0.shape, generator=draw)).clamp(0, 1)
    return x, x0


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    x, x0 = images()
    settings = {"channel_axis": 0, "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5}
    wanted = [
        metrics.structural_similarity(a.numpy(), b.numpy(), use_sample_covariance=False, **settings)
        for a, b in zip(x, x0, strict=True)
    ]
    torch.testing.assert_close(ssim(x, x0), torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-6)
    assert ssim(x, x0)[0] == 1
    assert (ssim(x, x0).diff() < 0).all()


def test_ssim_of_images_smaller_than_its_window_is_not_known():
    x, x0 = images(side=10)
    assert ssim(x, x0).isnan().all()


def test_mean_and_99th_percentile_are_over_the_pixels_of_each_image():
    x, x0 = images()
    wanted = difference(lab(x0), lab(x)).flatten(1)
    found = measure(5 * x - 2, 5 * x0 - 2, Bounds(-2.0, 3.0))
    torch.testing.assert_close(found["colour"], wanted.mean(1))
    torch.testing.assert_close(found["colour_high"], wanted.quantile(0.99, 1))
    assert {name: values.shape for name, values in measure(x[:0], x0[:0], Bounds()).items()} == dict.fromkeys(
        found, torch.Size([0])
    )
