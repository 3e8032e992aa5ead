import pytest
import torch
from detected import Broken, Scaled, net_of, rows_of
from sklearn.metrics import roc_auc_score

from saddlepoint import Classifier, Dataset, Linf
from saddlepoint.attacks import FGSM, PGD, Square
from saddlepoint.detectors import Confidence, Guarded, threshold
from saddlepoint.detectors.squeezing import Squeezed
from saddlepoint.errors import DataError
from saddlepoint.evaluation.detection import area, detection, true_positives


def test_ties_count_half():
    assert area(torch.zeros(5), torch.zeros(7)).value == 0.5
    assert area(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])).value == 0.875


def test_the_interval_is_that_of_a_plain_bootstrap():
    generator = torch.Generator().manual_seed(0)
    clean, adversarial = (
        torch.randn(60, generator=generator),
        0.8 + torch.randn(40, generator=generator).round(decimals=1),
    )
    found = area(clean, adversarial, resamples=2000)
    areas = []
    for _ in range(500):
        parts = [part[torch.randint(len(part), (len(part),), generator=generator)] for part in (clean, adversarial)]
        areas.append(roc_auc_score([0] * 60 + [1] * 40, torch.cat(parts).numpy()))
    low, high = (
        torch.tensor(areas, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    )
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    assert found.low < found.value < found.high


def test_the_true_positive_rate_is_at_most_at_the_stated_false_one():
    clean, adversarial = torch.arange(100.0), torch.tensor([94.0, 94.5, 95.5, 200.0])
    assert true_positives(clean, adversarial, 0.05).count == 3, "above 94 lie five clean rows"
    assert true_positives(clean, adversarial, 0.01).count == 1
    assert true_positives(torch.zeros(10), torch.zeros(4), 0.05).count == 0


@pytest.fixture
def guarded():
    model = Classifier(net_of())
    scorer = Squeezed(model, (Scaled(0.9),))
    return Guarded(model, scorer, threshold(scorer.scores(rows_of(200)), 0.1))


def data_of(guarded, n=80):
    x = rows_of(n, seed=5)
    y = guarded.screen(x).label
    y[:7] = (y[:7] + 1) % 3  # wrong when clean
    return Dataset(x, y, classes=("a", "b", "c"), name="toy")


def broken(above, n=80):
    """A guarded net, and rows on which it gives numbers if its first feature is at most 0.8."""
    model, x = Classifier(Broken(net_of(), above)), rows_of(n, seed=5)
    x[:, 0] *= 0.8
    y = Classifier(net_of()).predict(x)
    scorer = Confidence().fit(model, x[:40], y[:40])
    return Guarded(model, scorer, 0.0), Dataset(x, y, classes=("a", "b", "c"), name="toy", rows=torch.arange(n) + 7)


def test_adversarial_points_without_a_number_count_as_refused():
    guarded, data = broken(0.9)
    result = FGSM(ball=Linf(0.3))
    points = result(guarded.scorer.model, data.x, data.y).x
    assert (points[:, 0] > 0.9).any()
    told = detection(guarded, data, [result], adaptive=False)
    (attack,) = told.attacks
    assert all(score == score for score in attack.scores)
    refused = guarded.screen(points).rejected
    fooled = guarded.scorer.model.predict(points) != data.y
    assert refused[points[:, 0] > 0.9].all()
    assert attack.undetected.count == int((fooled & ~refused).sum())


def test_clean_rows_without_a_score_are_told():
    guarded, data = broken(0.7)
    bad = (data.x[:, 0] > 0.7).nonzero().flatten()
    with pytest.raises(
        DataError, match=rf"{len(bad)} of 80 clean rows have no finite score \(row {int(bad[0]) + 7} is"
    ):
        detection(guarded, data, [FGSM(ball=Linf(0.3))], adaptive=False)


def test_every_row_is_counted_where_it_belongs(guarded):
    data = data_of(guarded)
    attack = PGD(ball=Linf(0.1), steps=5, random_start=False)
    found = detection(guarded, data, [attack])
    clean, right = guarded.screen(data.x), torch.arange(80) >= 7
    assert found.accuracy.count == 73
    assert found.rejected.count == clean.rejected.sum()
    assert found.accepted.count == (right & ~clean.rejected).sum()
    plain, adaptive, pursuing = found.attacks
    assert [each.adaptive for each in found.attacks] == [False, True, True]
    assert adaptive.below is None
    assert pursuing.below == clean.score[7:].median()
    result = attack(guarded.scorer.model, data.x[7:], data.y[7:])
    points = guarded.screen(result.x)
    assert plain.successful.rows == result.success.sum()
    assert plain.successful.rows + plain.failed.rows == 73
    assert plain.undetected.count == (result.success & ~points.rejected).sum()
    assert plain.confident.rows <= plain.successful.rows
    known = roc_auc_score(
        [0] * 73 + [1] * plain.successful.rows,
        torch.cat([clean.score[7:], points.score[result.success]]).numpy(),
    )
    assert plain.successful.area.value == pytest.approx(known)
    assert found.robust.count <= found.accepted.count - plain.undetected.count + clean.rejected.sum()
    alone = detection(guarded, data, [attack], adaptive=False)
    held = right & ~clean.rejected
    held[7:] &= ~result.success | points.rejected
    assert alone.robust.count == held.sum()
    assert found.robust.count <= alone.robust.count


def test_attacks_that_fool_nothing_leave_groups_empty(guarded):
    found = detection(guarded, data_of(guarded), [FGSM(ball=Linf(0.0))], adaptive=False)
    assert found.attacks[0].successful.rows == 0
    assert found.attacks[0].successful.area is None
    assert found.robust == found.accepted


def test_attacks_without_gradients_can_know_of_the_detector_too(guarded):
    found = detection(guarded, data_of(guarded, 30), [Square(ball=Linf(0.1), steps=20)])
    assert [each.adaptive for each in found.attacks] == [False, True, True]


def test_there_must_be_a_row_that_is_right(guarded):
    data = data_of(guarded, 7)
    with pytest.raises(DataError, match=r"the model is wrong on every clean row"):
        detection(guarded, data, [])


def test_a_detector_by_chance_alone_has_half_the_area():
    model = Classifier(net_of())
    x = rows_of(400)
    scores = Confidence().fit(model, x, model.predict(x)).scores(x)
    found = area(scores[:200], scores[200:])
    assert found.low < 0.5 < found.high
