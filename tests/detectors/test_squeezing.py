import pytest
import torch
from detected import Mirrored, Rounded, Scaled, net_of, rows_of

from saddlepoint import Classifier
from saddlepoint.balls import Bounds
from saddlepoint.detectors import FeatureSqueezing, squeezing
from saddlepoint.detectors.squeezing import Squeezed
from saddlepoint.errors import DetectorWarning, SettingError, SpecError


def known(model, squeezers, x):
    """One filter after the other, row by row."""
    shares = [model.logits(each).softmax(1) for each in (x, *(squeeze(x) for squeeze in squeezers))]
    return torch.stack([(shares[0] - other).abs().sum(1) for other in shares[1:]]).amax(0)


def test_the_score_is_the_largest_change_of_the_softmax(model, rows):
    x, y = rows
    squeezers = (Scaled(0.99), Scaled(0.98))
    scorer = FeatureSqueezing(squeezers).fit(model, x, y)
    with torch.no_grad(), model.frozen():
        expected = known(model, squeezers, x)
    assert torch.allclose(scorer.scores(x), expected, atol=1e-6)
    assert (expected >= 0).all()
    assert expected.max() > 0.005


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_it_lies_between_0_and_2_and_reaches_both_where_the_softmax_is_saturated(scale):
    model = Classifier(net_of(scale=scale))
    x = rows_of(200)
    with torch.no_grad(), model.frozen():
        changed = model.predict(x) != model.predict(1 - x)
    scores = Squeezed(model, (Mirrored(),)).scores(x)
    assert (scores >= 0).all()
    assert (scores <= 2).all()
    if scale > 1:
        assert 0 < changed.sum() < 200
        assert ((scores > 1.9) != changed).sum() < 10, "a few lie on the border"


def test_all_squeezers_share_one_pass(model, rows):
    passes = []
    handle = model.module.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    scorer = FeatureSqueezing((Scaled(0.99), Scaled(0.98), Scaled(0.97))).fit(model, *rows)
    passes.clear()
    scorer.scores(rows[0], batch_size=200)
    handle.remove()
    assert passes == [4 * 200, 4 * 100]


def test_many_rows_take_a_pass_for_each_squeezer_and_score_the_same(model, rows, monkeypatch):
    x = rows[0][:50].clone().requires_grad_()
    scorer = Squeezed(model, (Scaled(0.9), Rounded())).eval()
    together = scorer(x)
    (expected,) = torch.autograd.grad(together.sum(), x)
    passes = []
    handle = model.module.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    monkeypatch.setattr(squeezing, "_ONE_PASS", x.numel() - 1)
    apart = scorer(x)
    (found,) = torch.autograd.grad(apart.sum(), x)
    handle.remove()
    assert passes == [50, 50, 50]
    assert torch.allclose(apart, together, rtol=1e-5, atol=1e-7)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_gradient_goes_through_the_surrogate(model, rows):
    x = rows[0][:20].clone().requires_grad_()
    scorer = Squeezed(model, (Rounded(),))
    scorer.eval()
    score = scorer(x)
    (grad,) = torch.autograd.grad(score.sum(), x)
    assert torch.equal(score.detach(), scorer.scores(x)), "the value is that of the filter"
    point, squeezed = (t.detach().clone().requires_grad_() for t in (x, x.round()))
    change = (model.logits(point).softmax(1) - model.logits(squeezed).softmax(1)).abs().sum(1)
    straight = sum(torch.autograd.grad(change.sum(), (point, squeezed)))
    assert torch.allclose(grad, straight, atol=1e-6)
    assert straight.abs().max() > 0.01


def test_a_filter_that_spoils_clean_rows_is_told_of(model, rows):
    with pytest.warns(DetectorWarning, match=r"behind .*'scaled', 'factor': 0.0.* the model is right on"):
        FeatureSqueezing((Scaled(0.99), Scaled(0.0))).fit(model, *rows)


def test_what_is_no_squeezer_is_refused(model, rows):
    with pytest.raises(SettingError, match=r"squeezers=\(\) must be a tuple of at least one transform"):
        FeatureSqueezing(())
    with pytest.raises(SettingError, match=r"rounded has the bounds .*-1.* the model"):
        FeatureSqueezing((Rounded(bounds=(-1, 1)),)).fit(model, *rows)
    with pytest.raises(SpecError, match=r"unknown data set 'mnis'; did you mean 'mnist'"):
        FeatureSqueezing.joint("mnis", Bounds())


def test_more_rows_than_a_batch_are_counted_once(model):
    x = rows_of(1200)
    scorer = FeatureSqueezing((Scaled(0.99),)).fit(model, x, model.predict(x))
    assert scorer.scores(x).shape == (1200,)
