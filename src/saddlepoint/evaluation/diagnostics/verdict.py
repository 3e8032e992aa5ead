"""From what was measured to probes, causes and a verdict; next to a run's verdicts, where there are some."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from saddlepoint.evaluation.diagnostics.battery import LETTERS
from saddlepoint.evaluation.diagnostics.evidence import Measured, held_by
from saddlepoint.evaluation.diagnostics.sample import LEAST
from saddlepoint.evaluation.diagnostics.signals import asked_twice, signals, undefined
from saddlepoint.evaluation.diagnostics.strength import duels
from saddlepoint.records import HELD, Cause, Concern, Diagnosis, Probe, Rung, Verdict, wilson

_ORDER: tuple[Concern, ...] = ("none", "doubt", "do not cite")
_NUMBER_ITSELF = ("random output", "undefined rows")  # causes that no stronger attack mends
_CALLED = {"more": "pgd with more steps", "restarts": "pgd with restarts", "random": "random draws", "twin": "transfer"}
_FAR = 0.02  # of the rows: what a run may have missed before it is said


def conclude(found: Mapping[str, Tensor], letters: str | None = None) -> Diagnosis:
    """The diagnosis of what :func:`measure` returned.

    Args:  letters: verdicts of a run, one for each row of the data set. With them the question is whether that run's
        attacks got as far as every probe; without, whether PGD on the cross-entropy would.
    """
    seen = Measured(found, letters)
    probes = _probes(seen) if len(seen) else []
    probes = [_few(seen), *probes] if len(seen) < LEAST else probes
    forwards, backwards = found["passes"].tolist()
    return Diagnosis(
        verdict=_verdict(probes),
        causes=list(dict.fromkeys(probe.cause for probe in probes if probe.cause and probe.concern != "none")),
        probes=probes,
        rungs=_rungs(seen) if len(seen) else [],
        rows=len(seen),
        compared=letters is not None,
        forwards=forwards,
        backwards=backwards,
        seconds=round(float(found["seconds"]), 3),
    )


def _probes(seen: Measured) -> list[Probe]:
    """All of them; of a random model only what does not compare two answers counts."""
    itself, others = [asked_twice(seen), undefined(seen)], [*duels(seen), *signals(seen)]
    if seen.random:
        others = [replace(probe, concern="none", cause=None, remedy="") for probe in others]
    elif seen.letters is not None:
        mine = _of_run(seen, seen.letters, others)
        others = [mine, *(_capped(probe, most) for most in [_most(seen, seen.letters, mine)] for probe in others)]
    return sorted([*itself, *others], key=lambda probe: -_ORDER.index(probe.concern))


def _of_run(seen: Measured, letters: str, others: list[Probe]) -> Probe:
    """Rows that the run calls held and a probe fools: each one is proof that its attacks were too weak."""
    held = held_by(letters, seen.found["rows"])
    broken = held & seen.any_fooled(seen.attacks)
    n, before, count = len(seen), int(held.sum()), int(broken.sum())
    by = [_CALLED.get(name, name) for name in seen.attacks if bool((broken & seen.any_fooled([name])).any())]
    concern: Concern = "none"
    if count > max(1, _FAR * n):
        concern = "do not cite" if (before - count) / n < wilson(before, n).low else "doubt"
    cause = next((p.cause for p in others if p.cause and p.concern == "do not cite"), None) or "weak attack"
    return Probe(
        name="rows that the run calls held",
        measured="the run's verdicts against those of every probe, on the same rows",
        evidence=f"the run calls {before} of {n} rows held; probes fool {count} of them"
        + (f" ({', '.join(by)})" if by else ""),
        numbers={"rows": n, "held": before, "fooled": count},
        concern=concern,
        cause=None if concern == "none" else cause,
        remedy="" if concern == "none" else f"Add to the run what fooled them: {', '.join(by)}.",
    )


def _most(seen: Measured, letters: str, mine: Probe) -> dict[Cause | None, Concern]:
    """How grave each cause can be next to a run that got as far as the probes: its own attacks are what counts.

    Where no row is left standing, no attack can lower the number. Where gradients are blind, what is left rests on
    attacks without them alone, which find less.
    """
    if mine.concern != "none":
        return {}
    standing = bool(held_by(letters, seen.found["rows"]).any())
    blind: Concern = "doubt" if standing else "none"
    return {
        "masked gradients": blind, "quantised input": blind, "saturated logits": "none", "weak attack": "none"
    }  # fmt: skip


def _capped(probe: Probe, most: dict[Cause | None, Concern]) -> Probe:
    """A probe's concern, lowered where the run's own attacks got past what it found."""
    cap = most.get(probe.cause, probe.concern)
    if _ORDER.index(cap) >= _ORDER.index(probe.concern):
        return probe
    said = f"{probe.evidence}. The run's own attacks got as far as every probe on these rows."
    if cap == "none":
        return replace(probe, concern=cap, cause=None, remedy="", evidence=said)
    return replace(probe, concern=cap, evidence=said)


def _few(seen: Measured) -> Probe:
    return Probe(
        name="too few rows",
        measured="the rows that are right when clean",
        evidence=f"{len(seen)} rows; on fewer than {LEAST} no difference is beyond chance",
        numbers={"rows": len(seen)},
        concern="doubt",
        remedy="Diagnose at least 100 rows.",
    )


def _verdict(probes: list[Probe]) -> Verdict:
    worst = max((_ORDER.index(probe.concern) for probe in probes), default=0)
    verdicts: tuple[Verdict, ...] = ("trust", "doubt", "do not cite")
    return verdicts[worst]


def _rungs(seen: Measured) -> list[Rung]:
    codes, loss = seen.found["rungs.codes"], seen.found["rungs.loss"].double()
    return [
        Rung(
            eps=float(f"{eps:.9g}"),
            held=wilson(int((each == LETTERS.index(HELD)).sum()), len(each)),
            loss=float(f"{median:.6g}") if (median := float(some.median())) - median == 0 else None,
        )
        for eps, each, some in zip(seen.found["rungs.eps"].tolist(), codes, loss, strict=True)
    ]
