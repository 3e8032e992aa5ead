"""Total variation: what it says that it minimises, it minimises."""

import numpy as np
import pytest
import torch
from scipy import optimize, sparse

import saddlepoint as sp
from saddlepoint.defenses.transforms import TotalVariation
from saddlepoint.errors import SettingError
from saddlepoint.noise import Noise, drawing, drawn


@pytest.fixture(scope="module")
def patches():
    return sp.load_data("photopatch10:test")[::50].x.double()


def kept(x, drop=0.5):
    """The pixels that are kept under ``drawing(Noise(1))``."""
    with drawing(Noise(1)):
        return (drawn(x).uniform(x[:, :1]) >= drop).to(x.dtype)


def total(z, x, mask, weight):
    """The sum that is minimised, per row."""
    varied = z.diff(dim=2).abs().flatten(1).sum(1) + z.diff(dim=3).abs().flatten(1).sum(1)
    return (mask * (z - x) ** 2).flatten(1).sum(1) + weight * varied


def fitted(x, weight, **named):
    with drawing(Noise(1)):
        return TotalVariation(weight, **named)(x)


def least(x, weight):
    """The minimum for one grey image with all its pixels, by the dual problem, a bounded least squares.

    min_z |z - x|^2 + weight |D z|_1  is at  z = x - D' p / 2, where p minimises |x - D' p / 2|^2 over |p| <= weight.
    """
    h, w = x.shape
    step = [sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n)) for n in (h, w)]
    d = sparse.vstack([sparse.kron(step[0], sparse.eye(w)), sparse.kron(sparse.eye(h), step[1])])
    found = optimize.lsq_linear(d.T.toarray() / 2, x.ravel(), (-weight, weight), method="bvls", tol=1e-14)
    return (x.ravel() - d.T @ found.x / 2).reshape(h, w)


@pytest.mark.parametrize("weight", [0.03, 0.3])
def test_of_all_pixels_it_is_the_minimum_of_the_dual(weight):
    x = torch.rand(1, 1, 6, 7, dtype=torch.float64)
    expected = torch.from_numpy(least(np.array(x[0, 0].tolist()), weight))
    assert torch.allclose(fitted(x, weight, drop=0, steps=2000)[0, 0], expected, atol=1e-6, rtol=0)


def test_the_usual_steps_are_within_a_hundredth_of_the_minimum(patches):
    mask = kept(patches)
    sums = [total(fitted(patches, 0.03, steps=steps), patches, mask, 0.03) for steps in (50, 3000)]
    assert ((sums[0] - sums[1]) / sums[1]).max() < 0.01


def test_nothing_nearby_is_lower(patches):
    mask, z = kept(patches), fitted(patches, 0.03, steps=3000)
    lowest = total(z, patches, mask, 0.03)
    for scale in (1e-3, 1e-2, 0.1):
        for direction in (torch.randn_like(z), patches - z, z.mean((2, 3), keepdim=True) - z, torch.ones_like(z)):
            for sign in (1, -1):
                assert (total(z + sign * scale * direction, patches, mask, 0.03) > lowest - 1e-6).all()


def test_without_weight_the_kept_pixels_stay(patches):
    mask, z = kept(patches).expand_as(patches).bool(), fitted(patches, 0)
    assert torch.allclose(z[mask], patches[mask], atol=1e-12)
    assert torch.equal(fitted(patches, 0, drop=0), patches)


def test_what_was_dropped_does_not_matter(patches):
    mask = kept(patches)
    assert 0.45 < mask.mean() < 0.55
    assert torch.equal(fitted(patches * mask + 0.7 * (1 - mask), 0.03), fitted(patches, 0.03))


def test_a_row_drops_the_same_whoever_is_beside_it(patches):
    with drawing(Noise(1, torch.arange(len(patches)))):
        whole = TotalVariation()(patches)
    with drawing(Noise(1, torch.tensor([5, 2]))):
        part = TotalVariation()(patches[[5, 2]])
    assert torch.allclose(part, whole[[5, 2]], atol=1e-12)


@pytest.mark.parametrize("given", [{"weight": -1.0}, {"drop": 1.0}, {"drop": -0.1}, {"steps": 0}])
def test_settings_out_of_their_range_are_refused(given):
    with pytest.raises(SettingError, match="must be"):
        TotalVariation(**given)
