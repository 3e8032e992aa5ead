import math

import pytest
import torch
from detected import net_of, rows_of

from saddlepoint import Classifier
from saddlepoint.detectors import Confidence, Energy, NonMaximalEntropy, threshold
from saddlepoint.detectors.outputs import confidence, energy, non_maximal_entropy
from saddlepoint.errors import DataError, DetectorWarning, InputError, ModelError

LOGITS = torch.randn(50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


def test_confidence_ranks_as_the_highest_probability_does():
    top = LOGITS.softmax(1).amax(1)
    assert torch.allclose(confidence(LOGITS), ((1 - top) / top).log())
    assert torch.equal(confidence(LOGITS).argsort(), (-top).argsort())


def test_confidence_tells_saturated_rows_apart():
    logits = torch.tensor([[300.0, 0.0, 1.0], [200.0, 0.0, 1.0]])
    assert confidence(logits)[0] < confidence(logits)[1]


def test_energy_is_the_log_of_the_sum():
    assert torch.allclose(energy(LOGITS), -LOGITS.exp().sum(1).log())


def test_the_entropy_of_the_others_is_that_of_their_shares():
    shares = LOGITS.softmax(1)
    for row, score in zip(shares, non_maximal_entropy(LOGITS), strict=True):
        others = row[torch.arange(5) != row.argmax()]
        others = others / others.sum()
        assert score.item() == pytest.approx((others * others.log()).sum().item())


def test_shares_that_underflow_have_no_nan_also_in_the_gradient():
    logits = torch.tensor([[500.0, 400.0, 0.0, -400.0]], requires_grad=True)
    score = non_maximal_entropy(logits)
    assert score.item() == 0
    assert torch.autograd.grad(score.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("detector", [Confidence(), Energy()])
def test_a_distilled_net_gives_finite_scores_that_differ(detector):
    model = Classifier(net_of(scale=1e4))
    x = rows_of(64)
    scores = detector.fit(model, x, model.predict(x)).scores(x)
    assert scores.isfinite().all()
    assert len(scores.unique()) > 1


def test_a_distilled_net_leaves_no_entropy_and_the_threshold_tells():
    model = Classifier(net_of(scale=1e4))
    x = rows_of(100)
    scores = NonMaximalEntropy().fit(model, x, model.predict(x)).scores(x)
    with pytest.warns(DetectorWarning, match=r"100 of 100 clean scores are .*0, the threshold"):
        threshold(scores, 0.05)


def test_two_classes_have_no_entropy_of_others():
    model = Classifier(net_of(k=2))
    x = rows_of(4)
    with pytest.raises(ModelError, match=r"the model has two classes.* use Confidence"):
        NonMaximalEntropy().fit(model, x, model.predict(x))
    one = Classifier(net_of(k=1))
    assert Confidence().fit(one, x, model.predict(x)).scores(x).shape == (4,)


def test_scores_do_not_depend_on_the_batch(model, rows):
    x, y = rows
    scorer = Energy().fit(model, x, y)
    assert torch.allclose(scorer.scores(x, batch_size=7), scorer.scores(x), atol=1e-6)
    assert scorer.scores(x[:0]).shape == (0,)
    assert math.isfinite(scorer.scores(x[:1]).item())
    assert model.module.training, "the caller's flags are as they were"


def test_bad_rows_are_refused(model, rows):
    x, y = rows
    with pytest.raises(InputError, match=r"inputs range from"):
        Confidence().fit(model, x * 3, y)
    with pytest.raises(DataError, match=r"there are no rows to fit the detector to"):
        Confidence().fit(model, x[:0], y[:0])
    with pytest.raises(InputError, match=r"inputs range from"):
        Confidence().fit(model, x, y).scores(x - 1)
