"""Fitting: the batched loop is the published one, rates mean what they say, and a kill loses nothing."""

import math
import os
import signal
import subprocess
import sys

import pytest
import torch
import universal_script
from torch import nn

from saddlepoint import L1, L2, Bounds, Classifier, Linf, Noise
from saddlepoint.attacks import DDN, PGD, DeepFool, UniversalPerturbation
from saddlepoint.attacks.universal import Ascent, Minibatch, Sequential, checkpoint
from saddlepoint.attacks.universal.task import Task
from saddlepoint.errors import ArgumentTypeError, InputError, RadiusError, RecordError, SettingError

RULES = [Sequential(), Minibatch(size=16), Ascent(size=16)]
BALLS = [Linf(0.08), L2(0.6)]


@pytest.fixture
def task():
    return universal_script.task()


def one_by_one(model, x, ball, *, seed, epochs, rate, target=None):
    """Algorithm 1 as it stands: every row alone, with model calls of its own. Returns v, and the rate of each epoch."""
    y, v, rates, best = model.predict(x), torch.zeros_like(x[:1]), [], torch.zeros_like(x[:1])
    attack = DeepFool(steps=8) if target is None else DDN(steps=20)
    rows = torch.arange(len(x))
    if target is not None:
        rows = rows[y != target]
    for epoch in range(epochs):
        draws = Noise(seed).child("order").at(rows).uniform(torch.empty(len(rows), 1), epoch)[:, 0]
        for i in rows[draws.argsort()].tolist():
            point = (x[i : i + 1] + v).clamp(0, 1)
            said = model.predict(point)
            if said == target or (target is None and said != y[i]):
                continue
            goal = None if target is None else torch.tensor([target])
            found = attack(model, point, y[i : i + 1], target=goal, noise=Noise(seed, torch.tensor([i])))
            if found.success:
                v = v + (found.x - point)
                v = v.clamp(-ball.eps, ball.eps) if isinstance(ball, Linf) else ball.project(v, 0 * v, Bounds(-1, 1))
        said = model.predict((x[rows] + v).clamp(0, 1))
        rates.append((said != y[rows] if target is None else said == target).double().mean().item())
        best = v if rates[-1] == max(rates) and rates.count(rates[-1]) == 1 else best
        if rates[-1] >= rate:
            break
    return best, rates


@pytest.mark.parametrize(
    ("ball", "target", "ahead"),
    [(BALLS[0], None, 1), (BALLS[0], None, 5), (BALLS[0], None, 64), (BALLS[1], None, 64), (BALLS[0], 1, 64)],
)
def test_looking_ahead_equals_the_loop_over_single_rows_bit_for_bit(task, ball, target, ahead):
    model, x = task  # a convolution in float32: its kernels round differently for other batch sizes
    x = x[: 40 if target is None else 20]
    rule = Sequential(ahead=ahead)
    found = UniversalPerturbation(ball=ball, rule=rule, epochs=2, rate=1.0, target=target).fit(model, x, noise=Noise(3))
    v, rates = one_by_one(model, x, ball, seed=3, epochs=2, rate=1.0, target=target)
    assert len(rates) == found.fitted.epochs
    assert found.fitted.rate == max(rates) > 0
    assert torch.equal(found.v, v)


def test_rows_that_are_fooled_are_skipped_together(task):
    model, x = task
    found = UniversalPerturbation(ball=Linf(0.3), epochs=1).fit(model, x)
    fooled = model.predict((x + found.v).clamp(0, 1)) != model.predict(x)
    work, calls = Task.of(model, x[fooled].repeat(3, 1, 1, 1)[:40], None, Linf(0.3), Noise(), ""), []
    model.module.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    assert Sequential(ahead=16).step(work, found.v, torch.arange(40), 0) == (found.v, 40)
    assert calls == [4, 8, 16, 12]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("ball", BALLS, ids=["linf", "l2"])
def test_every_rule_beats_noise_of_the_same_size_on_rows_that_it_has_not_seen(task, rule, ball):
    model, x = task
    fit, held_out = x[:40], x[40:]
    found = UniversalPerturbation(ball=ball, rule=rule, epochs=4).fit(model, fit, held_out=held_out)
    random = found.v.clone().copy_(ball.eps * ball.steepest_step(Noise(1).normal(found.v).sign()))
    noise = (model.predict((held_out + random).clamp(0, 1)) != model.predict(held_out)).double().mean().item()
    assert found.fitted.held_out_rate >= max(2 * noise, 0.2)
    assert found.fitted.held_out_rate == found.fooling_rate(model, held_out)
    assert found.fitted.rate == found.fooling_rate(model, fit)
    assert ball.distance(found.v, 0 * found.v) <= ball.eps * (1 + 1e-6)
    assert (found.fitted.rows, found.fitted.held_out_rows) == (40, 20)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_target_is_what_the_rows_are_called(task, rule):
    model, x = task
    target = int(model.predict(x).bincount(minlength=4).argsort()[-2])  # the second most common
    found = UniversalPerturbation(ball=Linf(0.25), rule=rule, target=target).fit(model, x)
    others = model.predict(x) != target
    assert found.fitted.rows == others.sum() < len(x)
    said = model.predict((x[others] + found.v).clamp(0, 1)) == target
    assert found.fitted.rate == said.double().mean() >= 0.5


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_it_stops_at_the_rate(task, rule):
    model, x = task
    long = UniversalPerturbation(ball=Linf(0.08), rule=rule, rate=1.0, epochs=2).fit(model, x)
    short = UniversalPerturbation(ball=Linf(0.08), rule=rule, rate=0.05, epochs=2).fit(model, x)
    assert (short.fitted.epochs, long.fitted.epochs) == (1, 2)
    assert 0.05 <= short.fitted.rate <= long.fitted.rate < 1


def test_the_best_epoch_is_kept(task):
    model, x = task
    rates = [
        UniversalPerturbation(ball=Linf(0.08), rule=Ascent(size=16, step_size=0.16), rate=1.0, epochs=epochs)
        .fit(model, x)
        .fitted.rate
        for epochs in range(1, 7)
    ]
    assert rates == sorted(rates)


def test_fooled_means_another_answer_than_the_models_own(task):
    """A model that is wrong everywhere is not fooled by v = 0."""
    model, x = task
    found = UniversalPerturbation(ball=Linf(0), rate=0.01).fit(model, x, held_out=x)
    assert not found.v.any()
    assert (found.fitted.rate, found.fitted.held_out_rate, found.fitted.epochs) == (0, 0, 0)


class Constant(nn.Module):
    def forward(self, x):
        return torch.tensor([1.0, 0.0, 0.0]).expand(len(x), 3)


class Failing(nn.Module):
    """A linear net whose output is not finite where the first feature is 0."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3)

    def forward(self, x):
        return self.inner(x) / (x[:, :1] > 0)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_constant_model_is_never_fooled(rule):
    found = UniversalPerturbation(ball=Linf(0.1), rule=rule, epochs=2).fit(Classifier(Constant()), torch.rand(5, 6))
    assert (found.fitted.rate, found.fitted.epochs) == (0, 2)
    assert not found.v.any()


@pytest.mark.parametrize("rule", [Sequential(), Ascent(size=8)], ids=lambda rule: rule.name)
def test_rows_without_a_finite_output_are_passed_over(rule):
    torch.manual_seed(0)
    x = torch.rand(16, 6)
    x[:3, 0] = 0
    model = Classifier(Failing())
    found = UniversalPerturbation(ball=L2(0.5), rule=rule, epochs=3, rate=1.0).fit(model, x)
    assert found.v.isfinite().all()
    assert 0 < found.fitted.rate < 1


def test_rows_with_the_same_ids_are_seen_in_the_same_order(task):
    model, x = task
    rows, turned = torch.arange(100, 160), torch.randperm(60)
    attack = UniversalPerturbation(ball=Linf(0.08), epochs=1)
    first = attack.fit(model, x, noise=Noise(0, rows))
    second = attack.fit(model, x[turned], noise=Noise(0, rows[turned]))
    assert torch.equal(first.v, second.v)
    assert not torch.equal(first.v, attack.fit(model, x, noise=Noise(1, rows)).v)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_passes_are_those_of_the_meter_and_nothing_of_the_caller_is_touched(task, rule):
    model, x = task
    model.module.train()
    kept, state = x.clone(), torch.get_rng_state()
    found = UniversalPerturbation(ball=Linf(0.08), rule=rule, epochs=2).fit(model, x, held_out=x[:7])
    assert (found.fitted.forwards, found.fitted.backwards) == (model.meter.forwards, model.meter.backwards)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.module.parameters())


def test_the_bounds_may_be_others(task):
    model, x = task
    wide = Classifier(nn.Sequential(Scale(), model.module), bounds=(-2, 2))
    one = UniversalPerturbation(ball=Linf(0.0625), rule=Ascent(size=16), epochs=2).fit(model, x)
    four = UniversalPerturbation(ball=Linf(0.25), rule=Ascent(size=16), epochs=2).fit(wide, 4 * x - 2)
    assert torch.allclose(four.v, 4 * one.v, atol=1e-6)


class Scale(nn.Module):
    def forward(self, x):
        return (x + 2) / 4


@pytest.mark.parametrize("rule", universal_script.RULE)
def test_killed_and_resumed_it_ends_with_the_same_bytes(tmp_path, monkeypatch, rule):
    monkeypatch.setattr(checkpoint, "_EVERY", checkpoint._EVERY)  # the script changes it
    whole, part, kept = (tmp_path / name for name in ("whole.safetensors", "part.safetensors", "kept"))
    universal_script.main(whole, rule)
    run = [sys.executable, "-W", "error", universal_script.__file__, part, rule, kept]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            seen = int(process.stdout.readline())
            process.stdin.write("\n")
            process.stdin.flush()
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert kept.exists()
    assert not part.exists()
    again = subprocess.run(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    assert int(again.stdout.split()[0]) > seen, "it went on where it was"
    assert part.read_bytes() == whole.read_bytes()
    assert not kept.exists()


class Killed(BaseException):
    """Stands for the end of the process."""


def stopped(attack, model, x, path):
    def tell(done, total, what):
        raise Killed

    with pytest.raises(Killed):
        attack.fit(model, x, checkpoint=path, progress=tell)


def test_a_checkpoint_of_another_fit_or_a_damaged_one_is_refused(task, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    model, x = task
    path = tmp_path / "v.checkpoint"
    attack = UniversalPerturbation(ball=Linf(0.08), epochs=1)
    stopped(attack, model, x, path)
    for other, rows, what in (
        (UniversalPerturbation(ball=Linf(0.07), epochs=1), x, "settings"),
        (UniversalPerturbation(ball=Linf(0.08), epochs=1, rule=Sequential(attack=DeepFool(steps=9))), x, "settings"),
        (attack, x[1:], "rows"),
    ):
        with pytest.raises(RecordError, match=f"'v.checkpoint' is of another fit: its {what} differ"):
            other.fit(model, rows, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RecordError, match="is no whole checkpoint"):
        attack.fit(model, x, checkpoint=path)
    with pytest.raises(RecordError, match="cannot be written"):
        attack.fit(model, x, checkpoint=tmp_path / "none" / "v.checkpoint")


def test_a_checkpoint_is_written_every_half_minute_only(task, tmp_path):
    stopped(UniversalPerturbation(ball=Linf(0.08)), *task, tmp_path / "v.checkpoint")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: UniversalPerturbation(ball=L1(1)), ArgumentTypeError, "must be Linf or L2"),
        (lambda: UniversalPerturbation(ball=Linf(math.inf)), RadiusError, "one finite eps"),
        (lambda: UniversalPerturbation(ball=Linf(0.1), rate=0), SettingError, r"rate=0 must lie in \(0, 1\]"),
        (lambda: UniversalPerturbation(ball=Linf(0.1), rate=80), SettingError, "rate=80"),
        (lambda: UniversalPerturbation(ball=Linf(0.1), epochs=0), SettingError, "epochs=0 must be an integer >= 1"),
        (lambda: UniversalPerturbation(ball=Linf(0.1), target=True), SettingError, "target=True must be one class"),
        (lambda: UniversalPerturbation(ball=Linf(0.1), rule="ascent"), ArgumentTypeError, "must be a rule"),
        (lambda: UniversalPerturbation(ball=Linf(0.1), rule=Ascent), ArgumentTypeError, "must be a rule"),
        (lambda: Sequential(ahead=0), SettingError, "ahead=0"),
        (lambda: Minibatch(size=1.5), SettingError, "size=1.5"),
        (lambda: Ascent(size=True), SettingError, "size=True"),
        (lambda: Ascent(step_size=0.0), SettingError, "step_size=0.0 must be a finite number > 0"),
        (lambda: Ascent(clip=math.nan), SettingError, "clip=nan"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_inputs_that_cannot_be_fitted_to_are_refused(task):
    model, x = task
    attack = UniversalPerturbation(ball=Linf(0.1))
    with pytest.raises(InputError, match="there is no row to fit to; give at least one"):
        attack.fit(model, x[:0])
    with pytest.raises(InputError, match="there is no row that is held out"):
        attack.fit(model, x, held_out=x[:0])
    with pytest.raises(InputError, match="held-out rows have shape"):
        attack.fit(model, x, held_out=x[:, :, :4])
    with pytest.raises(InputError, match="target=9 is no class of the model, which has classes 0 to 3"):
        UniversalPerturbation(ball=Linf(0.1), target=9).fit(model, x)
    with pytest.raises(RadiusError, match="did you mean"):
        UniversalPerturbation(ball=Linf(10)).fit(model, x)


def test_another_attack_inside_may_be_of_any_kind(task):
    model, x = task
    inner = PGD(ball=Linf(0.05), steps=5)
    found = UniversalPerturbation(ball=Linf(0.08), rule=Sequential(attack=inner), epochs=1).fit(model, x)
    assert found.fitted.rate > 0.2
