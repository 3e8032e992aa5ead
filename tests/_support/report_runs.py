"""Runs made by hand: two models, five attacks, two radii, findings of every level, pictures that Pillow draws."""

import dataclasses
from pathlib import Path

from saddlepoint.records import (
    AttackRecord,
    Cause,
    Concern,
    DataRecord,
    Diagnosis,
    Finding,
    FooledPicture,
    HeldPicture,
    ModelRecord,
    Passes,
    Probe,
    Rung,
    RunRecord,
    Share,
    ThreatRecord,
    Verdict,
    distances,
)

HOSTILE = "</script><script>alert(1)</script>[/red]"
ESCAPED = "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;[/red]"
ATTACKS = ("fgsm", "pgd", "apgd-ce", "fab", "square")


def wilson(count: int, rows: int) -> Share:
    """A share with its 95 % Wilson interval.

    >>> wilson(0, 0).value
    0.0
    """
    if not rows:
        return Share(count=count, rows=rows, low=0.0, high=1.0)
    z2, p = 1.959963984540054**2, count / rows
    middle, half = p + z2 / (2 * rows), (z2 * (p * (1 - p) / rows + z2 / (4 * rows**2))) ** 0.5
    scale = 1 + z2 / rows
    return Share(count=count, rows=rows, low=max(0.0, (middle - half) / scale), high=min(1.0, (middle + half) / scale))


def attack(name: str, held: int, right: int, rows: int, *, undefined: int = 0, eps: float = 0.3) -> AttackRecord:
    """One attack that left ``held`` of ``right`` rows standing."""
    fooled = right - held - undefined
    return AttackRecord(
        name=name,
        settings={"eps": eps, "steps": 40, "step_size": None, "random_start": True, "loss": "cross_entropy"},
        robust=wilson(held, rows),
        fooled=fooled,
        added=fooled // 2,
        undefined=undefined,
        attacked=right,
        forwards=40 * right,
        backwards=39 * right,
        distance=0.9 * eps if fooled else None,
        verdicts="H" * held + "F" * fooled + "U" * undefined + "W" * (rows - right),
        seconds=1.5,
    )


def threat(eps: float, held: list[int], right: int, rows: int, *, undefined: int = 0) -> ThreatRecord:
    """One ball with one attack per count; the last attack's undefined rows stay so in the worst case."""
    attacks = [attack(name, count, right, rows, eps=eps) for name, count in zip(ATTACKS, held, strict=False)]
    if undefined:
        attacks[-1] = attack(attacks[-1].name, held[-1], right, rows, undefined=undefined, eps=eps)
    worst = min(held, default=right)
    fooled = right - worst - undefined
    verdicts = "H" * worst + "F" * fooled + "U" * undefined + "W" * (rows - right)
    return ThreatRecord(
        norm="linf",
        eps=eps,
        attacks=attacks,
        worst=wilson(worst, rows),
        verdicts=verdicts,
        fooled_as=[8 if i % 3 else 3 for i in range(fooled)],
    )


def make_run(pictures: list[FooledPicture] | None = None, held: list[HeldPicture] | None = None) -> RunRecord:
    """Two models, five attacks, Linf eps 0.1 and 0.3, 2000 rows; the second model has undefined rows."""
    strong = ModelRecord(
        name="mnist-pgd",
        fingerprint="4f1c" * 16,
        parameters=207_018,
        classes=10,
        bounds=(0.0, 1.0),
        clean=wilson(1948, 2000),
        verdicts="H" * 1948 + "W" * 52,
        threats=[
            threat(0.1, [1912, 1902, 1900, 1901, 1908], 1948, 2000),
            threat(0.3, [1866, 1830, 1824, 1829, 1845], 1948, 2000),
        ],
    )
    weak = ModelRecord(
        name="mnist-standard",
        fingerprint="9ab0" * 16,
        parameters=207_018,
        classes=10,
        bounds=(0.0, 1.0),
        clean=wilson(1950, 2000),
        verdicts="H" * 1950 + "W" * 50,
        threats=[
            threat(0.1, [1320, 940, 921, 935, 1105], 1950, 2000),
            threat(0.3, [402, 0, 0, 2, 61], 1950, 2000, undefined=3),
        ],
    )
    strong.threats[-1].easiest.extend(pictures or [])
    strong.threats[-1].hardest.extend(held or [])
    return RunRecord(
        spec={
            "models": ["zoo:mnist-pgd", "zoo:mnist-standard"],
            "data": "mnist10k:test",
            "suite": None,
            "seed": 0,
        },
        command="saddlepoint evaluate zoo:mnist-pgd zoo:mnist-standard mnist10k:test --norm linf --eps 0.1 --eps 0.3",
        data=DataRecord(
            name="mnist10k:test",
            fingerprint="d00d" * 16,
            rows=2000,
            shape=[1, 28, 28],
            classes=[str(i) for i in range(10)],
            labels=[i % 10 for i in range(2000)],
            ids=list(range(2000)),
        ),
        models=[strong, weak],
        findings=findings(),
        environment={"saddlepoint": "0.1.0", "python": "3.11.9", "torch": "2.9.0", "device": "cpu", "threads": "2"},
        started="2026-01-05T09:30:00+00:00",
        seconds=222.4,
    )


def nearest(name: str, found: list[float | None], right: int, rows: int) -> AttackRecord:
    """One attack that found these smallest perturbations; None is an unsolved row, those after them are undefined."""
    solved = [distance for distance in found if distance is not None]
    undefined = right - len(found)
    letters = "".join("H" if distance is None else "F" for distance in found)
    letters += "U" * undefined + "W" * (rows - right)
    return dataclasses.replace(
        attack(name, found.count(None), right, rows, undefined=undefined),
        verdicts=letters,
        distances=distances(solved, found.count(None)),
    )


def reach(found: dict[str, list[float | None]], right: int, rows: int, eps: float | None = None) -> ThreatRecord:
    """An L2 ball with one attack per list; the worst case is the smallest of each place."""
    attacks = [nearest(name, each, right, rows) for name, each in found.items()]
    solved = [[d for d in place if d is not None] for place in zip(*found.values(), strict=True)]
    smallest = [min(place) if place else None for place in solved]
    worst = nearest("worst", smallest, right, rows)
    return ThreatRecord(
        norm="l2",
        eps=eps,
        attacks=attacks,
        worst=worst.robust,
        verdicts=worst.verdicts,
        fooled_as=[3] * worst.fooled,
        distances=worst.distances,
    )


def make_reach(eps: float | None = None) -> RunRecord:
    """Two models, DDN and FMN, 10 rows each: of the first one is unsolved, of the second one undefined."""
    run = make_run()
    ddn = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, None]
    fmn = [0.6, 0.9, None, None, None, None, 3.6, 4.0, None]
    strong = reach({"ddn": ddn, "fmn": fmn}, 9, 10, eps)
    weak = reach({"ddn": [0.1 * i for i in range(1, 9)], "fmn": [0.2] * 8}, 9, 10, eps)
    models = [
        dataclasses.replace(model, threats=[ball], clean=wilson(9, 10), verdicts="H" * 9 + "W")
        for model, ball in zip(run.models, (strong, weak), strict=True)
    ]
    data = dataclasses.replace(run.data, rows=10, labels=[i % 10 for i in range(10)], ids=list(range(10)))
    return dataclasses.replace(run, models=models, data=data, findings=[], command="saddlepoint evaluate ...")


def make_passes() -> RunRecord:
    """Two models of 10 rows, one of them wrong: four fooled after 2 to 90 passes, and all after 3."""
    run = make_reach(4.5)
    found = [Passes(attacks=["fgsm", "pgd"], held=5, most=90, found=[2, 90, 2, 21])]
    found.append(Passes(attacks=["fgsm", "pgd"], held=0, most=3, found=[3] * 9))
    for model, each in zip(run.models, found, strict=True):
        model.threats[0] = dataclasses.replace(model.threats[0], passes=each)
    return run


def make_diagnosis(verdict: Verdict = "do not cite", *causes: Cause, held: int = 31) -> Diagnosis:
    """One concern (none under "trust") and one sound probe, and five rungs of 32 rows down to ``held``."""
    concern: Concern = "none" if verdict == "trust" else verdict
    grave = Probe(
        name="gradient-free beats gradients",
        measured="Square with 1000 queries against PGD",
        evidence="27 of 30 rows fooled by it alone, 0 by the other alone",
        numbers={"rows": 30, "alone": 27, "other_alone": 0},
        concern=concern,
        cause=causes[0] if causes else None,
        remedy="Attack without gradients." if causes else "",
    )
    sound = dataclasses.replace(grave, name="more steps help", concern="none", cause=None, remedy="")
    counts = [32, 32, 32, 32, held]
    return Diagnosis(
        verdict=verdict,
        causes=list(causes),
        probes=[grave, sound],
        rungs=[
            Rung(eps=eps, held=wilson(count, 32), loss=-1.5)
            for eps, count in zip((0.075, 0.15, 0.3, 0.5477, 1.0), counts, strict=True)
        ],
        rows=60,
        compared=True,
        forwards=12345,
        backwards=678,
        seconds=4.2,
    )


def make_diagnosed() -> RunRecord:
    """The run of two models at two radii: masked, in doubt; sound twice."""
    run = make_run()
    found = [
        [make_diagnosis("do not cite", "masked gradients"), make_diagnosis("doubt", "weak attack", "saturated logits")],
        [make_diagnosis("trust", held=0), make_diagnosis("trust", held=0)],
    ]
    models = [
        dataclasses.replace(
            model,
            threats=[dataclasses.replace(t, diagnosis=d) for t, d in zip(model.threats, each, strict=True)],
        )
        for model, each in zip(run.models, found, strict=True)
    ]
    return dataclasses.replace(run, models=models, findings=[])


def findings() -> list[Finding]:
    """One finding of each level, the least severe first."""
    return [
        Finding(
            level="note",
            title="Few passes per row in one attack",
            evidence="fgsm spent 2 passes per row; the others spent 79 or more.",
            remedy="Nothing to do: fgsm is a single step by definition.",
        ),
        Finding(
            level="warning",
            title="A gradient-free attack does better than a gradient attack",
            evidence="square fooled 7 rows that pgd left standing, which can be a sign of masked gradients.",
            remedy="Add an adaptive attack, or run pgd with more steps and the margin loss.",
            model="mnist-pgd",
        ),
        Finding(
            level="error",
            title="Rows with an output that is not finite",
            evidence="3 of 2000 rows gave NaN logits under fab; they count as neither fooled nor robust.",
            remedy="Find out where the model overflows (try float64), then run the evaluation again.",
            model="mnist-standard",
        ),
    ]


def make_picture(
    row: int = 7, *, label: str = "7", adversarial: str = "3", stem: str = "pictures/7", attack: str = "apgd-ce"
) -> FooledPicture:
    """A record of three files ``<stem>-clean.png``, ``-adversarial.png`` and ``-difference.png``."""
    return FooledPicture(
        row=row,
        attack=attack,
        fooled_by=3,
        passes=41,
        label=label,
        clean_prediction=label,
        adversarial_prediction=adversarial,
        distance=0.3,
        clean=f"{stem}-clean.png",
        adversarial=f"{stem}-adversarial.png",
        difference=f"{stem}-difference.png",
        magnified=1.67,
    )


def make_held(row: int = 9, *, label: str = "5", stem: str = "pictures/9", attack: str = "fab") -> HeldPicture:
    """A record of the file ``<stem>-held.png``."""
    return HeldPicture(row=row, attack=attack, label=label, room=12.3, clean=f"{stem}-held.png")


def hostile(run: RunRecord) -> RunRecord:
    """The run with a hostile string wherever a user's string can stand."""
    pictures = [make_picture(label=HOSTILE, adversarial=HOSTILE, stem=HOSTILE, attack=HOSTILE)]
    held = [make_held(label=HOSTILE, stem=HOSTILE, attack=HOSTILE)]
    model = dataclasses.replace(run.models[0], name=HOSTILE)
    ball = dataclasses.replace(model.threats[-1], easiest=pictures, hardest=held)
    named = [dataclasses.replace(attack, name=HOSTILE, settings={HOSTILE: HOSTILE}) for attack in ball.attacks]
    probe = Probe(
        name=HOSTILE, measured=HOSTILE, evidence=HOSTILE, numbers={HOSTILE: 1.0}, concern="doubt", remedy=HOSTILE
    )
    diagnosis = dataclasses.replace(make_diagnosis("doubt"), probes=[probe])
    ball = dataclasses.replace(ball, attacks=named, diagnosis=diagnosis)
    return dataclasses.replace(
        run,
        models=[dataclasses.replace(model, threats=[model.threats[0], ball])],
        data=dataclasses.replace(run.data, name=HOSTILE, classes=[HOSTILE]),
        findings=[
            dataclasses.replace(f, title=HOSTILE, evidence=HOSTILE, remedy=HOSTILE, model=HOSTILE) for f in findings()
        ],
        environment={HOSTILE: HOSTILE},
        spec={HOSTILE: HOSTILE},
        command=HOSTILE,
    )


def draw(folder: Path, picture: FooledPicture | HeldPicture) -> None:
    """Write the files of a picture, 4 by 4 gray pixels each."""
    from PIL import Image

    for kind, gray in (("clean", 0), ("adversarial", 90), ("difference", 128)):
        if name := getattr(picture, kind, ""):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), gray).save(path)
