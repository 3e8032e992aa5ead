import pytest
import torch
from detected import Broken, Mirrored, Rounded, Scaled, net_of
from torch import nn

import saddlepoint as sp
from saddlepoint import Classifier, Linf
from saddlepoint.attacks import CWL2, PGD
from saddlepoint.detectors import Confidence, FeatureSqueezing, Guarded, KDensity, threshold
from saddlepoint.detectors.squeezing import Squeezed
from saddlepoint.errors import DataError, InputError, SettingError, SpecError
from saddlepoint.evaluation.targets import choose
from saddlepoint.evaluation.verify import judge
from saddlepoint.losses import cross_entropy, fool_and_pass, fool_then_pass, margin


@pytest.fixture
def guarded(model, rows):
    scorer = Squeezed(model, (Scaled(0.9),))
    return Guarded(model, scorer, threshold(scorer.scores(rows[0]), 0.1))


def test_the_refusal_is_highest_exactly_where_the_score_is_above_the_threshold(guarded, rows):
    x, y = rows
    found = guarded.screen(x)
    predicted = guarded.classifier.predict(x)
    assert 10 < found.rejected.sum() < 100
    assert torch.equal(found.rejected, found.score > guarded.threshold)
    assert torch.equal(found.label, y)
    assert torch.equal(predicted, torch.where(found.rejected, 3, y))


def test_what_gives_no_number_is_refused(rows):
    x = rows[0]
    model = Classifier(Broken(net_of(), 0.9))
    broken = x[:, 0] > 0.9
    assert 0 < broken.sum() < len(x)
    scorer = Confidence().fit(model, x[~broken], model.predict(x[~broken]))
    found = Guarded(model, scorer, 1e9).screen(x)
    assert torch.equal(found.rejected, broken)


def test_it_is_so_too_where_rounding_hides_the_difference(rows):
    model = Classifier(net_of(scale=1e8))
    x, scorer = rows[0], Confidence().fit(model, rows[0], model.predict(rows[0]))
    score = scorer.scores(x)
    for limit in (score.median().item(), score[0].item(), score[7].item()):
        found = Guarded(model, scorer, limit, slope=1e-12).classifier.predict(x) == 3
        assert torch.equal(found, score > limit)
        assert 0 < found.sum() < len(x)


def test_an_attack_succeeds_where_the_class_is_wrong_and_not_refused(guarded, rows):
    x, y = rows
    for loss in (cross_entropy, fool_and_pass, fool_then_pass):
        result = PGD(ball=Linf(0.2), steps=10, loss=loss)(guarded.classifier, x, y)
        found = guarded.screen(result.x)
        assert torch.equal(result.success, (found.label != y) & ~found.rejected)
        told = judge(guarded.classifier, x, result.x, y, None, norm="linf", eps=0.2)
        assert torch.equal(told.fooled, result.success)
        assert torch.equal(result.loss > 0, result.success) or loss is cross_entropy
    clean = judge(guarded.classifier, x, x, y, None, norm=None, eps=0)
    assert torch.equal(clean.fooled, guarded.screen(x).rejected), "a refused clean row counts against clean accuracy"


def test_an_attack_that_knows_of_the_refusal_succeeds_more_often(model, rows):
    x, y = rows
    scorer = KDensity().fit(model, x, y)
    guarded = Guarded(model, scorer, threshold(scorer.scores(x), 0.1))
    shares = {
        loss: PGD(ball=Linf(0.2), steps=20, loss=loss)(guarded.classifier, x, y).success.double().mean().item()
        for loss in (margin, fool_and_pass, fool_then_pass)
    }
    assert shares[fool_and_pass] > shares[margin]
    assert shares[fool_then_pass] > 0.5


def test_carlini_and_wagner_takes_the_losses_of_a_model_that_may_refuse(guarded, rows):
    x, y = (part[:20] for part in rows)
    result = CWL2(steps=100, search_steps=5, loss=fool_and_pass)(guarded.classifier, x, y)
    found = guarded.screen(result.x)
    assert result.success.double().mean() > 0.8
    assert not bool((found.rejected & result.success).any())


@pytest.mark.parametrize("kind", ["squeezing", "density"])
def test_who_pursues_clean_scores_gets_them(model, rows, kind):
    x, y = rows
    scorer = Squeezed(model, (Scaled(0.9), Rounded())) if kind == "squeezing" else KDensity().fit(model, x, y)
    guarded = Guarded(model, scorer, threshold(scorer.scores(x), 0.1))
    middle = scorer.scores(x).median().item()
    result = CWL2(steps=200, search_steps=4, step_size=0.05, const=1.0, loss=fool_and_pass)(
        guarded.pursued(middle), x[:40], y[:40]
    )
    found = guarded.screen(result.x)
    there = (found.label != y[:40]) & (found.score <= middle * (1 + 1e-4) + 1e-6)
    assert there.double().mean() > 0.8


def test_a_pursuit_has_a_gradient_where_the_softmax_is_saturated(rows):
    model = Classifier(net_of(scale=1e3).eval())
    x, scorer = rows[0], Squeezed(model, (Mirrored(),)).eval()
    guarded = Guarded(model, scorer, 0.1)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(guarded.look(point).score.sum(), point)
    stuck = x[(slope.abs().amax(1) < 1e-6) & (scorer.scores(x) > 1)].requires_grad_()
    assert len(stuck) > 50
    y = model.predict(stuck.detach())
    loss = fool_and_pass(guarded.pursued(0.01).logits(stuck), y, None)
    (grad,) = torch.autograd.grad(loss.sum(), stuck)
    assert (grad.abs().sum(1) > 1).all()


def test_a_pursuit_goes_for_a_score(model, rows):
    guarded = Guarded(model, Squeezed(model, (Scaled(0.9),)), 0.1)
    with pytest.raises(SettingError, match=r"below=0 must be a finite score > 0"):
        guarded.pursued(0)
    with pytest.raises(SettingError, match=r"slope=-1 must be a finite number > 0"):
        guarded.pursued(0.1, slope=-1)


def test_a_targeted_attack_reaches_its_class_unrefused(guarded, rows):
    x, y = rows
    target = (y + 1) % 3
    result = PGD(ball=Linf(0.3), steps=20, loss=fool_and_pass)(guarded.classifier, x, y, target=target)
    found = guarded.screen(result.x)
    assert result.success.any()
    assert torch.equal(result.success, (found.label == target) & ~found.rejected)


@pytest.mark.parametrize("loss", [fool_and_pass, fool_then_pass])
def test_a_loss_is_positive_exactly_on_success_and_never_hides_one_goal_behind_the_other(loss):
    logits = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(500) % 4
    predicted = logits.argmax(1)
    assert torch.equal(loss(logits, y) > 0, (predicted != y) & (predicted != 4))
    both = torch.tensor([[3.0, 1.0, 0.0, 5.0]], requires_grad=True)  # right, and refused
    (grad,) = torch.autograd.grad(loss(both, torch.tensor([0])).sum(), both)
    assert grad[0, 1] > 0, "the other class is wanted"
    assert (grad[0, 3] < 0) == (loss is fool_and_pass)


def test_a_scorer_of_another_model_costs_a_pass_of_its_own(model, rows):
    other = Classifier(net_of(seed=9))
    scorer = Confidence().fit(other, *rows)
    guarded = Guarded(model, scorer, 0.0)
    assert torch.equal(guarded.screen(rows[0]).label, rows[1])
    assert torch.allclose(guarded.screen(rows[0]).score, scorer.scores(rows[0]))


def test_the_fingerprint_knows_threshold_and_detector(model, rows):
    scorers = [Squeezed(model, (Scaled(0.9),)), Squeezed(model, (Scaled(0.8),))]
    prints = {Guarded(model, s, t).classifier.fingerprint for s in scorers for t in (0.1, 0.2)}
    assert len(prints) == 4


@pytest.mark.parametrize("detector", [FeatureSqueezing((Scaled(0.99), Rounded())), KDensity(), Confidence()])
@pytest.mark.filterwarnings("ignore")
def test_it_can_be_exported(detector, model, rows):
    guarded = Guarded(model, detector.fit(model, *rows), 0.3).eval()
    batch = torch.export.Dim("n", min=2, max=512)
    program = torch.export.export(guarded, (rows[0][:4],), dynamic_shapes=({0: batch},), strict=False)
    assert torch.allclose(program.module()(rows[0]), guarded(rows[0]), atol=1e-5)


def test_an_evaluation_counts_refused_clean_rows_as_wrong_and_refused_points_as_held(guarded, rows):
    x, y = (part[:60] for part in rows)
    run = sp.evaluate(
        guarded.classifier, (x, y), ball=Linf(0.1), attacks=[PGD(ball=Linf(0.1), steps=5, random_start=False)]
    )
    found = guarded.screen(x)
    assert run.record.models[0].clean.count == int((~found.rejected).sum())
    result = PGD(ball=Linf(0.1), steps=5, random_start=False)(guarded.classifier, x, y)
    held = ~found.rejected & ~result.success
    assert run.robust_accuracy == pytest.approx(held.double().mean().item())


def test_the_index_of_the_refusal_is_no_class(guarded, rows):
    x, y = (part[:20] for part in rows)
    refusal = torch.full_like(y, 3)
    attack = PGD(ball=Linf(0.1), steps=2)
    with pytest.raises(InputError, match=r"y holds 3, which stands for the refusal; the model's classes are 0 to 2"):
        attack(guarded.classifier, x, refusal)
    with pytest.raises(InputError, match=r"target holds 3, which stands for the refusal"):
        attack(guarded.classifier, x, y, target=refusal)
    with pytest.raises(DataError, match=r"run up to class 3, .* has classes 0 to 2"):
        sp.evaluate(guarded.classifier, (x, refusal), ball=Linf(0.1), attacks=[attack])
    with pytest.raises(SpecError, match=r"a class of the model, 0 to 2"):
        sp.evaluate(guarded.classifier, (x, y), ball=Linf(0.1), attacks=[attack], target="3")


@pytest.mark.parametrize("spec", ["random", "least-likely"])
def test_no_target_is_the_refusal(guarded, rows, spec):
    x, y = rows
    target = choose(spec, guarded.classifier, x, y, sp.Noise(0).at(torch.arange(len(x))))
    assert set(target.tolist()) == {0, 1, 2}


def test_settings_that_mean_nothing_are_refused(model, rows):
    scorer = Confidence().fit(model, *rows)
    with pytest.raises(SettingError, match=r"threshold=nan must be a finite number"):
        Guarded(model, scorer, float("nan"))
    with pytest.raises(SettingError, match=r"slope=0 must be a finite number > 0"):
        Guarded(model, scorer, 0.0, slope=0)
    with pytest.raises(SettingError, match=r"the scorer has the bounds"):
        Guarded(Classifier(nn.Linear(6, 3), bounds=(-1, 1)), scorer, 0.0)
