"""What detectors learn from: adversarial rows, made of rows that were right."""

import pytest

from saddlepoint import L2, Linf
from saddlepoint.attacks import DDN, PGD
from saddlepoint.detectors import LID, Mahalanobis
from saddlepoint.detectors._examples import examples
from saddlepoint.errors import DataError

ATTACKS = [PGD(ball=Linf(0.3), steps=10), DDN(ball=L2(float("inf")), steps=20)]


@pytest.fixture
def wrong(rows):
    """Every third label is another class than the model's."""
    x, y = rows
    y = y.clone()
    y[::3] = (y[::3] + 1) % 3
    return x, y


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_rows_that_are_wrong_when_clean_are_no_examples(model, rows, wrong, attack):
    x, y = wrong
    found = examples(model, attack, x, y, seed=0)
    right = y == rows[1]
    assert 0 < len(found.adversarial) <= int(right.sum())
    assert not (found.adversarial[:, None] == x[~right]).flatten(2).all(2).any(), "a clean row is no adversarial one"
    assert found.noisy.isfinite().all()


@pytest.mark.parametrize("kind", [Mahalanobis, LID])
def test_a_model_that_is_always_wrong_gives_nothing_to_learn_from(model, rows, kind):
    x, y = rows
    with pytest.raises(DataError, match="fooled no row"):
        kind(attack=ATTACKS[0]).fit(model, x, (y + 1) % 3)
