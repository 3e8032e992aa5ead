import pytest
import torch
from detected import Scaled, net_of, rows_of

from saddlepoint import Classifier, Linf
from saddlepoint.attacks import OrthogonalPGD
from saddlepoint.attacks.orthogonal_pgd import _without
from saddlepoint.detectors import Guarded, threshold
from saddlepoint.detectors.squeezing import Squeezed
from saddlepoint.errors import SettingError
from saddlepoint.testing import contract

test_contract = contract(OrthogonalPGD(ball=Linf(0.1), steps=5, random_start=False), within=1 - 1e-6)


def test_what_is_left_is_orthogonal():
    grad, other = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    other[0] = 0
    left = _without(grad, other)
    assert (left * other).flatten(1).sum(1) == pytest.approx(torch.zeros(5), abs=1e-5)
    assert torch.equal(left[0], grad[0])


def test_it_fools_and_passes_a_model_that_may_refuse():
    model = Classifier(net_of())
    x = rows_of(100)
    y = model.predict(x)
    scorer = Squeezed(model, (Scaled(0.9),))
    guarded = Guarded(model, scorer, threshold(scorer.scores(x), 0.1))
    result = OrthogonalPGD(ball=Linf(0.3), steps=20)(guarded.classifier, x, y)
    found = guarded.screen(result.x)
    assert torch.equal(result.success, (found.label != y) & ~found.rejected)
    assert result.success.double().mean() > 0.7
    assert (result.forwards == 21).all()
    assert (result.backwards == 40).all()


def test_steps_that_mean_nothing_are_refused():
    with pytest.raises(SettingError, match=r"steps=-1 must be an integer >= 0"):
        OrthogonalPGD(ball=Linf(0.1), steps=-1)
