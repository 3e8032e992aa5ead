"""A fitted generator as an attack: the contract, no pass but the one that verifies, files."""

import json
import struct
from dataclasses import replace

import pytest
import torch

from saddlepoint import Classifier, Dataset, Linf, evaluate
from saddlepoint.attacks import AdvGAN, AdvGANAttack
from saddlepoint.errors import InputError, RecordError, SettingError, SpecError
from saddlepoint.evaluation.suites import build, described, needs_eps, recognisable, settings
from saddlepoint.testing import contract
from saddlepoint.testing._subject import CLASSES, MEAN, STD, network
from saddlepoint.testing.models import ConstantModel

torch.set_num_threads(1)


def fitted(target="every", **changes):
    """To the net of the contract, on rows like its."""
    model = Classifier(network(12, torch.float32), mean=MEAN, std=STD)
    x = torch.rand(256, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    given = {"ball": Linf(0.1), "target": target, "epochs": 12, "batch_size": 32, "width": 4, "blocks": 1, **changes}
    return AdvGAN(**given).fit(model, x)


EVERY = fitted()
test_contract = contract(
    EVERY,
    ranks=(4,),
    skip={
        "larger_eps": "the generator knows nothing of a linear model that it was not fitted to",
    },
)
test_contract_untargeted = contract(fitted("none"), targeted=False, ranks=(4,), skip={"larger_eps": "as above"})


@pytest.fixture
def model():
    return Classifier(network(12, torch.float32), mean=MEAN, std=STD)


@pytest.fixture
def x():
    return torch.rand(40, 3, 2, 2, generator=torch.Generator().manual_seed(1))


def test_one_pass_verifies_and_nothing_else_reaches_the_model(model, x):
    y = model.predict(x)
    before = model.meter.forwards
    result = EVERY(model, x, y, target=(y + 2) % CLASSES)
    assert (model.meter.forwards - before, model.meter.backwards) == (len(x), 0)
    assert (result.forwards == 0).all()
    assert result.success.float().mean() > 0.05
    assert (result.distance <= 0.1 + 1e-7).all()


def test_without_a_target_it_steers_to_the_next_class(model, x):
    y = model.predict(x)
    assert torch.equal(EVERY(model, x, y).x, EVERY(model, x, y, target=(y + 1) % CLASSES).x)
    assert not torch.equal(EVERY(model, x, y).x, EVERY(model, x, y, target=(y + 2) % CLASSES).x)


@pytest.mark.usefixtures("model")
def test_a_target_that_it_was_not_fitted_to(model, x):
    y = model.predict(x)
    with pytest.raises(SettingError, match="fitted without; leave it out"):
        replace(EVERY, target="none")(model, x, y, target=y)
    one = fitted(target=2, epochs=1)
    assert one.generator.classes == 1
    assert torch.equal(one(model, x, y).x, one(model, x, y, target=torch.full_like(y, 2)).x)
    with pytest.raises(SettingError, match="other classes than 2"):
        one(model, x, y, target=torch.full_like(y, 1))


def test_inputs_and_classes_that_it_does_not_know(model, x):
    with pytest.raises(InputError, match=r"fitted to rows of \(3, 2, 2\)"):
        EVERY(model, x[:, :2], torch.zeros(40, dtype=torch.int64))
    with pytest.raises(InputError, match="has classes 0 to 3"):
        EVERY(model, x, torch.full((40,), 4))


def test_constant_model_is_never_fooled(x):
    result = EVERY(Classifier(ConstantModel(torch.tensor([1.0, 0.0, 0.0, 0.0]))), x, torch.zeros(40, dtype=torch.int64))
    assert not result.success.any()
    assert result.x.isfinite().all()


def test_file_holds_all_and_equal_attacks_give_equal_bytes(tmp_path, model, x):
    EVERY.save(tmp_path / "a.safetensors")
    loaded = AdvGANAttack.load(tmp_path / "a.safetensors")
    loaded.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert loaded == EVERY
    assert tuple(loaded.history) == tuple(EVERY.history)
    y = model.predict(x)
    assert torch.equal(loaded(model, x, y).x, EVERY(model, x, y).x)
    assert recognisable(loaded)
    assert described(loaded) == described(EVERY)
    assert described(loaded) != described(fitted(seed=1, epochs=1))
    json.dumps(described(loaded))
    assert not {"generator", "history"} & settings(loaded).keys()


def _changed(path, **changes):
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    told = {**json.loads(header["__metadata__"]["run"]), **changes}
    header["__metadata__"]["run"] = json.dumps(told)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


@pytest.mark.parametrize(
    "changes",
    [{"kind": "universal"}, {"width": 5}, {"width": -1}, {"shape": [3]}, {"shape": "x"}, {"eps": -1}, {"history": 3},
     {"target": 2}, {"sha256": "0"}],
)  # fmt: skip
def test_file_that_says_something_else_is_refused(tmp_path, changes):
    path = tmp_path / "a.safetensors"
    EVERY.save(path)
    _changed(path, **changes)
    with pytest.raises(RecordError, match="'a.safetensors' is no"):
        AdvGANAttack.load(path)


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04pickle"])
def test_file_that_is_none(tmp_path, content):
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match="'a.safetensors' is no whole file of a generator"):
        AdvGANAttack.load(path)


def test_named_with_its_file(tmp_path):
    path = tmp_path / "a.safetensors"
    EVERY.save(path)
    assert build(f"advgan:{path}", Linf(0.1)) == EVERY
    assert needs_eps(f"advgan:{path}")
    with pytest.raises(SettingError, match=r"was fitted for Linf\(eps=0.1\), not for Linf\(eps=0.2\)"):
        build(f"advgan:{path}", Linf(0.2))
    with pytest.raises(SpecError, match="has no setting 'steps'"):
        build({"name": f"advgan:{path}", "steps": 3}, Linf(0.1))


def test_evaluation_resumes(tmp_path, model, x):
    data = Dataset(x=x, y=model.predict(x), classes=("a", "b", "c", "d"), name="rows")
    first = evaluate(model, data, attacks=[EVERY], ball=Linf(0.1), out=tmp_path)
    passes = model.meter.forwards
    EVERY.save(tmp_path / "a.safetensors")
    again = AdvGANAttack.load(tmp_path / "a.safetensors")
    second = evaluate(model, data, attacks=[again], ball=Linf(0.1), out=tmp_path)
    assert second.record.models[0].threats == first.record.models[0].threats
    assert model.meter.forwards - passes < len(x) + 100  # looks of the plan, no attack again
