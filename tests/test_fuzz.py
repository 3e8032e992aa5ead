"""Whatever is given to an attack, an evaluation or the command line: an answer, or one of our own errors.

Every draw starts from arguments that are sound, and most spoil some of them, so that errors are met at every depth.
"""

import contextlib
import io
import json
import math
import os
import sys
import time
import warnings

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

import saddlepoint as sp
from saddlepoint.api import prepare
from saddlepoint.cli.main import main
from saddlepoint.errors import SaddlepointError, SaddlepointWarning, shown
from saddlepoint.testing import ConstantModel, LinearModel, MaskedModel, NaNModel, RandomModel

pytestmark = pytest.mark.usefixtures("unchecked")  # as for a user: types are not checked at run time

SECONDS = float(os.environ.get("SADDLEPOINT_FUZZ_SECONDS", "300"))
FEATURES, CLASSES = (1, 2, 3), 3
BALLS, KEEPS = (sp.Linf, sp.L2, sp.L1, sp.L0), list(sp.Keep)
ATTACKS = [sp.attacks.FGSM, sp.attacks.BIM, sp.attacks.MIFGSM, sp.attacks.PGD, sp.attacks.ILLC]
NET = LinearModel(torch.eye(CLASSES, 6))
NAMES = [attack.name for attack in ATTACKS]
DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.bool, torch.complex64,
]  # fmt: skip

numbers = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([0, -0.0, 1, 8, 1e-40, 1e30, 2**31, 2**63, -(2**63) - 1, 10**400, math.inf, math.nan]),
    st.just(10).map(lambda base: base**5000),  # Python does not write it out
)
junk = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.complex_numbers(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.lists(numbers, max_size=3),
    st.sampled_from(
        [object(), int, sp.Linf, torch.float32, torch.device("cpu"), {}, {"name": "pgd"}, set(), np.float32(0.1)]
    ),
    st.sampled_from(
        [np.zeros(3), np.zeros((2, *FEATURES), np.float32), np.array("a"), torch.tensor(0.1), lambda *_: None]
    ),
)


@st.composite
def tensors(draw, shapes=None):
    """Of any type, shape, content and layout."""
    shape = draw(shapes if shapes is not None else st.lists(st.integers(0, 4), max_size=5).map(tuple))
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9))), dtype=torch.float64)
    tensor = tensor * draw(st.sampled_from([1, 1, 1, -1, 2, 255, 1e9, 1e300])) + draw(
        st.sampled_from([0, 0, 0, -1, 1e-7])
    )
    if tensor.numel():
        tensor.view(-1)[draw(st.integers(0, tensor.numel() - 1))] = draw(
            st.sampled_from([0.0, 0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 2.0**62])
        )
    tensor = tensor.to(draw(st.sampled_from([torch.float32, torch.float32, torch.int64, *DTYPES])))
    return draw(layouts)(tensor)


def as_leaf(tensor):
    return tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor


layouts = st.sampled_from(
    [
        lambda t: t,
        lambda t: t,
        as_leaf,
        lambda t: t.to_sparse() if t.dim() else t,
        lambda t: t.to("meta"),
        lambda t: t.T if t.dim() == 2 else t.flip(0) if t.dim() else t,
        lambda t: t[:1].expand_as(t) if t.dim() and len(t) else t,
    ]
)


@st.composite
def models(draw):
    """A classifier of any of our kinds, in any mode."""
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.float64]))
    weight = torch.randn(CLASSES, 6, generator=torch.Generator().manual_seed(draw(st.integers(0, 9))), dtype=dtype)
    net = LinearModel(weight)
    module = draw(
        st.sampled_from(
            [
                net,
                net,
                NaNModel(net, lambda x: x.flatten(1)[:, 0] > 0.5),
                RandomModel(net),
                MaskedModel(net),
                ConstantModel(torch.tensor([0.0, math.inf, 1.0])),
                nn.Sequential(net, nn.Softmax(1)),
                nn.Sequential(net, nn.LogSoftmax(1)),
                nn.Sequential(net, nn.Dropout(0.5), nn.BatchNorm1d(CLASSES, dtype=dtype)),
                lambda x: x.flatten(1),
                lambda x: x.flatten(1)[:, :1],
                lambda x: x.flatten(1).detach(),
                lambda x: x.mul_(2).flatten(1),
                nn.Conv2d(3, 1, 1),
            ]
        )
    )
    bounds = draw(st.sampled_from([(0, 1), (0, 1), (0, 1), (-1, 2), (0, 0.5)]))
    scale = draw(st.sampled_from([{}, {}, {"mean": 0.5, "std": [0.2]}, {"mean": [0.1, 0.2, 0.3]}]))
    return sp.Classifier(module, bounds=bounds, **scale)


sound = st.tuples(
    st.integers(1, 8).flatmap(
        lambda n: st.integers(0, 9).map(
            lambda seed: torch.rand(n, *FEATURES, generator=torch.Generator().manual_seed(seed))
        )
    ),
    st.lists(st.integers(0, CLASSES - 1), min_size=8, max_size=8),
).map(lambda pair: (pair[0], torch.tensor(pair[1])[: len(pair[0])]))
labels = st.one_of(
    tensors(st.integers(0, 8).map(lambda n: (n,))),
    st.lists(st.one_of(st.integers(-1, 4), st.sampled_from([2**62, -(2**63)])), max_size=8).map(
        lambda values: torch.tensor(values, dtype=torch.int64)
    ),
    junk,
)


@st.composite
def balls(draw):
    """Of any norm and radius; the error of a radius is one of those looked for."""
    kind = draw(st.sampled_from(BALLS))
    eps = draw(st.one_of(st.sampled_from([0.0, 0.1, 0.3, 1.0]), st.sampled_from([0.1, 1]), numbers, tensors(), junk))
    return lambda: kind(eps)


def spoiled(draw, given, others):
    """These arguments, or the same with some replaced."""
    for name in draw(st.lists(st.sampled_from(sorted(others)), max_size=2, unique=True)):
        given[name] = draw(others[name])
    return given


@st.composite
def attacked(draw):
    """A call of an attack on tensors."""
    x, y = draw(sound)
    n = len(x)
    given = {"x": x, "y": y, "target": None, "noise": sp.Noise(0), "limits": sp.Limits}
    budget = st.dictionaries(
        st.sampled_from(["forwards", "backwards", "seconds", "shrink_at", "check_every"]),
        st.one_of(st.sampled_from([0, 1, 2, 0.5, torch.arange(n) * 1.0]), tensors(), junk),
    )
    others = {
        "x": st.one_of(tensors(), tensors(st.just((n, *FEATURES))), junk),
        "y": st.one_of(st.none(), labels),
        "target": labels,
        "noise": st.one_of(tensors().map(sp.Noise(1).at), st.just(sp.Noise(0, torch.arange(n) * 7)), junk),
        "limits": st.one_of(
            budget.map(lambda settings: lambda: sp.Limits(**settings)), junk.map(lambda it: lambda: it)
        ),
        "ball": st.one_of(balls(), balls(), junk.map(lambda it: lambda: it)),
    }
    kind = draw(st.sampled_from(ATTACKS))
    given |= {
        "ball": draw(
            st.sampled_from([lambda: sp.Linf(0.1), lambda: sp.L2(0.3), lambda: sp.L0(2), lambda: sp.L1(torch.ones(n))])
        )
    }
    given |= {"keep": draw(st.sampled_from(KEEPS)), "model": draw(models())}
    if kind is not sp.attacks.FGSM:
        given |= {"steps": draw(st.integers(0, 3)), "step_size": draw(st.sampled_from([None, 0.1]))}
        others |= {"steps": st.one_of(st.none(), junk.filter(short)), "step_size": junk}
    others |= {
        "keep": junk,
        "loss": junk.filter(lambda value: not callable(value)),
        "model": st.one_of(junk, st.just(NET)),
    }
    given = spoiled(draw, given, others)
    settings = {name: given.pop(name) for name in ("steps", "step_size", "keep", "loss") if name in given}
    model, limits, ball = given.pop("model"), given.pop("limits"), given.pop("ball")
    x, y = given.pop("x"), given.pop("y")

    def run():
        hypothesis.note(f"{kind.name} {ball} {shown(settings)} {shown(model)} {shown(x)} {shown(y)} {shown(given)}")
        attack = kind(ball=ball(), **settings)
        found = attack(model, x, y, limits=limits(), **given)
        assert found.x.shape == x.shape
        assert not (found.success & found.undefined).any()

    return run


def short(value):
    """No number of steps that is allowed and takes an age."""
    return not isinstance(value, int) or value < 4


@st.composite
def evaluated(draw):
    """A call of ``evaluate``, or of ``prepare`` alone."""
    x, y = draw(sound)
    names = ("a", "b", "c")
    datasets = [
        lambda: sp.Dataset(x, y, names, "toy"),
        lambda: [(x, y), (x, y)],
        lambda: (x.flatten(1), y),
        lambda: (x.expand(-1, 3, -1, -1), y),
    ]
    given = {"data": lambda: (x, y), "ball": lambda: sp.Linf(0.1), "attacks": ["fgsm"]}
    members = st.one_of(
        st.sampled_from([*NAMES, "pgdd", "", {"name": "pgd", "steps": 2}]), junk, st.sampled_from(ATTACKS)
    )
    others = {
        "data": st.one_of(
            st.sampled_from(datasets),
            st.tuples(st.one_of(tensors(), st.just(x), junk), st.one_of(labels, st.just(y))).map(lambda it: lambda: it),
            st.tuples(tensors(), labels, junk, junk).map(lambda it: lambda: sp.Dataset(*it)),
            st.lists(st.tuples(tensors(), labels), max_size=2).map(lambda it: lambda: it),
            junk.map(lambda it: lambda: it),
        ),
        "ball": st.one_of(
            balls(),
            st.lists(balls(), max_size=2).map(lambda it: lambda: [b() for b in it]),
            junk.map(lambda it: lambda: it),
        ),
        "attacks": st.one_of(st.lists(members, max_size=3), members),
        "target": st.one_of(st.sampled_from(["none", "random", "least-likely", "0", "2", "3", "-1", "9" * 5000]), junk),
        "seed": st.one_of(st.integers(), junk),
        "batch_size": st.one_of(st.integers(0, 9), junk),
        "limits": st.one_of(st.just(sp.Limits(forwards=2)), st.just(sp.Limits(forwards=torch.ones(8))), junk),
        "progress": junk,
        "model": st.one_of(
            st.dictionaries(st.one_of(st.text(max_size=3), junk.filter(hashable)), models(), max_size=2),
            junk,
            st.just(NET),
        ),
    }
    given = spoiled(draw, given, others)
    data, ball, model = given.pop("data"), given.pop("ball"), given.pop("model") if "model" in given else draw(models())
    whole = draw(st.booleans())

    def run():
        hypothesis.note(f"{shown(model)} {data} {ball} {shown(given, 300)} whole={whole}")
        if whole:
            found = sp.evaluate(model, data(), ball=ball(), **given)
            json.loads(found.record.to_json(), parse_constant=pytest.fail)
            return
        given.pop("progress", None)
        list(prepare(model, data(), ball=ball(), **given).jobs())

    return run


def hashable(value):
    return type(value).__hash__ is not None


words = st.text(st.characters(codec="utf-8", exclude_characters="/~"), max_size=6)
odd = st.one_of(
    words, st.sampled_from(["", "\0", "\udce9", "é", "a" * 5000, "9" * 5000, "-1", "0", "1e999", "nan", "[b]", "."])
)


def prefixed(*names):
    return st.tuples(st.sampled_from([f"{name}:" for name in names] + ["", ":"]), odd).map("".join)


@st.composite
def commands(draw):
    """Words of the command line."""
    model = st.one_of(
        st.sampled_from(["zoo:mnist-standard", "py:saddlepoint.models:SmallCNN"]), prefixed("zoo", "timm")
    )
    data = st.one_of(st.just("mnist10k:test"), prefixed("mnist10k", "npz", "folder", "cifar10", "cifar10:test", "hf"))
    options = {
        "--eps": st.one_of(st.sampled_from(["0.1", "8/255", "1/0", "0.1,0.2", "8", ","]), odd),
        "--attacks": st.one_of(st.sampled_from(["fgsm", "fgsm,bim", "pgdd", ","]), odd),
        "--norm": st.one_of(st.sampled_from(["linf", "l2", "l1", "l3"]), odd),
        "--rows": st.one_of(st.sampled_from(["1", "3", "0", "2001"]), odd.filter(few)),
        "--target": st.one_of(st.sampled_from(["none", "random", "9", "10"]), odd),
        "--batch-size": st.one_of(st.sampled_from(["auto", "2", "0"]), odd),
        "--seed": st.one_of(st.sampled_from(["1", "-1"]), odd),
        "--shard": st.one_of(st.sampled_from(["1/1", "1/2", "3/2", "0/0"]), odd),
        "--device": st.one_of(st.sampled_from(["cpu", "cuda", "meta"]), odd),
        "--weights": odd,
        "--out": odd,
        "--data-dir": odd,
        "--config": odd,
        "--fail-under": st.one_of(st.sampled_from(["0", "50", "101"]), odd),
        "--threads": st.sampled_from(["1", "0", "x"]),
    }
    command = draw(st.sampled_from(["evaluate", "evaluate", "evaluate", "report", "compare", "list"]))
    if command != "evaluate":
        return [command, *draw(st.lists(odd, max_size=2))]
    given = {"--eps": "0.1", "--attacks": "fgsm", "--rows": "2"}
    given |= draw(st.fixed_dictionaries({}, optional=options))
    if draw(st.booleans()):
        given = {name: given[name] for name in draw(st.lists(st.sampled_from(list(given)), unique=True))} | {
            "--rows": "1"
        }
    flat = [word for pair in given.items() for word in pair]
    return [command, *draw(st.lists(model, max_size=2)), draw(data), *flat, *draw(st.sampled_from([[], ["--dry-run"]]))]


def few(text):
    return not (text.strip().isdecimal() and len(text) < 9 and int(text) > 3)


def commanded(arguments):
    """Run the command line in this process: it ends with a code of its own, and errors are one line."""
    told, errors = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["saddlepoint", *arguments]
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    assert code in (None, 0, 1, 2)
    assert "Traceback" not in errors.getvalue()


def call(run):
    run()


SUBJECTS = {"attack": (attacked(), call), "evaluate": (evaluated(), call), "command": (commands(), commanded)}


def fuzz(subject, examples, seed):
    """Draw that many examples; the smallest one that fails with an error not ours is shown."""
    strategy, execute = SUBJECTS[subject]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(strategy)
    def never_another_error(given):
        with warnings.catch_warnings(), contextlib.suppress(SaddlepointError):
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", SaddlepointWarning)
            execute(given)

    never_another_error()


@pytest.mark.parametrize(("subject", "examples"), [("attack", 50), ("evaluate", 40), ("command", 8)])
def test_no_error_but_ours(subject, examples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fuzz(subject, examples, seed=0)


@pytest.mark.slow
def test_no_error_but_ours_for_minutes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    end, rounds = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        for subject, examples in {"attack": 150, "evaluate": 150, "command": 20}.items():
            fuzz(subject, examples, seed=rounds)
        rounds += 1
    print(f"{rounds} rounds of 320 examples")
    assert rounds
