import json
import sys

import pytest
import torch
from torch import nn

from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError, SpecError, WeightsError
from saddlepoint.models import SmallCNN, file_sha256, load, load_model, save_weights, zoo_card, zoo_names

NETS = """
import torch
from torch import nn
import saddlepoint.classifier

def net():
    return nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 3))

def classifier():
    return saddlepoint.classifier.Classifier(net(), bounds=(-1.0, 1.0))

def function():
    return saddlepoint.classifier.Classifier(lambda x: x.flatten(1))

def plain():
    return lambda x: x.flatten(1)

def number():
    return 3

def failing():
    raise RuntimeError("no such layer")

def lazy():
    import beside
    return beside.made()

size = 4
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with modules of the user's own, which are forgotten afterwards."""
    (tmp_path / "ownnets.py").write_text(NETS)
    (tmp_path / "beside.py").write_text("from torch import nn\n\ndef made():\n    return nn.Linear(4, 3)\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needy.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo with one model, "tiny", in a folder of its own."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    save_weights(SmallCNN(2, 4, 3), folder / "tiny.safetensors")
    card = {
        "architecture": {"name": "SmallCNN", "channels": 2, "size": 4, "classes": 3},
        "bounds": [0, 2],
        "sha256": file_sha256(folder / "tiny.safetensors"),
        "accuracy": {"clean": 0.5},
    }
    (folder / "tiny.json").write_text(json.dumps(card))
    monkeypatch.setattr(load, "_zoo", lambda: folder)
    return folder


def change(zoo, **changes):
    path = zoo / "tiny.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_embedded_model_loads_and_says_what_it_is():
    for name in zoo_names():
        model, card = load_model(f"zoo:{name}"), zoo_card(name)
        settings = card["architecture"]
        x = torch.zeros(2, settings["channels"], settings["size"], settings["size"])
        assert model.predict(x).shape == (2,)
        assert model.num_classes == settings["classes"]
        assert card["accuracy"]
        assert card["recipe"]


def test_zoo_model_is_the_saved_one_in_evaluation_mode(zoo):
    model = load_model("zoo:tiny")
    assert model.bounds == Bounds(0.0, 2.0)
    assert not model.module.training
    saved = SmallCNN(2, 4, 3)
    load.load_weights(saved, zoo / "tiny.safetensors")
    x = torch.rand(3, 2, 4, 4)
    assert torch.equal(model.logits(x), saved(x))
    assert zoo_names() == ["tiny"]
    assert zoo_card("tiny")["accuracy"] == {"clean": 0.5}


def test_zoo_sidecar_may_name_a_normalisation(zoo):
    plain = load_model("zoo:tiny")
    change(zoo, mean=[0.5, 0.25], std=[2.0, 4.0])
    x = torch.rand(3, 2, 4, 4)
    mean, std = torch.tensor([0.5, 0.25]).view(2, 1, 1), torch.tensor([2.0, 4.0]).view(2, 1, 1)
    assert torch.allclose(load_model("zoo:tiny").logits(x), plain.logits((x - mean) / std), atol=1e-6)


def test_no_zoo_is_an_empty_zoo(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "_zoo", lambda: tmp_path / "no")
    assert zoo_names() == []


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("zoo:tyni", SpecError, "unknown zoo model 'tyni'; did you mean 'tiny'"),
        ("zoo:../zoo/tiny", SpecError, "unknown zoo model '../zoo/tiny'"),
        ("zoo:", SpecError, "unknown zoo model ''; known: tiny"),
        ("tiny", SpecError, "unknown model 'tiny'; did you mean 'zoo:tiny'"),
        ("zoo", SpecError, "unknown model 'zoo'; "),
        ("", SpecError, "unknown model ''; known: py:package.module:factory, zoo:tiny"),
        ("zo:tiny", SpecError, "unknown model 'zo:tiny'; did you mean 'zoo:tiny'"),
        ("timm:resnet50", SpecError, "'timm:' is not available in this version, which knows zoo:NAME .* and py:"),
        ("hf:owner/name", SpecError, "'hf:' is not available in this version"),
        ("torchvision", SpecError, "'torchvision:' is not available in this version"),
        ("py:ownnets", SpecError, "must be py:package.module:factory, for example"),
        ("py::net", SpecError, "must be py:package.module:factory"),
        ("py:ownnets:", SpecError, "must be py:package.module:factory"),
        ("py:.ownnets:net", SpecError, "must be py:package.module:factory"),
        (
            "py:ownnet:net",
            SpecError,
            "no module 'ownnet', neither installed nor in the current folder; write package.module",
        ),
        ("py:ownnets.inner:net", SpecError, "there is no module 'ownnets.inner'"),
        ("py:no.such.module:net", SpecError, "there is no module 'no'"),
        ("py:ownnets:nett", SpecError, "unknown factory in 'ownnets' 'nett'; did you mean 'net'"),
        ("py:ownnets:size", ArgumentTypeError, "'size' is int; name a function or class that returns the model"),
        ("py:ownnets:number", ArgumentTypeError, "returned int; the factory must return an nn.Module or a Classifier"),
        (
            "py:ownnets:plain",
            ArgumentTypeError,
            r"returned function; .* can be wrapped: saddlepoint.Classifier\(function\)",
        ),
        ("py:ownnets:failing", ModelError, r"failing\(\) failed: RuntimeError: no such layer"),
        ("py:broken:net", ModelError, "importing 'broken' failed: ZeroDivisionError: division by zero"),
        ("py:needy:net", ModelError, "importing 'needy' failed: No module named 'no_such_package'"),
    ],
)
@pytest.mark.usefixtures("folder", "zoo")
def test_what_cannot_be_loaded_says_why(spec, error, message):
    with pytest.raises(error, match=message):
        load_model(spec)


@pytest.mark.parametrize("name", ["weights", "bounds", "mean", "std"])
@pytest.mark.usefixtures("zoo")
def test_zoo_models_have_their_own_settings(name):
    value = {"weights": "a.safetensors", "bounds": (0.0, 1.0)}.get(name, 0.5)
    with pytest.raises(SettingError, match=f"^{name} cannot be given for zoo:tiny, .* py:saddlepoint.models:SmallCNN"):
        load_model("zoo:tiny", **{name: value})


def test_changed_zoo_files_are_refused(zoo):
    content = (zoo / "tiny.safetensors").read_bytes()
    (zoo / "tiny.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match="tiny.safetensors' have sha256 .* expected"):
        load_model("zoo:tiny")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "sidecar tiny.json is not JSON .*; install saddlepoint again"),
        ("[]", "sidecar tiny.json lacks everything"),
        ('{"bounds": [0, 1]}', "sidecar tiny.json lacks architecture, sha256; install"),
    ],
)
def test_damaged_sidecars_are_refused(zoo, text, message):
    (zoo / "tiny.json").write_text(text)
    with pytest.raises(WeightsError, match=message):
        load_model("zoo:tiny")


@pytest.mark.usefixtures("folder")
def test_factory_in_the_current_folder():
    path = list(sys.path)
    model = load_model("py:ownnets:net", bounds=(-1, 1), mean=0.5, std=2.0)
    assert sys.path == path
    assert isinstance(model, Classifier)
    assert model.bounds == Bounds(-1.0, 1.0)
    assert not any(module.training for module in model.module.modules())
    x = torch.rand(3, 1, 2, 2)
    assert torch.equal(model.logits(x), model.module((x - 0.5) / 2))


@pytest.mark.usefixtures("folder")
def test_factory_may_import_what_stands_beside_it():
    assert isinstance(load_model("py:ownnets:lazy").module, nn.Linear)


def test_module_of_a_py_spec_is_bounded_by_zero_and_one_by_default():
    assert load_model("py:saddlepoint.models:SmallCNN").bounds == Bounds(0.0, 1.0)


def test_weights_are_loaded_into_the_module(tmp_path):
    net = SmallCNN()
    save_weights(net, tmp_path / "net.safetensors")
    model = load_model("py:saddlepoint.models:SmallCNN", weights=tmp_path / "net.safetensors")
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(model.logits(x), net(x))


@pytest.mark.usefixtures("folder")
def test_classifier_of_a_factory_is_taken_as_it_is(tmp_path):
    model = load_model("py:ownnets:classifier")
    assert model.bounds == Bounds(-1.0, 1.0)
    assert not model.module.training
    save_weights(model.module, tmp_path / "net.safetensors")
    again = load_model("py:ownnets:classifier", weights=tmp_path / "net.safetensors")
    assert torch.equal(again.module[2].weight, model.module[2].weight)
    assert load_model("py:ownnets:function").logits(torch.rand(2, 4)).shape == (2, 4)


@pytest.mark.usefixtures("folder")
def test_classifier_of_a_factory_takes_no_other_settings():
    with pytest.raises(SettingError, match="^bounds, std, device cannot be given for .*; set them in the factory"):
        load_model("py:ownnets:classifier", bounds=(0, 1), std=0.5, device="cpu")
    with pytest.raises(SettingError, match="weights cannot be loaded into .*: its Classifier wraps a function"):
        load_model("py:ownnets:function", weights="net.safetensors")


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_device_that_cannot_be_used_is_named(device):
    with pytest.raises(SettingError, match=rf"device='{device}' cannot be used \(.*\); use 'cpu' or"):
        load_model("py:saddlepoint.models:SmallCNN", device=device)


@pytest.mark.usefixtures("zoo")
def test_device_is_where_the_model_goes(device):
    for spec in ("zoo:tiny", "py:saddlepoint.models:SmallCNN"):
        model = load_model(spec, device=str(device))
        assert model.device.type == device.type
        assert {p.device.type for p in model.module.parameters()} == {device.type}
