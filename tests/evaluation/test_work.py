"""No attack, model, batch or neighbour can make the evaluation say what is not so."""

import dataclasses

import pytest
import torch
from torch import nn

from saddlepoint.attacks import FGSM, PGD, FromCallable
from saddlepoint.balls import L2, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ArgumentTypeError, InputError, SettingError
from saddlepoint.evaluation import evaluate
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult, Keep
from saddlepoint.testing import ConstantModel, NaNModel, away_from

BALL = Linf(0.1)


class Fake:
    """An attack of somebody else's: ``move`` gives the points, ``claims`` what it says of them."""

    name = "fake"

    def __init__(self, move, **claims):
        self.move, self.claims, self.given = move, claims, []

    def __call__(self, model, x, y, *, target=None, noise=Noise(), limits=Limits()):
        self.given.append(x)
        n = len(x)
        result = AttackResult(
            x=self.move(model, x, y),
            success=torch.zeros(n, dtype=torch.bool),
            undefined=torch.zeros(n, dtype=torch.bool),
            loss=torch.zeros(n),
            distance=torch.zeros(n),
            forwards=torch.ones(n, dtype=torch.int64),
            backwards=torch.zeros(n, dtype=torch.int64),
            solved_at=torch.full((n,), -1),
        )
        return dataclasses.replace(result, **{name: claim.expand(n) for name, claim in self.claims.items()})


def still(model, x, y):
    return x


def sign_step(eps):
    def step(model, x, y):
        x = x.clone().requires_grad_()
        with model.frozen():
            loss = nn.functional.cross_entropy(model.logits(x), y, reduction="sum")
            (grad,) = torch.autograd.grad(loss, x)
        return (x.detach() + eps * grad.sign()).clamp(0, 1)

    return step


def run(model, data, *attacks, ball=BALL, **settings):
    """The only model's record, its attacks' records and the titles of the findings."""
    model = model if isinstance(model, Classifier) else Classifier(model)
    found = evaluate({"net": model}, data, balls=[ball], attacks=attacks, **settings).record
    return found.models[0], found.models[0].threats[0].attacks, {finding.title: finding for finding in found.findings}


def numbers(record):
    """Everything that was counted, and everything that was measured, without times."""
    plain, measured = dataclasses.asdict(record), []
    for threat in plain["threats"]:
        measured += [attack.pop("distance") for attack in threat["attacks"] if attack.pop("seconds") >= 0]
        measured += [picture.pop(key) for picture in threat["easiest"] for key in ("distance", "magnified")]
        measured += [picture.pop("room") for picture in threat["hardest"]]
    return plain, measured


@pytest.fixture
def known(net, data):
    """Verdicts of FGSM by hand: one step, asked again of the bare module."""
    moved = sign_step(0.1)(Classifier(net), data.x, data.y)
    with torch.no_grad():
        clean, said = net(data.x).argmax(1), net(moved).argmax(1)
    rows = zip((clean == data.y).tolist(), (said == data.y).tolist(), strict=True)
    letters = "".join("W" if not right else "H" if held else "F" for right, held in rows)
    assert set(letters) == {"W", "H", "F"}
    return letters


def test_fgsm_by_hand_gives_the_same_letters(net, data, known):
    _, (ours,), _ = run(net, data, FGSM(ball=BALL, keep=Keep.FIRST_SUCCESS))
    assert ours.verdicts == known


# What is attacked


def test_rows_that_are_wrong_when_clean_are_not_attacked(net, data):
    fake = Fake(still)
    _, (attack,), _ = run(net, data, fake)
    with torch.no_grad():
        right = net(data.x).argmax(1) == data.y
    assert not bool(right.all())
    assert torch.equal(torch.cat(fake.given), data.x[right])
    assert attack.attacked == int(right.sum())


def test_the_meter_agrees_with_the_record(net, data):
    model = Classifier(net)
    _, attacks, _ = run(model, data, "fgsm", "pgd", limits=Limits(shrink_at=1.0), draw=False)
    probes = 2 * 16  # two passes over 16 clean rows
    checks = sum(attack.attacked for attack in attacks)  # each attack asks once more about what it returns
    assert model.meter.forwards == probes + checks + sum(attack.forwards for attack in attacks)
    assert model.meter.backwards == sum(attack.backwards for attack in attacks)
    assert attacks[0].backwards == attacks[0].attacked
    assert attacks[0].passes_per_row == pytest.approx((attacks[0].forwards + attacks[0].attacked) / attacks[0].attacked)


def test_a_model_that_is_always_wrong_is_never_attacked(net, data):
    wrong = Dataset(data.x, (net(data.x).argmax(1) + 1) % 4, classes=data.classes, name="toy")
    fake = Fake(still)
    model, (attack,), _ = run(net, wrong, fake)
    assert fake.given == []
    assert model.threats[0].verdicts == "W" * len(data)
    assert (attack.attacked, attack.robust.count, attack.passes_per_row, attack.distance) == (0, 0, 0.0, None)


# Batches


@pytest.mark.parametrize(("size", "rows", "ball"), [(1, 12, Linf(0.1)), (7, 40, Linf(0.1)), (7, 40, L2(0.4))])
def test_no_number_depends_on_the_batch_size(net, data, ball, size, rows):
    names = ("fgsm", "mi-fgsm", "pgd")
    whole, _, _ = run(net, data[:rows], *names, ball=ball, batch_size=512)
    parts, _, _ = run(net, data[:rows], *names, ball=ball, batch_size=size)
    assert {"W", "H", "F"} == set(whole.threats[0].verdicts)
    (counted, measured), (known, expected) = numbers(parts), numbers(whole)
    assert counted == known
    assert measured == pytest.approx(expected, rel=1e-5)


def test_pictures_do_not_depend_on_the_batch_size(net):
    x = torch.rand(2000, 1, 6, 6, generator=torch.Generator().manual_seed(4))
    y = Classifier(net).predict(x)
    falls = Classifier(net).predict(sign_step(0.3)(Classifier(net), x, y)) != y
    often, seldom = y[falls].bincount(minlength=4).topk(2).indices.tolist()
    first, last = (x[falls & (y == label)] for label in (often, seldom))
    assert min(len(first), len(last)) >= 80  # more of one label than samples are kept, then the other
    rows = torch.cat([first[:80], last[:80]])
    labels = torch.tensor([often, seldom]).repeat_interleave(80)
    data = Dataset(rows, labels, classes=tuple("abcd"), name="sorted")
    runs = [run(net, data, "fgsm", ball=Linf(0.3), batch_size=size)[0].threats[0] for size in (512, 60, 7)]
    shown = [[[picture.row for picture in kind] for kind in (ball.easiest, ball.hardest)] for ball in runs]
    assert shown[0] == shown[1] == shown[2]
    assert [len(rows) for rows in shown[0]] == [4, 0]  # every row was fooled


@pytest.mark.parametrize("attack", [PGD(ball=BALL, steps=5, keep=Keep.FIRST_SUCCESS), "illc"])
def test_a_row_does_not_depend_on_the_others(net, data, attack):
    places = torch.tensor([33, 2, 18, 7, 5, 29, 11])
    _, (whole,), _ = run(net, data, attack)
    _, (part,), _ = run(net, data[places], attack)
    assert part.verdicts == "".join(whole.verdicts[i] for i in places.tolist())
    alone = "".join(run(net, data[i : i + 1], attack)[1][0].verdicts for i in places.tolist())
    assert alone == part.verdicts


def test_noise_follows_the_row_ids(net, data):
    weak = PGD(ball=Linf(0.1), steps=0)  # the random start, looked at
    model = Classifier(nn.Sequential(net, nn.Softsign()))
    fresh = Dataset(data.x, data.y, classes=data.classes, name="toy")  # ids 0, 1, ...

    def starts(rows):
        class Spy:
            name = "spy"

            def __call__(self, model, x, y, **settings):
                result = weak(model, x, y, **settings)
                found.append(result.x)
                return result

        found = []
        run(model, rows, Spy(), batch_size=11)
        return torch.cat(found)

    whole, backwards, other = starts(data), starts(data[::-1]), starts(fresh)
    assert torch.equal(backwards.flip(0), whole)
    assert not torch.equal(other, whole)


class Scarce:
    """An attack that runs out of memory whenever it gets more than ``most`` rows."""

    name = "pgd"
    inner = PGD(ball=BALL, steps=5, keep=Keep.FIRST_SUCCESS)

    def __init__(self, most, error=torch.OutOfMemoryError):
        self.most, self.error, self.asked = most, error, []

    def __call__(self, model, x, y, **settings):
        self.asked.append(len(x))
        if len(x) > self.most:
            raise self.error("out of memory")
        return self.inner(model, x, y, **settings)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_means_fewer_rows_at_once(net, data, error):
    scarce = Scarce(8, error)
    found, (attack,), _ = run(net, data, scarce)
    direct, (known,), _ = run(net, data, Scarce.inner)
    assert found.threats[0].verdicts == direct.threats[0].verdicts
    assert (attack.forwards, attack.backwards) == (known.forwards, known.backwards)
    assert attack.distance == pytest.approx(known.distance, rel=1e-6)
    n = known.attacked
    assert scarce.asked[:4] == [n, n // 2, n // 4, n // 4]
    assert n // 4 <= 8
    assert sum(size for size in scarce.asked if size <= 8) == n  # every row once


def test_out_of_memory_with_one_row_ends_the_run(net, data):
    with pytest.raises(torch.OutOfMemoryError):
        run(net, data, Scarce(0))


def test_the_clean_rows_too_are_asked_in_parts_that_fit(net, data):
    class Small(nn.Module):
        def forward(self, x):
            if len(x) > 20:
                raise torch.OutOfMemoryError("out of memory")
            return net(x)

    found, (attack,), _ = run(Small(), data, "fgsm", draw=False)
    known, (direct,), _ = run(net, data, "fgsm", draw=False)
    assert found.clean == known.clean
    assert attack.verdicts == direct.verdicts


# Attacks that lie or err


def test_a_claim_is_not_believed(net, data):
    model, (attack,), found = run(net, data, Fake(still, success=torch.tensor(True), distance=torch.tensor(torch.nan)))
    assert set(attack.verdicts) == {"W", "H"}
    assert (attack.fooled, attack.distance) == (0, None)
    finding = found["Claims that were not confirmed"]
    assert finding.level == "warning"
    assert finding.evidence.startswith(f"{attack.attacked} rows that fake calls fooled")
    assert "Points outside ball or box" not in found
    assert model.threats[0].easiest == []


def test_modesty_is_not_believed_either(net, data, known):
    honest = {"backwards": torch.tensor(1), "distance": torch.tensor(torch.nan)}
    model, (attack,), found = run(net, data, Fake(sign_step(0.1), **honest))
    assert attack.verdicts == known
    assert attack.distance == pytest.approx(0.1, rel=1e-5)  # measured, not claimed
    assert all(picture.distance == pytest.approx(0.1, rel=1e-5) for picture in model.threats[0].easiest)
    assert set(found) == {"Few rows"}


@pytest.mark.parametrize("size", [512, 7])
def test_passes_that_an_attack_keeps_to_itself_are_told(net, data, size):
    def greedy(model, x, y):
        for _ in range(3):
            moved = sign_step(0.1)(model, x, y)
        return moved

    told = {"forwards": torch.tensor(1), "backwards": torch.tensor(2)}
    _, (attack,), found = run(net, data, Fake(greedy, **told), batch_size=size)
    # Three forwards are one more than the one it tells of and one to verify; three backwards are one more than two.
    finding = found["Passes that were not reported"]
    assert finding.level == "warning"
    assert finding.evidence == f"the meter saw {2 * attack.attacked} passes of rows more than fake accounts for"


def test_what_rides_along_in_a_batch_is_no_pass_that_was_hidden(net, data):
    class Wrapped:
        name = "wrapped"

        def __call__(self, *given, **settings):
            return PGD(ball=BALL, steps=5, keep=Keep.FIRST_SUCCESS)(*given, **settings)

    _, _, found = run(net, data, Wrapped(), limits=Limits(shrink_at=0.0))
    assert set(found) == {"Few rows"}


def test_an_attack_that_returns_something_else_is_refused(net, data):
    class Bare:
        name = "bare"

        def __call__(self, model, x, y, **settings):
            return x

    with pytest.raises(ArgumentTypeError, match="bare returned Tensor; it must return an AttackResult"):
        run(net, data, Bare())


@pytest.mark.parametrize("move", [sign_step(0.2), lambda model, x, y: x - 0.09], ids=["ball", "box"])
def test_points_that_stray_are_undefined_whatever_they_do(net, data, move):
    fake = Fake(move, success=torch.tensor(True))
    model, (attack,), found = run(net, data, fake)
    x = torch.cat(fake.given)
    point = move(Classifier(net), x, net(x).argmax(1))
    strays = ((point - x).abs() > 0.100002).flatten(1).any(1) | ((point < -1e-6) | (point > 1 + 1e-6)).flatten(1).any(1)
    assert bool(strays.any())
    assert attack.undefined == int(strays.sum())
    finding = found["Points outside ball or box"]
    assert finding.level == "error"
    assert finding.evidence == f"{int(strays.sum())} points that fake returned"
    assert found["Undefined rows"].level == "error"
    assert model.threats[0].worst.count == attack.verdicts.count("H")


def test_a_stray_point_is_no_unconfirmed_claim(net, data):
    _, (attack,), found = run(net, data, Fake(lambda model, x, y: 1 - x, success=torch.tensor(True)))
    assert set(attack.verdicts) == {"W", "U"}
    assert "Claims that were not confirmed" not in found


def test_an_attack_that_says_undefined_is_believed_unless_it_fooled(net, data, known):
    fake = Fake(sign_step(0.1), undefined=torch.tensor(True))
    _, (attack,), _ = run(net, data, fake)
    assert attack.verdicts == known.replace("H", "U")


def test_a_row_fooled_by_one_attack_is_fooled_though_another_leaves_it_undefined(net, data, known):
    class Other(Fake):
        name = "other"

    fooling, failing = Fake(sign_step(0.1)), Other(still, undefined=torch.tensor(True))
    for attacks in ((fooling, failing), (failing, fooling)):
        model, _, _ = run(net, data, *attacks)
        assert model.threats[0].verdicts == known.replace("H", "U")


# Models that fail


def test_a_model_of_nan_is_undefined_throughout(data):
    model, (attack,), found = run(ConstantModel(torch.full((4,), torch.nan)), data, "pgd")
    assert model.clean.count == 0
    assert attack.verdicts == model.threats[0].verdicts == "U" * len(data)
    assert (attack.attacked, attack.robust.count, attack.fooled) == (0, 0, 0)
    assert found["Undefined rows"].level == "error"


def test_nan_inside_the_ball_is_neither_fooled_nor_held(net, data):
    module = NaNModel(net, away_from(data.x))
    model, attacks, found = run(module, data, FGSM(ball=BALL), PGD(ball=BALL))
    sound, _, _ = run(net, data, "fgsm")
    assert model.clean == sound.clean
    for attack in attacks:
        assert set(attack.verdicts) == {"W", "U"}
    assert model.threats[0].worst.count == 0
    assert found["Undefined rows"].level == "error"


def test_nan_rows_leave_their_neighbours_alone(net, data):
    spoiled = [1, 8, 22]

    def where(x):
        near = (x.flatten(1)[:, None] - data.x[spoiled].flatten(1)).abs().amax(2) < 0.15
        return near.any(1)

    _, attacks, _ = run(NaNModel(net, where), data, "fgsm", "pgd")
    _, sound, _ = run(net, data, "fgsm", "pgd")
    for attack, known in zip(attacks, sound, strict=True):
        assert [i for i, letter in enumerate(attack.verdicts) if letter == "U"] == spoiled
        rest = [i for i in range(len(data)) if i not in spoiled]
        assert [attack.verdicts[i] for i in rest] == [known.verdicts[i] for i in rest]


# Attacks by callable


def test_an_attack_by_callable_is_judged_like_ours(net, data, known):
    def other_library(module, x, y):
        x = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(nn.functional.cross_entropy(module(x), y, reduction="sum"), x)
        return (x + 0.1 * grad.sign()).clamp(0, 1).detach()

    _, (attack,), found = run(net, data, FromCallable(function=other_library, ball=BALL))
    assert attack.verdicts == known
    assert (attack.name, attack.settings["function"].rpartition(".")[2]) == ("from-callable", "other_library")
    assert (attack.forwards, attack.backwards) == (attack.attacked, attack.attacked)
    assert set(found) == {"Few rows"}


def test_an_attack_by_callable_that_strays_is_refused(net, data):
    with pytest.raises(InputError, match="left the linf ball"):
        run(net, data, FromCallable(function=lambda module, x, y: 1 - x, ball=BALL))


# Targets


@pytest.mark.parametrize("target", ["least-likely", "random", "2"])
def test_a_row_is_fooled_only_by_becoming_its_target(net, data, target):
    ball, noise = Linf(0.3), Noise(0)
    model = Classifier(net)
    record, attacks, found = run(model, data, "pgd", "mi-fgsm", ball=ball, target=target)
    with torch.no_grad():
        logits = net(data.x)
    if target == "random":
        draw = noise.at(data.rows).child("target").uniform(torch.empty(len(data), 1)).squeeze(1)
        goal = (data.y + 1 + (draw * 3).long()) % 4
    else:
        goal = logits.argmin(1) if target == "least-likely" else torch.full_like(data.y, 2)
    assert any("F" in attack.verdicts for attack in attacks)
    for attack in attacks:
        for letter, wanted, label in zip(attack.verdicts, goal.tolist(), data.y.tolist(), strict=True):
            assert not (letter == "F" and wanted == label)
    names = dict(zip(data.rows.tolist(), goal.tolist(), strict=True))
    pictures = record.threats[0].easiest
    assert pictures
    assert all(picture.adversarial_prediction == data.classes[names[picture.row]] for picture in pictures)
    assert found["Targeted attacks"].level == "note"


def test_a_row_that_is_its_target_already_holds(net, data):
    with torch.no_grad():
        label = int(net(data.x).argmax(1).mode().values)
    vacuous = (data.y == label) & (net(data.x).argmax(1) == data.y)
    assert int(vacuous.sum()) > 3
    record, (attack,), found = run(net, data, "pgd", ball=Linf(0.3), target=str(label))
    letters = [letter for letter, same in zip(attack.verdicts, vacuous.tolist(), strict=True) if same]
    assert set(letters) == {"H"}
    assert "F" in attack.verdicts
    assert all(picture.label != data.classes[label] for picture in record.threats[0].easiest)
    ids = data.rows[vacuous].tolist()
    assert not {picture.row for picture in record.threats[0].hardest} & set(ids)  # nobody tried to fool them
    assert "Claims that were not confirmed" not in found


def test_targeted_robustness_is_no_less_than_untargeted(net, data):
    free, _, _ = run(net, data, "pgd", ball=Linf(0.2))
    bound, _, _ = run(net, data, "pgd", ball=Linf(0.2), target="least-likely")
    assert bound.threats[0].worst.count > free.threats[0].worst.count


def test_the_attack_that_chooses_its_own_target_takes_no_other(net, data):
    with pytest.raises(SettingError, match="ILLC steers to the least likely class"):
        run(net, data, "illc", target="2")


# Budgets


def test_limits_reach_every_attack(net, data):
    _, attacks, _ = run(net, data, "bim", "pgd", limits=Limits(forwards=3))
    assert all(attack.forwards <= 3 * attack.attacked for attack in attacks)
    _, free, _ = run(net, data, "bim", "pgd")
    assert all(attack.forwards > 3 * attack.attacked for attack in free)
