"""Probes that set one attack against another on the same rows."""

from collections.abc import Iterator

from saddlepoint.evaluation.diagnostics.battery import DRAWS, MORE, QUERIES, RESTARTS, STEPS
from saddlepoint.evaluation.diagnostics.evidence import SOME, Measured
from saddlepoint.records import Cause, Concern, Probe

_BLIND = "Attack without gradients (square with 5,000 queries or more), through a smooth stand-in, or by transfer."
_SATURATED = "Attack the margin, or the ratio of logit differences (apgd): neither dies where the softmax is full."
_WEAK = "Give the attack more steps and restarts, until neither helps; then run the suite autoattack."


def duels(seen: Measured) -> Iterator[Probe]:
    """Every comparison of two attacks."""
    yield _one_step(seen)
    yield _losses(seen)
    yield _duel(seen, "gradient-free beats gradients", "square", f"Square with {QUERIES} queries", seen.blindness)
    yield _duel(seen, "random search beats gradients", "random", f"{DRAWS} uniform draws", seen.blindness)
    if "twin" in seen.attacks:
        yield _duel(seen, "transfer beats gradients", "twin", f"PGD, {STEPS} steps on the twin", seen.blindness)
    yield _further(seen, "more steps help", "more", f"{MORE} steps more")
    yield _further(seen, "more restarts help", "restarts", f"{RESTARTS} starts more")


def _one_step(seen: Measured) -> Probe:
    """FGSM against PGD, for the loss where it looks worse."""
    pairs = [seen.versus(f"fgsm-{loss}", f"pgd-{loss}") for loss in ("ce", "margin")]
    worse = max(pairs, key=lambda pair: (pair.beats, pair.first - pair.second))
    said = "; ".join(f"{name}: {pair}" for name, pair in zip(("cross-entropy", "margin"), pairs, strict=True))
    numbers = {
        f"{loss}_{key}": value
        for loss, pair in zip(("ce", "margin"), pairs, strict=True)
        for key, value in pair.numbers.items()
    }
    return Probe(
        name="one step beats many",
        measured=f"FGSM against PGD with {STEPS} steps, on both losses",
        evidence=said,
        numbers=numbers,
        concern=worse.concern,
        cause=seen.blindness if worse.beats else None,
        remedy=_BLIND if worse.beats else "",
    )


def _losses(seen: Measured) -> Probe:
    """The margin against the cross-entropy, and whether the rows that make the difference have no gradient there."""
    pair = seen.versus("pgd-margin", "pgd-ce")
    held = ~seen.fooled("pgd-ce") & seen.moving
    dead = held & seen.flag("flat_ce") & ~seen.flag("flat_margin")
    share = int(dead.sum()) / max(1, int(held.sum()))
    full = pair.first > pair.second and int(dead.sum()) >= max(2, SOME * len(seen)) and share >= SOME
    concern: Concern = pair.concern
    if full and share >= 0.5:
        concern = "do not cite"
    elif full and concern == "none":
        concern = "doubt"
    cause: Cause | None = "saturated logits" if full else "weak attack" if concern != "none" else None
    return Probe(
        name="cross-entropy falls behind",
        measured=f"PGD with {STEPS} steps on the margin against the same on the cross-entropy",
        evidence=f"{pair}; of {int(held.sum())} rows that cross-entropy leaves standing, {int(dead.sum())} have a "
        "gradient of exactly zero there, and not on the margin",
        numbers={**pair.numbers, "left": int(held.sum()), "dead": int(dead.sum())},
        concern=concern,
        cause=cause,
        remedy=_SATURATED if cause else "",
    )


def _duel(seen: Measured, name: str, attack: str, called: str, cause: Cause) -> Probe:
    """An attack that does without the model's gradients against the better run of PGD."""
    pair = seen.versus(attack, seen.best)
    return Probe(
        name=name,
        measured=f"{called} against PGD with {STEPS} steps on the {_loss(seen.best)}",
        evidence=str(pair),
        numbers=pair.numbers,
        concern=pair.concern,
        cause=cause if pair.beats else None,
        remedy=_BLIND if pair.beats else "",
    )


def _further(seen: Measured, name: str, attack: str, called: str) -> Probe:
    """The better run of PGD against itself, continued on the rows that it left standing."""
    pair = seen.versus(attack, seen.best)
    return Probe(
        name=name,
        measured=f"{called} of PGD on the {_loss(seen.best)}, on the rows that {STEPS} steps left standing",
        evidence=f"{pair.first} of {pair.held} rows left standing fall, of {pair.rows}",
        numbers={"rows": pair.rows, "left": pair.held, "fallen": pair.first},
        concern=pair.concern,
        cause="weak attack" if pair.beats else None,
        remedy=_WEAK if pair.beats else "",
    )


def _loss(attack: str) -> str:
    return "margin" if attack.endswith("margin") else "cross-entropy"
