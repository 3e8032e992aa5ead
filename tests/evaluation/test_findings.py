"""Every finding is made where its reason holds, and is not made where it does not."""

import dataclasses

import pytest
import torch
from torch import nn

from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ModelError
from saddlepoint.evaluation import evaluate
from saddlepoint.evaluation.findings import of_data, of_model, of_outputs, of_tally
from saddlepoint.evaluation.stats import wilson
from saddlepoint.records import AttackRecord, DataRecord, ModelRecord, ThreatRecord, distances
from saddlepoint.testing import ConstantModel, NaNModel, RandomModel, away_from

X = torch.rand(16, 1, 6, 6, generator=torch.Generator().manual_seed(0))
NEAR_CHANCE, UNDEFINED, ONE_STEP = "Clean accuracy is close to chance", "Undefined rows", "One step beats many"


def titles(found):
    return [finding.title for finding in found]


def about(rows):
    return DataRecord(name="toy", fingerprint="0", rows=rows, shape=[1, 6, 6], classes=["a", "b"])


def attack(name, verdicts):
    return AttackRecord(
        name=name,
        settings={},
        robust=wilson(verdicts.count("H"), len(verdicts)),
        fooled=verdicts.count("F"),
        added=0,
        undefined=verdicts.count("U"),
        attacked=len(verdicts) - verdicts.count("W"),
        forwards=0,
        backwards=0,
        distance=None,
        verdicts=verdicts,
        seconds=0.0,
    )


def model(*attacks, right=900, rows=1000, classes=10):
    threat = ThreatRecord(norm="linf", eps=0.25, attacks=list(attacks), worst=wilson(0, rows), verdicts="")
    clean = wilson(right, rows)
    return ModelRecord(
        name="net", fingerprint="0", parameters=0, classes=classes, bounds=(0.0, 1.0), clean=clean, threats=[threat]
    )


def of(*attacks, target="none", **settings):
    return list(of_model(model(*attacks, **settings), about(1000), target))


@pytest.mark.parametrize(("eps", "unsolved", "found"), [(None, 2, ["Unsolved rows"]), (None, 0, []), (0.25, 2, [])])
def test_rows_that_no_attack_solved_at_any_distance_are_told(eps, unsolved, found):
    some = model(attack("ddn", "FFW"))
    threat = dataclasses.replace(some.threats[0], eps=eps, distances=distances([0.5, 0.25], unsolved))
    told = list(of_model(dataclasses.replace(some, threats=[threat]), about(1000), "none"))
    assert titles(told) == found
    if found:
        assert told[0].evidence == "no attack fooled 2 of 4 rows at any distance (linf)"


def test_undefined_rows_without_a_radius_are_told():
    some = model(attack("ddn", "UFW"))
    threat = dataclasses.replace(some.threats[0], eps=None, distances=distances([0.5], 0))
    (told,) = of_model(dataclasses.replace(some, threats=[threat]), about(1000), "none")
    assert (told.title, told.level) == (UNDEFINED, "error")
    assert "under ddn (linf) gave" in told.evidence


def test_a_sound_model_has_no_finding(net):
    assert list(of_outputs("net", Classifier(net), X)) == []
    assert of(attack("fgsm", "HHFW"), attack("pgd", "HFFW")) == []


def test_probabilities_are_noticed(net):
    (found,) = of_outputs("net", Classifier(nn.Sequential(net, nn.Softmax(1))), X)
    assert (found.level, found.model, found.title) == ("warning", "net", "The outputs look like probabilities")
    assert "16 inputs" in found.evidence
    assert "logits" in found.remedy


@pytest.mark.parametrize("module", [nn.Softplus(), nn.LogSigmoid(), nn.Sigmoid()])
def test_outputs_that_are_only_positive_or_only_normalised_are_no_probabilities(net, module):
    assert list(of_outputs("net", Classifier(nn.Sequential(net, module)), X)) == []


def test_a_random_model_is_noticed(net):
    (found,) = of_outputs("net", Classifier(RandomModel(net, scale=0.01)), X)
    assert (found.level, found.model, found.title) == ("warning", "net", "The model is random")
    assert "16 inputs differ by up to 0.0" in found.evidence


def test_log_probabilities_are_noticed(net):
    (found,) = of_outputs("net", Classifier(nn.Sequential(net, nn.LogSoftmax(1))), X)
    assert (found.level, found.model, found.title) == ("warning", "net", "The outputs look like log-probabilities")
    assert "16 inputs" in found.evidence
    assert "logits" in found.remedy


def test_dropout_is_no_randomness_in_evaluation_mode(net):
    module = nn.Sequential(net, nn.Dropout(0.5)).eval()
    assert list(of_outputs("net", Classifier(module), X)) == []


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(4)], ids=str)
@pytest.mark.parametrize("rows", [1, 16])
def test_a_training_mode_that_changes_the_outputs_is_noticed(net, layer, rows):
    module = nn.Sequential(net, layer).train()
    state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    model = Classifier(module)
    (found,) = of_outputs("net", model, X[:rows])
    assert (found.level, found.title) == ("warning", "The model was given in training mode")
    assert f"{rows} inputs" in found.evidence
    assert "model.eval()" in found.remedy
    assert all(part.training for part in module.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert model.meter.forwards == 2 * rows  # the look in training mode is no part of an attack


def test_a_random_model_in_training_mode_is_random_first_of_all(net):
    found = of_outputs("net", Classifier(nn.Sequential(RandomModel(net), nn.Dropout(0.5)).train()), X)
    assert titles(found) == ["The model is random"]


def test_a_model_that_changes_its_input_is_refused_and_the_input_is_not_changed():
    before = X.clone()
    with pytest.raises(ModelError, match=r"changes its input in place; write x = x - mean, not x -= mean"):
        list(of_outputs("net", Classifier(lambda x: x.sub_(0.5).flatten(1)), X))
    assert torch.equal(X, before)


def test_a_model_that_changes_the_number_of_its_classes_is_refused():
    widths = iter([3, 4])
    with pytest.raises(ModelError, match=r"shape \(16, 3\), then \(16, 4\); it must have the same classes"):
        list(of_outputs("net", Classifier(lambda x: x.flatten(1)[:, : next(widths)]), X))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_constant_that_is_not_finite_is_not_random(value):
    assert list(of_outputs("net", Classifier(ConstantModel(torch.tensor([value, 0.0]))), X)) == []


@pytest.mark.parametrize(
    ("right", "classes", "near"), [(100, 10, True), (150, 10, True), (151, 10, False), (0, 2, True), (900, 2, False)]
)
def test_clean_accuracy_near_chance_is_noticed(right, classes, near):
    found = of(right=right, classes=classes)
    assert titles(found) == [NEAR_CHANCE] * near
    assert all(finding.level == "warning" and f"{right} of 1000" in finding.evidence for finding in found)


def test_undefined_rows_are_an_error_for_each_attack_that_has_some():
    found = of(attack("fgsm", "HFFW"), attack("bim", "UFFW"), attack("pgd", "UUHW"))
    assert titles(found) == [UNDEFINED] * 2
    assert {finding.level for finding in found} == {"error"}
    assert ["1 rows under bim (linf eps=0.25)" in found[0].evidence, "2 rows under pgd" in found[1].evidence] == [
        True
    ] * 2


@pytest.mark.parametrize("many", ["pgd", "bim"])
def test_one_step_that_beats_many_is_noticed(many):
    fgsm, iterative = attack("fgsm", "F" * 6 + "H" * 94), attack(many, "H" * 3 + "F" * 2 + "H" * 95)
    (found,) = of(fgsm, iterative)
    assert (found.level, found.title) == ("warning", ONE_STEP)
    assert f"4 rows that {many} does not (linf eps=0.25)" in found.evidence


@pytest.mark.parametrize(
    ("fgsm", "pgd"),
    [
        ("F" * 2 + "H" * 98, "H" * 100),  # 2 % may be chance
        ("F" * 50 + "H" * 50, "F" * 60 + "H" * 40),
        ("F" * 10 + "H" * 90, "H" * 10 + "F" * 10 + "H" * 80),  # other rows, but as many
    ],
)
def test_one_step_that_does_not_beat_many_is_not_noticed(fgsm, pgd):
    assert of(attack("fgsm", fgsm), attack("pgd", pgd)) == []


def test_one_step_is_compared_with_the_best_of_many():
    fgsm = attack("fgsm", "F" * 50 + "H" * 50)
    assert of(fgsm, attack("bim", "H" * 100), attack("pgd", "F" * 60 + "H" * 40)) == []
    assert titles(of(fgsm, attack("bim", "H" * 100), attack("pgd", "F" * 40 + "H" * 60))) == [ONE_STEP]
    assert of(fgsm) == []


@pytest.mark.parametrize(("target", "already"), [("1", 3), ("0", 2), ("2", 0), ("random", 0), ("least-likely", 0)])
def test_rows_of_the_target_class_are_told(target, already):
    data = dataclasses.replace(about(5), labels=[1, 0, 1, 1, 0])
    told = [finding for finding in of_model(model(), data, target) if finding.level == "warning"]
    assert [finding.title for finding in told] == ["Rows are of the target class already"] * bool(already)
    assert all(f"{already} of 5 rows have the label {target}" in finding.evidence for finding in told)
    assert all(f"up to {20 * already}.0 points" in finding.consequence for finding in told)


@pytest.mark.parametrize(("target", "told"), [("none", False), ("random", True), ("3", True)])
def test_targets_are_told(target, told):
    found = of(target=target)
    assert titles(found) == ["Targeted attacks"] * told
    assert all(finding.level == "note" and f"target={target}" in finding.evidence for finding in found)


@pytest.mark.parametrize(("rows", "few"), [(100, True), (999, True), (1000, False)])
def test_few_rows_are_told(rows, few):
    found = list(of_data(about(rows)))
    assert titles(found) == ["Few rows"] * few
    assert all(finding.level == "note" and f"{98 / rows**0.5:.1f} points" in finding.evidence for finding in found)


def labelled(labels, classes):
    return dataclasses.replace(
        about(len(labels)), labels=list(labels), classes=[f"c{i}" for i in range(classes)], rows=len(labels)
    )


MISSING = "Classes are missing"


@pytest.mark.parametrize(
    ("labels", "named", "classes", "said"),
    [
        ([0] * 98 + [1] * 52, 10, 10, "150 rows hold 2 of the model's 10 classes: c0, c1; they stand sorted by class"),
        ([0, 1] * 75, 10, 10, "150 rows hold 2 of the model's 10 classes: c0, c1"),
        ([3, 7] * 75, 10, 4, "150 rows hold 2 of the data set's 10 classes: c3, c7"),
        ([0] * 100, 2, 2, "100 rows hold 1 of the model's 2 classes: c0"),
        (
            [i // 100 for i in range(700)],
            10,
            10,
            "700 rows hold 7 of the data set's 10 classes: c0, c1, c2, c3, c4 and 2 more; they stand sorted by class",
        ),
        (
            [i // 50 for i in range(100)],  # too few for 1,000 classes, but sorted
            1000,
            1000,
            "100 rows hold 2 of the data set's 1000 classes: c0, c1; they stand sorted by class",
        ),
        ([0, 1] * 500, 2, 100, "1000 rows hold 2 of the model's 100 classes: c0, c1"),
    ],
)
def test_classes_that_rows_should_hold_are_told(labels, named, classes, said):
    found = {each.title: each for each in of_data(labelled(labels, named), classes)}
    assert found[MISSING].level == "warning"
    assert found[MISSING].evidence == said
    assert "Shuffle" in found[MISSING].remedy


@pytest.mark.parametrize(
    ("labels", "named", "classes"),
    [
        ([0, 1] * 75, 2, 2),
        ([0] * 75 + [1] * 75, 2, 2),  # sorted, but whole
        ([0] * 20, 2, 2),  # of a frequent class, by chance
        ([0, 1] * 20, 10, 10),  # few rows
        ([0, 2, 1, 4, 3] * 30, 10, 10),  # half of them
        ([0] * 10 + [1] * 10, 10, 10),
        ([0, 1] * 75, 2, 40),  # too few rows for the classes of the model
        ([0] * 75 + [1] * 75, 2, 3),  # the whole of a data set with fewer classes than the model
        ([i % 100 for i in range(300)], 1000, 1000),
        ([0] * 150, 1, 1),
    ],
)
def test_classes_that_may_be_missing_are_not_told(labels, named, classes):
    assert MISSING not in titles(of_data(labelled(labels, named), classes))


def test_a_run_on_the_first_rows_of_sorted_data_tells_what_they_lack(net, data):
    many = Dataset(data.x.repeat(4, 1, 1, 1), torch.arange(160) // 40, classes=data.classes, name="sorted")
    assert MISSING in run(net, many[:100])[1]
    assert MISSING not in run(net, many)[1]


def test_claims_and_strays_are_told_apart():
    assert list(of_tally("net", "pgd", 0, 0)) == []
    (claims,) = of_tally("net", "pgd", 3, 0)
    assert (claims.level, claims.title) == ("warning", "Claims that were not confirmed")
    assert claims.evidence.startswith("3 rows that pgd calls fooled")
    (strays,) = of_tally("net", "pgd", 0, 2)
    assert (strays.level, strays.title) == ("error", "Points outside ball or box")
    assert strays.evidence.startswith("2 points that pgd returned")
    (hidden,) = of_tally("net", "pgd", 0, 0, 70)
    assert (hidden.level, hidden.title) == ("warning", "Passes that were not reported")
    assert hidden.evidence == "the meter saw 70 passes of rows more than pgd accounts for"


def run(module, data, attacks=("fgsm", "pgd")):
    found = evaluate({"net": Classifier(module)}, data, balls=[Linf(0.1)], attacks=attacks, draw=False).record
    return found.models[0], {finding.title: finding for finding in found.findings}


def test_a_sound_run_has_only_its_note(net, data):
    assert set(run(net, data)[1]) == {"Few rows"}


def test_findings_come_errors_first(net, data):
    module = nn.Sequential(RandomModel(NaNModel(net, away_from(data.x[:20])), scale=0.01))
    record = evaluate({"net": Classifier(module)}, data, balls=[Linf(0.1)], attacks=["fgsm"], draw=False).record
    levels = [finding.level for finding in record.findings]
    assert set(levels) == {"error", "warning", "note"}
    assert levels == sorted(levels, key=["error", "warning", "note"].index)


def test_rows_that_are_undefined_when_clean_are_an_error(net, data):
    spoiled = data.x[[1, 2]].flatten(1)  # the net is right on both

    def where(x):
        return (x.flatten(1)[:, None] == spoiled).all(2).any(1)

    model, found = run(NaNModel(net, where), data)
    sound, _ = run(net, data)
    assert found[UNDEFINED].level == "error"
    assert model.clean.count == sound.clean.count - 2
    for attack, known in zip(model.threats[0].attacks, sound.threats[0].attacks, strict=True):
        assert attack.undefined == 2
        assert attack.attacked == known.attacked - 2
        assert attack.verdicts == known.verdicts[0] + "UU" + known.verdicts[3:]


def test_a_random_model_makes_claims_that_fail(net):
    x = torch.rand(200, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        y = net(x).argmax(1)
    data = Dataset(x, y, classes=tuple("abcd"), name="toy")
    _, found = run(RandomModel(net, scale=1.0), data, attacks=["fgsm"])
    assert {"The model is random", "Claims that were not confirmed"} <= set(found)


def test_shuffled_labels_are_noticed(net, data):
    wrong = Dataset(data.x, (net(data.x).argmax(1) + 1) % 4, classes=data.classes, name="toy")
    assert NEAR_CHANCE in run(net, wrong)[1]
