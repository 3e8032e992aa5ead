"""The noise is uniform, uncorrelated, and a function of (seed, row id, draw, element) alone."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from saddlepoint import Noise
from saddlepoint.errors import SettingError

ROWS, FEATURES = 500, 784


@pytest.fixture(scope="module")
def sample():
    return Noise(0).uniform(torch.empty(ROWS, FEATURES))


def p_value(counts):
    return stats.chisquare(counts).pvalue


def correlation(a, b):
    """In standard errors: about normal(0, 1) if a and b are independent."""
    a, b = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    return np.corrcoef(a, b)[0, 1] * math.sqrt(len(a))


@pytest.mark.parametrize("cells", [16, 1000, 4096])
def test_cells_are_hit_evenly(sample, cells):
    counts = np.bincount((sample.flatten() * cells).long().numpy(), minlength=cells)
    assert 1e-4 < p_value(counts) < 1 - 1e-4


@pytest.mark.parametrize("axis", [0, 1])
def test_pairs_of_neighbours_hit_cells_evenly(sample, axis):
    cells = (sample.double() * 32).long()
    pairs = cells.narrow(axis, 0, cells.shape[axis] - 1) * 32 + cells.narrow(axis, 1, cells.shape[axis] - 1)
    assert 1e-4 < p_value(np.bincount(pairs.flatten().numpy(), minlength=1024)) < 1 - 1e-4


def test_every_row_and_every_feature_is_uniform(sample):
    for values in (sample, sample.T):
        p = np.array([stats.kstest(v, "uniform").pvalue for v in values[:300].double().numpy()])
        assert stats.kstest(p, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("bit", range(24))
def test_bits_are_fair(sample, bit):
    ones = ((sample * 2**24).long() >> bit & 1).sum().item()
    total = sample.numel()
    assert abs(ones - total / 2) < 4.5 * math.sqrt(total / 4)


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 16, 28, 64, 256])
def test_no_serial_correlation_along_features_or_rows(sample, lag):
    assert abs(correlation(sample[:, lag:], sample[:, :-lag])) < 4.5
    assert abs(correlation(sample[lag:], sample[:-lag])) < 4.5


OTHERS = {
    "draw 1": lambda like: Noise(0).uniform(like, 1),
    "draw 2": lambda like: Noise(0).uniform(like, 2),
    "draw -1": lambda like: Noise(0).uniform(like, -1),
    "draw 2**32": lambda like: Noise(0).uniform(like, 2**32),
    "seed 1": lambda like: Noise(1).uniform(like),
    "seed -1": lambda like: Noise(-1).uniform(like),
    "seed 2**32": lambda like: Noise(2**32).uniform(like),
    "seed 2**63": lambda like: Noise(2**63).uniform(like),
    "child": lambda like: Noise(0).child("start").uniform(like),
    "child 0": lambda like: Noise(0).child(0).uniform(like),
    "rows 2**32 on": lambda like: Noise(0, torch.arange(len(like)) + 2**32).uniform(like),
    "rows -1 down": lambda like: Noise(0, -1 - torch.arange(len(like))).uniform(like),
    "normal": lambda like: Noise(0).normal(like),
}


@pytest.mark.parametrize("name", OTHERS)
def test_streams_are_uncorrelated(sample, name):
    other = OTHERS[name](torch.empty(ROWS, FEATURES))
    assert abs(correlation(sample, other)) < 4.5
    assert abs(correlation(sample[1:], other[:-1])) < 4.5
    assert (sample == other).float().mean() < 1e-4


def test_seed_and_row_do_not_add_up():
    like = torch.empty(50, 20)
    rows = torch.arange(50)
    assert not torch.equal(Noise(0, rows + 1).uniform(like), Noise(1, rows).uniform(like))
    assert not torch.equal(Noise(0, rows + 1).uniform(like), Noise(0, rows).uniform(like, 1))


def test_children_differ_by_name_and_by_parent():
    seeds = {Noise(seed).child(name).seed for seed in range(20) for name in ("start", "radius", 0, 1, "1/0")}
    assert len(seeds) == 20 * 5
    assert Noise(0, torch.tensor([4])).child("x").rows.tolist() == [4]


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_batch_and_order_do_not_matter(kind):
    rows = torch.tensor([7, 0, 3, 2**40, -5, 12])
    like = torch.empty(6, 2, 5)
    whole = getattr(Noise(3, rows), kind)(like, 4)
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    for size in (1, 2, 6):
        for part in order.split(size):
            found = getattr(Noise(3).at(rows[part]), kind)(like[part], 4)
            assert torch.equal(found, whole[part])


def test_default_rows_are_positions():
    like = torch.empty(5, 3)
    assert torch.equal(Noise(2).uniform(like), Noise(2, torch.arange(5)).uniform(like))


def test_shape_is_only_a_view_of_the_features():
    flat = Noise(0).uniform(torch.empty(4, 12))
    assert torch.equal(Noise(0).uniform(torch.empty(4, 3, 2, 2)).flatten(1), flat)
    assert torch.equal(Noise(0).uniform(torch.empty(4, 20))[:, :12], flat)


def test_float64_draws_the_same_numbers_as_float32():
    assert torch.equal(Noise(0).uniform(torch.empty(50, 40)).double(), Noise(0).uniform(torch.empty(50, 40).double()))
    single, double = Noise(0).normal(torch.empty(50, 40)), Noise(0).normal(torch.empty(50, 40).double())
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


def test_one_draw_number_per_row():
    like, draws = torch.empty(4, 6), torch.tensor([5, 0, 2**33, -1])
    mixed = Noise(1).uniform(like, draws)
    for i, draw in enumerate(draws.tolist()):
        assert torch.equal(mixed[i], Noise(1).uniform(like, draw)[i])


def test_range(sample):
    assert sample.min() >= 0
    assert sample.max() < 1
    assert torch.equal(sample * 2**24, (sample * 2**24).round())


def test_normal_moments_and_distribution():
    sample = Noise(0).normal(torch.empty(ROWS, FEATURES, dtype=torch.float64)).flatten()
    n = len(sample)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((sample**power).mean().item() - moment) < 4.5 * math.sqrt(variance / n)
    assert stats.kstest(sample[:100_000].numpy(), "norm").pvalue > 1e-4
    assert sample.isfinite().all()
    assert sample.abs().max() < 5.8


def test_golden_values():
    # print((Noise(0).uniform(torch.empty(2, 3)) * 2**24).long().tolist()); if it changes, so does every reported number
    wanted = [[15196212, 7339096, 5271953], [890862, 16231715, 16452944]]
    assert (Noise(0).uniform(torch.empty(2, 3)) * 2**24).long().tolist() == wanted


def test_torchs_generator_is_not_used():
    before = torch.get_rng_state()
    Noise(0).normal(torch.empty(3, 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_empty_batches_and_rows_without_features():
    for shape in ((0, 3), (0,), (3, 0), (0, 0), (2, 0, 4)):
        assert Noise(0).uniform(torch.empty(shape)).shape == shape
        assert Noise(0).normal(torch.empty(shape)).shape == shape


def test_one_dimensional_batches():
    assert Noise(0).uniform(torch.empty(4)).unique().numel() == 4


def test_wrong_number_of_rows_is_refused():
    with pytest.raises(SettingError, match="bound to 3 row ids, the batch has 4 rows"):
        Noise(0, torch.arange(3)).uniform(torch.empty(4, 2))


@pytest.mark.parametrize("seed", [1.0, True, None, "0"])
@pytest.mark.usefixtures("unchecked")
def test_seed_must_be_an_integer(seed):
    with pytest.raises(SettingError, match="must be an integer"):
        Noise(seed)


def test_seeds_of_any_size_differ():
    seeds = (5, 5 + 2**32, 5 + 2**64, 5 + 2**200, -5)
    assert len({tuple(Noise(seed).uniform(torch.empty(1, 4))[0].tolist()) for seed in seeds}) == len(seeds)


def test_noise_is_a_value():
    assert Noise(3) == Noise(3)
    assert Noise(3) != Noise(4)
    assert hash(Noise(3)) == hash(Noise(3, torch.arange(2)))
