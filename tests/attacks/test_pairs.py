"""The pair search against a plain double loop, and what it costs at the sizes it is made for."""

import resource
import sys
import time

import pytest
import torch

from saddlepoint.attacks import _pairs
from saddlepoint.attacks._pairs import best_pair, best_two

INF = float("inf")


def brute_force(a, b):
    """The first pair p < q of the largest product of sums that are both positive, by trying all; None without one."""
    found, best = None, -1.0
    for p in range(len(a)):
        for q in range(p + 1, len(a)):
            alpha, beta = a[p] + a[q], b[p] + b[q]
            if alpha > 0 and beta > 0 and alpha * beta > best:
                found, best = (p, q), alpha * beta
    return found


def case(kind, n, d, generator):
    """Slopes (n, d) of one kind; about a third of the features is left out in some rows."""
    a = torch.randn(n, d, generator=generator, dtype=torch.float64)
    b = torch.randn(n, d, generator=generator, dtype=torch.float64)
    if kind == "ties":
        a, b = (2 * a).round(), (2 * b).round()
    elif kind == "opposed":
        b = 0.5 - a + 0.1 * b
    elif kind == "opposed ties":
        a = (2 * a).round()
        b = 1 - a + (b > 0.5)
    elif kind == "duplicates":
        columns = torch.randint(0, max(1, d // 3), (d,), generator=generator)
        a, b = a[:, columns], b[:, columns]
    elif kind == "hopeless":
        a, b = -a.abs(), b.abs()
    left_out = torch.rand(n, d, generator=generator) < torch.rand(n, 1, generator=generator) - 0.5
    return a.masked_fill(left_out, -INF), b.masked_fill(left_out, -INF)


KINDS = ("independent", "ties", "opposed", "opposed ties", "duplicates", "hopeless")


@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force_on_a_thousand_jacobians(monkeypatch, kind):
    """84 batches of 2 rows for each of six kinds: 1,008 Jacobians, the table in one piece and in many by turns."""
    generator, none = torch.Generator().manual_seed(KINDS.index(kind)), 0
    for trial in range(84):
        monkeypatch.setattr(_pairs, "_CELLS", (2**20, 40)[trial % 2])
        a, b = case(kind, 2, 2 + trial % 63 if trial > 20 else 2 + trial % 7, generator)
        found = best_pair(a, b)
        for row in range(2):
            wanted = brute_force(a[row].tolist(), b[row].tolist())
            if wanted is None:
                none += 1
                assert found.score[row] == -INF
            else:
                assert (int(found.first[row]), int(found.second[row])) == wanted, (trial, row)
                assert found.score[row] == a[row, list(wanted)].sum() * b[row, list(wanted)].sum()
    assert none == 168 if kind == "hopeless" else none < 168


@pytest.mark.parametrize("kind", KINDS)
def test_two_largest_are_the_best_pair_where_both_slopes_are_one(kind):
    generator = torch.Generator().manual_seed(9)
    for d in (2, 3, 4, 7, 16, 39):
        a, _ = case(kind, 4, d, generator)
        pair, two = best_pair(a, a), best_two(a)
        exists = pair.score > -INF
        assert torch.equal(two.score > -INF, exists)
        for name in ("first", "second"):
            assert torch.equal(getattr(two, name)[exists], getattr(pair, name)[exists])
        torch.testing.assert_close(two.score[exists].exp().square(), pair.score[exists])


def test_the_first_of_equal_pairs_is_taken():
    ones = torch.ones(1, 5)
    assert best_pair(ones, ones)[:2] == (torch.tensor([0]), torch.tensor([1]))
    assert best_two(ones)[:2] == (torch.tensor([0]), torch.tensor([1]))
    assert best_two(torch.tensor([[1.0, 1.0, 5.0, 1.0]]))[:2] == (torch.tensor([0]), torch.tensor([2]))


def test_a_feature_that_only_its_partner_beats_is_found():
    a, b = torch.tensor([[4.0, 3.0, 0.0]]), torch.tensor([[4.0, 3.0, 3.5]])
    assert best_pair(a, b)[:2] == (torch.tensor([0]), torch.tensor([1]))


def test_product_inside_the_hull_of_the_front_is_found():
    """The best pair need not be at corners of the convex hull of the front: the product is only quasi-concave."""
    a = torch.tensor([[10.0, 0.0, 4.9, 4.9]])
    b = torch.tensor([[0.0, 10.0, 4.9, 4.9]])
    assert best_pair(a, b)[:2] == (torch.tensor([0]), torch.tensor([1]))
    a[0, 0] = b[0, 1] = 9.0
    assert best_pair(a, b)[:2] == (torch.tensor([2]), torch.tensor([3]))


def test_products_that_underflow_still_are_pairs():
    tiny = torch.full((1, 3), 1e-30)
    assert best_pair(tiny, tiny).score == 0


@pytest.mark.parametrize("left", [0, 1])
def test_too_few_features_are_no_pair(left):
    a = torch.full((2, 6), -INF)
    a[:, :left] = 1.0
    assert (best_pair(a, a).score == -INF).all()
    assert (best_two(a).score == -INF).all()


def test_a_row_is_as_it_is_alone():
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.cat(parts) for parts in zip(*(case(kind, 5, 50, generator) for kind in KINDS), strict=True))
    together = best_pair(a, b)
    for row in range(len(a)):
        assert [v.item() for v in best_pair(a[row : row + 1], b[row : row + 1])] == [v[row].item() for v in together]


def peak_gigabytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


@pytest.mark.parametrize("d", [4096, 150_528])
def test_large_inputs_need_neither_the_memory_nor_the_time_of_all_pairs(record_property, d):
    """The worst case, every feature on the front, at d = 4,096; an image of 224 x 224 x 3 pixels at d = 150,528."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(1, d, generator=generator, dtype=torch.float64)
    b = 1 - a if d == 4096 else torch.rand(1, d, generator=generator, dtype=torch.float64)
    before, start = peak_gigabytes(), time.process_time()
    found = best_pair(a, b)
    record_property("milliseconds", 1e3 * (time.process_time() - start))
    record_property("gigabytes", peak_gigabytes() - before)
    assert peak_gigabytes() - before < 0.5
    p, q = int(found.first), int(found.second)
    for fixed in (p, q):  # no other partner is better for either of the two
        score = (a[0] + a[0, fixed]) * (b[0] + b[0, fixed])
        score[fixed] = -INF
        assert score.max() <= found.score
    if d == 4096:  # with a = t and b = 1 - t the score is s (2 - s), s the sum of both t: at most 1
        assert 1 - 1e-9 < found.score <= 1 + 1e-12
