"""The sentences to cite: the numbers are right, and what forbids citing is said."""

import dataclasses

import pytest
from report_runs import HOSTILE, make_run, threat, wilson

from saddlepoint.records import Finding, RunRecord, ThreatRecord
from saddlepoint.report.citation import caveat, citation


def alone(*threats: ThreatRecord) -> RunRecord:
    """A run of one model with these threats and no findings."""
    run = make_run()
    return dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=list(threats))], findings=[])


def test_one_sentence_per_model_and_threat_with_its_numbers() -> None:
    said = citation(make_run())
    assert len(said) == 4
    assert said[1] == (
        "mnist-pgd: 91.2 % robust accuracy (95 % interval 89.9 to 92.4) under the worst case of 5 attacks "
        "(fgsm, pgd, apgd-ce, fab, square), Linf eps 0.3, 2000 rows of mnist10k:test; 97.4 % clean accuracy."
    )


def test_an_error_finding_forbids_citing_its_model_only() -> None:
    said = citation(make_run())
    assert [sentence.endswith("Not to be cited before its 1 error finding is settled.") for sentence in said] == [
        False, False, True, True,
    ]  # fmt: skip


def test_an_error_about_the_whole_run_forbids_every_model() -> None:
    errors = [Finding(level="error", title="t", evidence="e", remedy="r")] * 2
    said = citation(dataclasses.replace(make_run(), findings=errors))
    assert all(sentence.endswith("before its 2 error findings are settled.") for sentence in said)


def test_one_attack_is_no_worst_case() -> None:
    (said,) = citation(alone(threat(0.3, [1866], 1948, 2000)))
    assert "under fgsm alone, Linf eps 0.3" in said


@pytest.mark.parametrize(
    ("empty", "why"),
    [
        (threat(0.3, [], 1948, 2000), "no attack was run"),
        (dataclasses.replace(threat(0.3, [0], 0, 0), worst=wilson(0, 0)), "no row was measured"),
    ],
)
def test_nothing_measured_is_nothing_to_cite(empty: ThreatRecord, why: str) -> None:
    (said,) = citation(alone(empty))
    assert said == f"mnist-pgd: nothing to cite for Linf eps 0.3 on mnist10k:test; {why}."


def test_multiples_of_a_gray_level_are_written_as_such() -> None:
    (said,) = citation(alone(threat(8 / 255, [1866], 1948, 2000)))
    assert "Linf eps 8/255" in said


def test_models_of_one_name_are_told_apart() -> None:
    run = make_run()
    twins = [dataclasses.replace(model, name="net") for model in run.models]
    said = citation(dataclasses.replace(run, models=twins))
    assert said[0].startswith("net (4f1c4f1c): ")
    assert said[2].startswith("net (9ab09ab0): ")


def test_places_are_not_told() -> None:
    run = make_run()
    data = dataclasses.replace(run.data, name="folder:/home/ada/my sets/birds")
    said = citation(dataclasses.replace(run, data=data))
    assert all("2000 rows of folder:birds;" in sentence for sentence in said)


def test_a_hostile_name_stays_text() -> None:
    run = make_run()
    models = [dataclasses.replace(run.models[0], name=HOSTILE)]
    assert citation(dataclasses.replace(run, models=models))[0].startswith(f"{HOSTILE}: ")


def test_the_caveat_names_the_bound_and_autoattack() -> None:
    assert "upper bound" in caveat(make_run())
    assert "not AutoAttack" in caveat(make_run())


def test_a_suite_is_cited_by_its_name_and_autoattack_as_such() -> None:
    (said,) = citation(suite("cascade-1"))
    assert "under the suite cascade-1 (fgsm, pgd), Linf eps 0.3" in said
    assert "not AutoAttack" in caveat(suite("cascade-1"))
    assert "not AutoAttack" not in caveat(suite("autoattack"))
    assert "own implementation" in caveat(suite("autoattack"))


def suite(name: str) -> RunRecord:
    """A run of that suite."""
    run = alone(threat(0.3, [1866, 1830], 1948, 2000))
    return dataclasses.replace(run, spec={**run.spec, "suite": name})
