import dataclasses
import json
import math
import subprocess
import sys

import pytest
from report_runs import HOSTILE, findings, make_held, make_passes, make_picture, make_reach, make_run

from saddlepoint.errors import RecordError
from saddlepoint.records import (
    SCHEMA_VERSION,
    AttackRecord,
    Distances,
    RunRecord,
    Share,
    ThreatRecord,
    distances,
    wilson,
)


def changed(change):
    """The text of a run whose decoded JSON was changed."""
    data = json.loads(make_run([make_picture()]).to_json())
    change(data)
    return json.dumps(data)


def test_a_run_comes_back_as_it_was():
    run = make_run([make_picture(), make_picture(row=9)])
    again = RunRecord.from_json(run.to_json())
    assert again == run
    assert again.to_json() == run.to_json()
    assert type(again.models[0].threats[0].attacks[0]) is AttackRecord
    assert type(again.models[0].threats[0].worst) is Share
    assert again.models[0].bounds == (0.0, 1.0)  # a tuple again, not a list
    assert again.findings == findings()


@pytest.mark.parametrize("text", [HOSTILE, "ünïcødé", "line\nbreak", 'quote"', "\x1b[31m", "\u2028"])
def test_any_text_comes_back(text):
    run = dataclasses.replace(make_run(), command=text)
    assert RunRecord.from_json(run.to_json()).command == text


def test_nothing_at_all_comes_back():
    run = dataclasses.replace(make_run(), models=[], findings=[], spec={}, environment={})
    assert RunRecord.from_json(run.to_json()) == run


def test_no_distance_comes_back():
    run = make_run()
    attack = dataclasses.replace(run.models[0].threats[0].attacks[0], distance=None)
    run.models[0].threats[0].attacks[0] = attack
    assert RunRecord.from_json(run.to_json()).models[0].threats[0].attacks[0].distance is None


def test_distances_come_back_and_stand_on_one_line():
    run = make_reach()
    text = run.to_json()
    again = RunRecord.from_json(text)
    assert again == run
    found = again.models[0].threats[0].attacks[0].distances
    assert type(found) is Distances
    assert f'"found": {json.dumps(found.found)}\n' in text
    assert json.loads(text)["models"][0]["threats"][0]["eps"] is None
    assert json.loads(text)["models"][0]["threats"][0]["attacks"][1]["distances"]["median"] is None


def test_numbers_of_every_form_stand_on_one_line():
    found = distances([1e-7, 0.5, 3.0, 123456789.0, 1e22], unsolved=0)
    run = make_reach()
    run.models[0].threats[0] = dataclasses.replace(run.models[0].threats[0], distances=found)
    assert '"found": [1e-07, 0.5, 3.0, 123457000.0, 1e+22]\n' in run.to_json()
    assert RunRecord.from_json(run.to_json()) == run


def test_passes_come_back():
    assert RunRecord.from_json(make_passes().to_json()) == make_passes()


@pytest.mark.parametrize(
    ("found", "unsolved", "quartiles"),
    [
        ([3.0, 1.0, 4.0, 2.0], 0, (1.0, 2.0, 3.0)),  # the lower one of two, as in all medians here
        ([3.0, 1.0, 2.0], 0, (1.0, 2.0, 3.0)),
        ([1.0], 0, (1.0, 1.0, 1.0)),
        ([1.0, 2.0], 2, (1.0, 2.0, None)),
        ([1.0], 2, (1.0, None, None)),
        ([1.0], 4, (None, None, None)),
        ([], 3, (None, None, None)),
        ([], 0, (None, None, None)),
    ],
)
def test_quartiles_count_an_unsolved_row_as_farther_than_any(found, unsolved, quartiles):
    these = distances(found, unsolved)
    assert (these.lower, these.median, these.upper) == quartiles
    assert (these.rows, these.unsolved) == (len(found) + unsolved, unsolved)
    assert these.largest == (max(found) if found else None)


def test_distances_keep_six_digits():
    assert distances([0.123456789, 8 / 255], 0).found == [0.123457, 0.0313725]


def test_the_text_is_one_object_ending_in_a_newline_with_keys_in_field_order():
    text = make_run().to_json()
    assert text.endswith("}\n")
    keys = [key for key, _ in json.loads(text, object_pairs_hook=list)]
    assert keys == [field.name for field in dataclasses.fields(RunRecord)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(make_run(), seconds=value).to_json()


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"schema": 1,}'])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(RecordError, match="run.json is not JSON .*; run the evaluation again"):
        RunRecord.from_json(text)


@pytest.mark.parametrize("schema", [0, SCHEMA_VERSION + 1, "1", None])
def test_another_schema_is_refused(schema):
    with pytest.raises(RecordError, match=f"has schema {schema!r}; this version reads schema {SCHEMA_VERSION}"):
        RunRecord.from_json(changed(lambda data: data.update(schema=schema)))


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '"text"'])
def test_what_is_no_run_is_refused(text):
    with pytest.raises(RecordError, match="has schema None"):
        RunRecord.from_json(text)


@pytest.mark.parametrize("name", sorted({f.name for f in dataclasses.fields(RunRecord)} - {"schema"}))
def test_a_missing_field_is_named(name):
    with pytest.raises(RecordError, match=f"run lacks a field or has one too many: .'{name}'"):
        RunRecord.from_json(changed(lambda data: data.pop(name)))


def test_a_missing_field_deep_inside_is_named_with_its_place():
    def change(data):
        del data["models"][1]["threats"][0]["attacks"][2]["fooled"]

    with pytest.raises(RecordError, match=r"run\.models\[1\]\.threats\[0\]\.attacks\[2\] lacks .*'fooled'"):
        RunRecord.from_json(changed(change))


def test_a_field_too_many_is_named():
    with pytest.raises(RecordError, match=r"run\.data lacks a field or has one too many: .'extra'"):
        RunRecord.from_json(changed(lambda data: data["data"].update(extra=1)))


def test_a_value_in_place_of_a_record_is_refused():
    with pytest.raises(RecordError, match=r"run\.models\[0\] lacks a field"):
        RunRecord.from_json(changed(lambda data: data.update(models=["net"])))


def test_shares_and_passes_of_nothing_are_zero():
    assert Share(count=0, rows=0, low=0.0, high=1.0).value == 0.0
    assert Share(count=3, rows=4, low=0.0, high=1.0).value == 0.75
    attack = make_run().models[0].threats[0].attacks[0]
    assert attack.passes_per_row == 79.0
    assert dataclasses.replace(attack, attacked=0, forwards=0, backwards=0).passes_per_row == 0.0


def test_what_only_images_or_labels_give_may_be_missing():
    run = make_run()
    threat = run.models[0].threats[0]
    optional = {"fooled_as", "easiest", "hardest"}
    fields = {f.name: getattr(threat, f.name) for f in dataclasses.fields(ThreatRecord) if f.name not in optional}
    bare = ThreatRecord(**fields)
    assert (bare.fooled_as, bare.easiest, bare.hardest) == ([], [], [])


def test_pictures_come_back_as_what_they_were():
    threat = RunRecord.from_json(make_run([make_picture()], [make_held()]).to_json()).models[0].threats[-1]
    assert (threat.easiest, threat.hardest) == ([make_picture()], [make_held()])


def test_integers_stand_on_one_line_and_text_is_left_alone():
    run = make_run()
    command = "[\n 1,\n 2\n]"
    text = dataclasses.replace(run, command=command).to_json()
    assert f'"labels": {json.dumps(run.data.labels)},\n' in text
    assert f'"ids": {json.dumps(run.data.ids)}\n' in text
    assert json.loads(text)["command"] == command
    assert RunRecord.from_json(text).data == run.data


def test_a_run_of_ten_thousand_rows_stays_small():
    def grown(threat):
        attacks = [dataclasses.replace(attack, verdicts=attack.verdicts * 5) for attack in threat.attacks]
        return dataclasses.replace(threat, attacks=attacks, verdicts=threat.verdicts * 5, fooled_as=[7] * 10_000)

    run = make_run()
    models = [dataclasses.replace(model, threats=[*map(grown, model.threats)]) for model in run.models]
    data = dataclasses.replace(run.data, labels=[7] * 10_000, ids=list(range(10_000)))
    assert len(dataclasses.replace(run, models=models, data=data).to_json()) < 500_000  # 2 models, 2 radii, 5 attacks


def test_wilson_of_nothing_is_everything():
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert wilson(1, 1).high == 1.0
    assert wilson(0, 9).low == 0.0


def test_records_are_read_without_torch():
    code = "import sys, saddlepoint.records; sys.exit('torch' in sys.modules)"
    # The package itself imports torch; its records alone must not need it.
    stub = "import sys, types, importlib.util as u; p = types.ModuleType('saddlepoint'); "
    stub += "p.__path__ = list(u.find_spec('saddlepoint').submodule_search_locations); sys.modules['saddlepoint'] = p; "
    assert subprocess.run([sys.executable, "-c", stub + code], check=False).returncode == 0
