"""Random transforms inside attacks: draws go by row id and pass, whoever shares the batch; the judge has its own."""

import math

import pytest
import torch
from filters import Jitter, linear

from saddlepoint import Classifier, Dataset, Keep, Limits, Linf, Noise
from saddlepoint._tree import take
from saddlepoint.attacks import EOT, NES, PGD, EachTarget, FromCallable, HopSkipJump, Square
from saddlepoint.balls import L2
from saddlepoint.evaluation import evaluate
from saddlepoint.evaluation.plan import make_plan
from saddlepoint.evaluation.verify import judge
from saddlepoint.noise import drawing, drawn

ROWS, FEATURES = 12, 6
X = torch.rand(ROWS, FEATURES, generator=torch.Generator().manual_seed(3))
Y = linear()(X).argmax(1)
IDS = torch.arange(ROWS) * 7 + 2


def model(scale=0.3):
    return Classifier(linear()).prepend(Jitter(scale))


def drift(model, x, y):
    return (x + 0.1).clamp(0, 1)


ATTACKS = [
    PGD(ball=Linf(0.1), steps=5),
    PGD(ball=Linf(0.1), steps=5, keep=Keep.FIRST_SUCCESS),
    Square(ball=Linf(0.1), steps=20, keep=Keep.FIRST_SUCCESS),
    EOT(attack=Square(ball=Linf(0.1), steps=10, keep=Keep.FIRST_SUCCESS), draws=3),
    NES(ball=Linf(0.1), steps=3, keep=Keep.FIRST_SUCCESS),
    HopSkipJump(ball=L2(1.0), steps=3),
    EachTarget(attack=PGD(ball=Linf(0.1), steps=5, keep=Keep.FIRST_SUCCESS), classes=2),
    FromCallable(function=drift, ball=Linf(0.1)),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.name}-{getattr(attack, 'keep', '')}")
@pytest.mark.parametrize("given", [True, False])
def test_a_row_does_not_depend_on_the_others(attack, given):
    labels = Y if given else None
    whole = attack(model(), X, labels, noise=Noise(5, IDS))
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    for rows in (order[:5], order[5:]):
        part = attack(model(), X[rows], None if labels is None else Y[rows], noise=Noise(5, IDS[rows]))
        for name, value in vars(take(whole, rows)).items():
            torch.testing.assert_close(getattr(part, name), value, msg=name)
    unshrunk = attack(model(), X, labels, noise=Noise(5, IDS), limits=Limits(shrink_at=0))
    assert torch.equal(unshrunk.success, whole.success)
    torch.testing.assert_close(unshrunk.x, whole.x)


def test_the_generator_of_torch_is_not_used():
    before = torch.get_rng_state()
    for attack in ATTACKS:
        attack(model(), X, None, noise=Noise(5, IDS))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_pass_of_an_attack_draws_anew():
    seen = []

    class Watch(Jitter):
        def forward(self, x):
            found = super().forward(x)
            seen.append((found - x).detach())
            return found

    PGD(ball=Linf(0.0), steps=3, random_start=False)(Classifier(linear()).prepend(Watch()), X, Y, noise=Noise(5, IDS))
    assert len(seen) == 5  # four looks and the verification
    flat = torch.stack(seen).flatten(1)
    assert torch.pdist(flat).min() > 0.1
    assert flat.flatten().unique().numel() > 0.99 * flat.numel()


def test_points_of_one_row_draw_apart():
    points = torch.tensor([2, 0, 2, 2, 0])
    x = torch.zeros(5, 4)
    with drawing(Noise(5, IDS), torch.arange(ROWS), points):
        together = drawn(x).normal(x)
    assert together.unique().numel() == 20
    kept = torch.tensor([1, 4])  # those of row 0, asked alone
    with drawing(Noise(5, IDS[:1]), torch.zeros(1, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)):
        assert torch.equal(drawn(x[kept]).normal(x[kept]), together[kept])


def test_predictions_do_not_depend_on_the_batch_size():
    for noise in (Noise(5, IDS), Noise(5)):
        found = []
        for size in (1, 5, ROWS):
            with drawing(noise):
                found.append(model(2.0).predict(X, batch_size=size))
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])


def test_samples_are_different_draws():
    samples = model().sampled(5).samples(X)
    assert torch.pdist(samples.flatten(1)).min() > 0.1


def test_the_mean_over_draws_converges_as_the_root_of_their_number():
    """The gradient of a mean over n draws of a quadratic loss is off by sigma / sqrt(n), which is known exactly."""
    scale, x = 0.2, torch.full((4000, 1), 0.5, dtype=torch.float64)

    def square(x):
        return torch.cat([x**2, torch.zeros_like(x)], 1)  # the gradient at x + u is 2 (x + u)

    off = {}
    for n in (1, 4, 16, 64):
        averaged = Classifier(square).prepend(Jitter(scale)).sampled(n)
        leaf = x.clone().requires_grad_()
        with drawing(Noise(n)):
            grad = torch.autograd.grad(averaged.logits(leaf)[:, 0].sum(), leaf)[0]
        off[n] = (grad - 1.0).pow(2).mean().sqrt().item()
        spread = 5 / math.sqrt(2 * len(x))  # five standard errors of a standard deviation
        assert off[n] == pytest.approx(2 * scale / math.sqrt(n), rel=spread)
    assert off[64] == pytest.approx(off[1] / 8, rel=0.1)


def test_the_judge_draws_from_a_stream_of_its_own():
    noise = Noise(5, IDS)

    def verdict(x, noise):
        return judge(model(0.5), x, x, Y, None, norm=None, eps=0.0, noise=noise).room

    assert torch.equal(verdict(X, noise), verdict(X, noise))
    torch.testing.assert_close(verdict(X, noise)[3:7], judged_part(slice(3, 7)))
    with drawing(noise):
        seen = model(0.5).logits(X)
    rooms = seen.gather(1, Y[:, None])[:, 0] - seen.scatter(1, Y[:, None], -torch.inf).amax(1)
    assert (verdict(X, noise) - rooms).abs().min() > 1e-4


def judged_part(rows):
    noise = Noise(5, IDS[rows])
    return judge(model(0.5), X[rows], X[rows], Y[rows], None, norm=None, eps=0.0, noise=noise).room


def data():
    return Dataset(X, Y, classes=("a", "b", "c"), name="rows", bounds=(0.0, 1.0), rows=IDS)


def test_an_evaluation_does_not_depend_on_the_batch_size_or_on_torchs_generator():
    def verdicts(size, seed):
        torch.manual_seed(seed)
        found = evaluate({"m": model()}, data(), balls=[Linf(0.1)], attacks=["pgd"], batch_size=size, draw=False)
        return [found.record.models[0].verdicts, *(a.verdicts for a in found.record.models[0].threats[0].attacks)]

    assert verdicts(5, 0) == verdicts(12, 1)


def subject(defended):
    plan = make_plan({"m": defended}, data(), [Linf(0.1)], ["pgd"], target="none", seed=0, limits=Limits())
    return plan.subjects[0], [job.key for job in plan.jobs()]


def test_seeded_transforms_are_recognised_by_another_process(monkeypatch):
    first, keys = subject(model())
    assert first.lasting
    monkeypatch.setattr("saddlepoint.evaluation.plan._PROCESS", "another")
    assert subject(model())[1] == keys
    assert set(subject(model(0.31))[1]).isdisjoint(keys)


def test_other_randomness_is_recognised_by_this_process_only():
    class Always(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.dropout(x, training=True)

    assert not subject(Classifier(linear()).prepend(Always()))[0].lasting
    assert not subject(Classifier(linear()).prepend(lambda x: x + 0.3 * torch.rand_like(x)))[0].lasting
