import pytest
import torch
from detected import rows_of

from saddlepoint import Linf
from saddlepoint.attacks import PGD
from saddlepoint.detectors import LID
from saddlepoint.detectors.lid import local_dimension
from saddlepoint.errors import DataError, SettingError


@pytest.mark.parametrize(("n", "d", "known"), [(1000, 2, 2.1), (1000, 5, 4.9), (1000, 10, 8.7), (100, 10, 7.5)])
def test_of_uniform_points_in_a_cube(n, d, known):
    points = torch.rand(n, d, generator=torch.Generator().manual_seed(0))
    found = local_dimension(points, points, 20, skip=1).mean().item()
    assert found == pytest.approx(known, rel=0.05)


def test_it_is_the_formula():
    points, reference = (torch.rand(n, 3, generator=torch.Generator().manual_seed(n)).double() for n in (4, 30))
    r = torch.cdist(points, reference).sort(1).values[:, :7]
    known = -1 / (r / r[:, -1:]).log().mean(1)
    assert torch.allclose(local_dimension(points, reference, 7), known, rtol=1e-6)


def test_duplicates_are_finite_also_in_the_gradient():
    reference = torch.zeros(10, 3)
    points = torch.zeros(2, 3, requires_grad=True)
    found = local_dimension(points, reference, 5)
    assert found.isfinite().all()
    assert torch.autograd.grad(found.sum(), points)[0].isfinite().all()


def test_without_an_attack_the_standardised_dimensions_are_summed(model, rows):
    scorer = LID(layers=("1", None), k=5, reference=50).fit(model, *rows)
    assert scorer.weight.tolist() == [1, 1]
    fresh = scorer.scores(rows_of(300, seed=5))
    assert fresh.mean().abs() < 0.5
    assert fresh.std() > 0.5


def test_with_an_attack_it_learns_to_tell_it_from_clean_rows(model, rows):
    x = 0.4 + 0.2 * rows[0]
    y = model.predict(x)
    attack = PGD(ball=Linf(0.3), steps=10)
    scorer = LID(attack=attack, layers=("1", None), k=5, reference=50).fit(model, x, y)
    found = attack(model, x, y)
    assert scorer.scores(found.x[found.success]).mean() > scorer.scores(x).mean()


def test_settings_and_rows_that_do_not_suffice(model, rows):
    with pytest.raises(SettingError, match=r"k=100 must be at least 2 and less than reference=100"):
        LID(k=100)
    with pytest.raises(DataError, match=r"50 rows are too few"):
        LID().fit(model, rows[0][:50], rows[1][:50])
    with pytest.raises(DataError, match=r"the attack fooled no row"):
        LID(attack=PGD(ball=Linf(0.0), steps=1), k=5, reference=50).fit(model, *rows)
