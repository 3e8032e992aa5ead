import pytest
import torch
from detected import Scaled, net_of, rows_of

from saddlepoint import Classifier, Linf
from saddlepoint.attacks import PGD
from saddlepoint.detectors import Guarded, OrthogonalPGD, threshold
from saddlepoint.detectors.orthogonal import _without
from saddlepoint.detectors.squeezing import Squeezed
from saddlepoint.errors import SettingError
from saddlepoint.losses import margin


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
    assert result.success.double().mean() > 0.5
    assert (result.forwards == 21).all()
    assert (result.backwards == 40).all()


def test_on_a_model_that_does_not_refuse_it_is_pgd_on_the_margin():
    model = Classifier(net_of())
    x = rows_of(40)
    y = model.predict(x)
    one, two = (kind(ball=Linf(0.05), steps=5, loss=margin)(model, x, y) for kind in (OrthogonalPGD, PGD))
    assert torch.allclose(one.x, two.x, atol=1e-6)
    assert (one.x - x).abs().max() > 0.04


def test_steps_that_mean_nothing_are_refused():
    with pytest.raises(SettingError, match=r"steps=-1 must be an integer >= 0"):
        OrthogonalPGD(ball=Linf(0.1), steps=-1)
