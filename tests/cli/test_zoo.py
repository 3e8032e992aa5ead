"""Every embedded model is what its card says."""

from importlib import resources

import pytest

from saddlepoint.data import fashion_mnist, load_data
from saddlepoint.defenses.training.recipes import recipes
from saddlepoint.models import file_sha256, load_model, zoo_card, zoo_names

ROWS = 500


@pytest.fixture(params=zoo_names())
def name(request):
    return request.param


@pytest.fixture
def data(name):
    """What the model was trained on, and what its card's figures are of; skipped where that is not installed."""
    card = zoo_card(name)
    if "fashion-mnist" in card["recipe"]["data"] and not fashion_mnist.DEBIAN.is_dir():
        pytest.skip(f"needs: {fashion_mnist.INSTALL}")
    return load_data(card["recipe"]["data"]), load_data(card["accuracy"]["data"])


def test_the_weights_are_those_of_the_card(name):
    with resources.as_file(resources.files("saddlepoint.models") / "zoo" / f"{name}.safetensors") as path:
        assert file_sha256(path) == zoo_card(name)["sha256"]


def test_the_clean_accuracy_is_that_of_the_card(name, data):
    card, model = zoo_card(name), load_model(f"zoo:{name}")
    rows = data[1][:ROWS]
    share = float((model.predict(rows.x) == rows.y).float().mean())
    assert share == pytest.approx(card["accuracy"]["clean"], abs=0.02)


def test_the_card_tells_how_the_model_was_made(name, data):
    card = zoo_card(name)
    assert card["recipe"]["name"] in recipes()
    assert card["recipe"]["data_sha256"] == data[0].fingerprint
    assert card["parameters"] == sum(p.numel() for p in load_model(f"zoo:{name}").module.parameters())
    linf = card["accuracy"]["linf"]
    assert 0 <= linf["pgd-40 and cascade-1"] <= linf["pgd-40"] <= card["accuracy"]["clean"] <= 1
    if recipes()[card["recipe"]["name"]].robust:
        assert linf["eps"] == card["recipe"]["eps"]


def test_robust_models_hold_under_the_cascade_and_the_others_do_not(name):
    held = zoo_card(name)["accuracy"]["linf"]["pgd-40 and cascade-1"]
    assert (held > 0.5) is name.endswith(("-pgd", "-fast", "-trades"))


def test_every_model_is_small(name):
    assert (resources.files("saddlepoint.models") / "zoo" / f"{name}.safetensors").stat().st_size < 2e6
