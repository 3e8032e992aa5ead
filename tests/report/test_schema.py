"""The published schema is that of the records, and holds every run."""

import copy
import dataclasses
import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import torch
from report_runs import hostile, make_held, make_passes, make_picture, make_reach, make_run
from torch import nn

import saddlepoint as sp
from saddlepoint.report.schema import schema, text

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(schema())


def decoded(run):
    return json.loads(run.to_json())


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_shipped_files_are_what_the_records_say():
    shipped = resources.files("saddlepoint.report").joinpath("run.schema.json").read_text(encoding="utf-8")
    remedy = "write what saddlepoint.report.schema.text() returns into src/saddlepoint/report/ and docs/"
    assert shipped == text(), remedy
    assert (ROOT / "docs/run.schema.json").read_text(encoding="utf-8") == text(), remedy


def test_a_real_run_follows_it(tmp_path):
    data = sp.data.Dataset(torch.rand(6, 1, 4, 4), torch.arange(6) % 3, classes=("a", "b", "c"), name="toy")
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    sp.evaluate(sp.Classifier(net), data, ball=[sp.Linf(0.1), sp.Linf(0.9)], attacks=["fgsm", "bim"], out=tmp_path)
    VALIDATOR.validate(json.loads((tmp_path / "run.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("change", [lambda run: run, hostile])
def test_a_run_made_by_hand_follows_it(change):
    VALIDATOR.validate(decoded(change(make_run([make_picture()], [make_held()]))))


@pytest.mark.parametrize("eps", [None, 4.5])
def test_a_run_with_distances_follows_it(eps):
    VALIDATOR.validate(decoded(make_reach(eps)))


def test_a_run_with_passes_follows_it():
    VALIDATOR.validate(decoded(make_passes()))


@pytest.mark.parametrize(
    ("field", "value"), [("median", "inf"), ("found", [-1.0]), ("found", [None]), ("unsolved", None)]
)
def test_what_are_no_distances_breaks_it(field, value):
    run = decoded(make_reach())
    run["models"][0]["threats"][0]["distances"][field] = value
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(run)


def test_no_distance_is_allowed():
    run = make_run()
    run.models[0].threats[0].attacks[0] = dataclasses.replace(run.models[0].threats[0].attacks[0], distance=None)
    VALIDATOR.validate(decoded(run))


def spoil(run, path, value):
    """The decoded run with one value replaced, or taken out."""
    *way, last = path
    place = run
    for step in way:
        place = place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value


ATTACK = ("models", 0, "threats", 0, "attacks", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 1),
        (("models",), KeyError),
        (("extra",), 1),
        (("data", "labels"), ["3"]),
        (("data", "labels"), [-1]),
        (("models", 0, "bounds"), [0.0]),
        (("models", 0, "clean", "low"), 1.5),
        (("findings", 0, "level"), "fatal"),
        ((*ATTACK, "verdicts"), "HFX"),
        ((*ATTACK, "fooled"), -1),
        ((*ATTACK, "fooled"), 1.5),
        ((*ATTACK, "distance"), "0.3"),
        ((*ATTACK, "robust"), KeyError),
    ],
)
def test_what_is_no_run_breaks_it(path, value):
    run = copy.deepcopy(decoded(make_run()))
    spoil(run, path, value)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(run)
