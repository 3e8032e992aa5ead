"""What is picked: the fastest form that loses no verdict; and what a trial leaves as it was."""

import copy
import json
import math
import signal
import time

import pytest
import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.evaluation.precision import FLOAT32, Form, conclude, measure, offered, trial, untried
from saddlepoint.evaluation.precision.deadline import Late, within

BALLS = [sp.Linf(0.1), sp.Linf(0.2)]
LAST = Form(channels_last=True)
SHORT = Form(bfloat16=True)


class Conv(nn.Module):
    """A small net of images, with statistics and dropout, in training mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Conv2d(8, 8, 3), nn.ReLU()
        )
        self.head = nn.Linear(8 * 16, 4)
        self.net[0].weight.requires_grad_(False)
        self.net[1].training = False
        self.formats = set()

    def forward(self, x):
        self.formats.add(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
        return self.head(self.net(x).flatten(1))


@pytest.fixture
def images():
    x = torch.rand(24, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    model = sp.Classifier(Conv())
    return model, sp.data.Dataset(x, model.predict(x), classes=tuple("abcd"), name="toy")


def outcome(times, lost, why=("", "")):
    found = torch.tensor(times, dtype=torch.float64)[:, None].repeat(1, 3)
    told = torch.tensor(list(json.dumps(list(why)).encode()), dtype=torch.uint8)
    found = {"times": found, "lost": torch.tensor(lost), "why": told}
    return {**found, "count": torch.tensor(200), "seconds": torch.tensor(1.0)}


@pytest.mark.parametrize(
    ("times", "lost", "picked"),
    [
        ([1.0, 0.8, 0.5], [0, 0], SHORT),
        ([1.0, 0.8, 0.5], [0, 1], LAST),  # fast, but a verdict is lost
        ([1.0, 0.8, 0.5], [3, 1], FLOAT32),
        ([1.0, 0.91, 0.95], [0, 0], FLOAT32),  # less than a tenth
        ([1.0, 0.9, math.nan], [0, 0], LAST),  # exactly a tenth; the other could not be run
    ],
)
def test_the_fastest_that_loses_nothing_is_picked(times, lost, picked):
    form, said = conclude([LAST, SHORT], outcome(times, lost))
    assert (form, said.picked) == (picked, picked.name)
    assert [each.name for each in said.trials] == ["float32", "float32 channels_last", "bfloat16"]
    assert [each.seconds for each in said.trials] == [None if math.isnan(t) else t for t in times]


def test_one_slow_turn_of_three_does_not_matter():
    found = outcome([1.0, 0.5, 2.0], [0, 0])
    found["times"] = torch.tensor([[1.0, 1, 1], [0.5, 9, 0.5], [0.4, 2, 2]])
    assert conclude([LAST, SHORT], found)[0] == LAST


def test_a_form_without_gradients_loses_its_verdicts(images, monkeypatch):
    """Planted: logits that do not depend on the input, so that attacks in this form find nothing."""
    model, data = images

    class Masked(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x.detach())

    monkeypatch.setattr(
        Form, "of", lambda form, model, twin=None: model.computed_by(Masked(model.module), autocast=None)
    )
    found, ready = measure(model, data, [LAST], BALLS, seed=0)
    assert int(found["lost"][0]) > 0
    found["times"] = torch.tensor([[1.0] * 3, [0.01] * 3])  # however fast it is
    assert conclude([LAST], found)[0] == FLOAT32
    assert list(ready) == [LAST]


def test_a_form_that_gives_no_finite_output_loses_its_verdicts(images, monkeypatch):
    model, data = images

    class Overflowing(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) * math.inf

    planted = lambda form, model, twin=None: model.computed_by(Overflowing(model.module), autocast=None)  # noqa: E731
    monkeypatch.setattr(Form, "of", planted)
    found, _ = measure(model, data, [LAST], [sp.Linf(1e-4)], seed=0)  # float32 fools no row so near
    assert int(found["lost"][0]) == len(data)


def test_the_users_module_is_untouched_bit_for_bit(images):
    model, data = images
    module = model.module
    module.formats.clear()
    twin, drawn = copy.deepcopy(module), torch.random.get_rng_state()
    strides = [p.stride() for p in module.parameters()]
    flags = [m.training for m in module.modules()], [p.requires_grad for p in module.parameters()]
    where = [p.data_ptr() for p in module.parameters()]
    forms = [form for form in offered(data.x.shape, exact=False) if not form.compiled]
    found, ready = measure(model, data, forms, BALLS, seed=0)
    assert set(ready) == set(forms), bytes(found["why"].tolist())
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), twin.state_dict().values(), strict=True))
    assert [p.stride() for p in module.parameters()] == strides
    assert [p.data_ptr() for p in module.parameters()] == where
    assert ([m.training for m in module.modules()], [p.requires_grad for p in module.parameters()]) == flags
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert module.formats == {False}  # it never saw an input channels last; its copy did
    assert True in ready[LAST].module.inner.formats
    assert model.autocast is None
    assert not module.net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(p.grad is None for p in module.parameters())


def test_logits_and_gradients_of_bfloat16_are_float32(images):
    model, data = images
    fast = SHORT.of(model)
    x = data.x[:3].clone().requires_grad_(True)
    with fast.frozen():
        logits, exact = fast.logits(x), model.logits(x.detach())
        (grad,) = torch.autograd.grad(logits.sum(), x)
    assert logits.dtype == grad.dtype == torch.float32
    assert not torch.equal(logits, exact)
    torch.testing.assert_close(logits, exact, atol=0.1, rtol=0.1)


def test_channels_last_computes_the_same_and_counts_in_the_same_meter(images):
    model, data = images
    before = model.meter.forwards
    fast = LAST.of(model)
    with model.frozen(), torch.no_grad():
        torch.testing.assert_close(fast.logits(data.x), model.logits(data.x))
    assert model.meter.forwards == fast.meter.forwards == before + 2 * len(data)


def test_a_form_that_fails_says_why_and_is_not_picked(images):
    _, data = images

    class Viewing(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1)[:, :4]

    shy = sp.Classifier(Viewing())
    found, ready = measure(shy, data, [LAST, SHORT], BALLS, seed=0)
    form, said = conclude([LAST, SHORT], found)
    assert form in (FLOAT32, SHORT)
    assert list(ready) == [SHORT]
    assert said.trials[1].seconds is said.trials[1].lost is None
    assert "view" in said.trials[1].why


def test_a_module_that_cannot_be_copied_is_tried_in_bfloat16_alone(images):
    _, data = images

    class Single(Conv):
        def __deepcopy__(self, memo):
            raise NotImplementedError("there is only one")

    found, ready = measure(sp.Classifier(Single()), data, [LAST, SHORT], BALLS, seed=0)
    assert list(ready) == [SHORT]
    assert "there is only one" in bytes(found["why"].tolist()).decode()


def test_the_meter_does_not_move(images):
    model, data = images
    before = model.meter.forwards, model.meter.backwards
    measure(model, data, [LAST, SHORT], BALLS, seed=0)
    assert (model.meter.forwards, model.meter.backwards) == before


def test_forms_take_turns(images):
    """Whatever slows the machine down for a while meets all forms alike."""
    model, data = images
    ticks = iter(range(1000))
    found, _ = measure(model, data, [LAST, SHORT], BALLS, seed=0, clock=lambda: next(ticks) ** 2)
    assert found["times"].T.flatten().tolist() == [(2 * i + 1) ** 2 - (2 * i) ** 2 for i in range(9)]


def test_no_row_that_is_right_leaves_float32(images):
    model, data = images
    found, ready = measure(model, data[:0], [LAST], BALLS, seed=0)
    form, said = conclude([LAST], found)
    assert (form, said.rows, said.note, ready) == (FLOAT32, 0, "no row is right when clean", {})


def test_a_suite_is_offered_no_bfloat16():
    def names(shape, *, exact):
        return [form.name for form in offered(torch.Size(shape), exact=exact)]

    assert names((9, 3, 4, 4), exact=True) == ["float32 channels_last", "float32 channels_last compiled"]
    assert names((9, 12), exact=True) == ["float32 compiled"]
    assert names((9, 12), exact=False) == ["bfloat16", "float32 compiled", "bfloat16 compiled"]
    assert names((9, 3, 4, 4), exact=False) == [
        "float32 channels_last",
        "bfloat16",
        "bfloat16 channels_last",
        "float32 channels_last compiled",
        "bfloat16 channels_last compiled",
    ]


def test_what_is_not_tried_says_why(images):
    model, _ = images
    assert untried(model, BALLS, lasting=True) == ""
    assert "random" in untried(model, BALLS, lasting=False)
    assert "function" in untried(sp.Classifier(lambda x: x.flatten(1)[:, :3]), BALLS, lasting=False)
    assert "float32" in untried(sp.Classifier(Conv().double()), BALLS, lasting=True)
    assert "float32" in untried(sp.Classifier(Conv(), autocast=torch.bfloat16), BALLS, lasting=True)
    assert "radius" in untried(model, [sp.L2(math.inf), sp.L0(3)], lasting=True)


def test_time_is_limited_and_the_handler_is_set_back():
    before = signal.getsignal(signal.SIGALRM)
    start = time.monotonic()
    with pytest.raises(Late), within(0.05):
        time.sleep(5)
    assert time.monotonic() - start < 4
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with within(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with within(60), pytest.raises(RuntimeError, match="in use"), within(1):
        pass


def test_compilation_that_takes_too_long_is_given_up(images, monkeypatch):
    model, data = images
    monkeypatch.setattr(trial, "COMPILE_SECONDS", 0.05)
    monkeypatch.setattr(torch, "compile", lambda _: lambda x: time.sleep(5))
    form = Form(channels_last=True, compiled=True)
    found, ready = measure(model, data, [form], BALLS, seed=0)
    assert ready == {}
    assert conclude([form], found)[1].trials[1].why == "compilation took more than 0.05 s"


@pytest.mark.slow
def test_a_compiled_form_computes_the_same_and_gives_several_gradients(images):
    model, data = images
    form = Form(channels_last=True, compiled=True)
    try:
        with form.running():
            torch.compile(lambda x: x + 1)(torch.zeros(2))
    except Exception as error:  # noqa: BLE001 (whatever a compiler lacks)
        pytest.skip(f"torch.compile does not work here: {error}")
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    found, ready = measure(model, data, [form], BALLS, seed=0)
    assert form in ready, bytes(found["why"].tolist()).decode()
    assert int(found["lost"][0]) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    fast, weights = ready[form], torch.eye(4)[:3, None].expand(3, 5, 4)
    x = data.x[:5].clone().requires_grad_(True)
    with form.running(), fast.frozen(), model.frozen():
        torch.testing.assert_close(fast.logits(x), model.logits(x), atol=1e-5, rtol=1e-4)
        ours, theirs = (each.gradients(each.logits(x), x, weights) for each in (fast, model))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)
