"""Probes of what attacks follow: losses against eps, gradients that are zero, logits that do not move or repeat."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from saddlepoint.evaluation.diagnostics.battery import AT_EPS, LETTERS, RUNG_STEPS
from saddlepoint.evaluation.diagnostics.evidence import LEVEL, LOUD, SOME, Measured, tail
from saddlepoint.evaluation.diagnostics.looks import TINY
from saddlepoint.records import FOOLED, UNDEFINED, Concern, Probe

_FREE = "Attack without gradients (square), or through a smooth stand-in for what blocks them (BPDA)."


def signals(seen: Measured) -> Iterator[Probe]:
    """Every probe of one model on its own."""
    yield _box(seen)
    yield _rising(seen)
    yield _stuck(seen)
    yield _zero(seen)
    yield _pieces(seen)


def _box(seen: Measured) -> Probe:
    """The whole box as the ball: a row of another class is in it, if the model gives more than one answer at all."""
    codes = seen.found["rungs.codes"][-1]
    some = seen.moving[: len(codes)]
    n, left = int(some.sum()), int((some & (codes != LETTERS.index(FOOLED))).sum())
    several = int(seen.found["answers"]) > 1
    bad = several and left >= max(2, SOME * n)
    concern: Concern = "none" if not bad else "do not cite" if left >= 0.5 * n else "doubt"
    why = "where every row can become any other" if several else "where nobody has seen the model answer otherwise"
    return Probe(
        name="the whole box is not enough",
        measured=f"PGD with {RUNG_STEPS} steps on the margin, from the input, in a ball as wide as the box",
        evidence=f"{left} of {n} rows that move in the ball hold at eps {float(seen.found['rungs.eps'][-1]):.4g}, "
        f"{why}",
        numbers={"rows": n, "held": left},
        concern=concern,
        cause=seen.blindness if bad else None,
        remedy=_FREE if bad else "",
    )


def _rising(seen: Measured) -> Probe:
    """A larger ball holds the smaller one, so the loss in it cannot be lower, unless the attack is lost."""
    loss, eps = seen.found["rungs.loss"].double(), seen.found["rungs.eps"]
    some = seen.moving[: loss.shape[1]]
    pairs = [_steps(low[some], high[some]) for low, high in pairwise(loss)]
    falls = [tail(down, down + up) < LEVEL for up, down in pairs]
    up, down = max(pairs, key=lambda pair: pair[1] - pair[0], default=(0, 0))
    rise = _steps(loss[0][some], loss[-1][some])[0] if len(loss) else 0
    n = int(some.sum())
    flat = n >= 2 and rise <= 0.5 * n
    said = ", ".join(f"{_median(each):.3g} at {e:.4g}" for e, each in zip(eps.tolist(), loss, strict=True))
    bad = flat or any(falls)
    return Probe(
        name="the loss does not rise with eps",
        measured=f"the margin that PGD with {RUNG_STEPS} steps from the input reaches, at {len(eps)} radii",
        evidence=f"median {said}; from the first to the last it rises on {rise} of {n} rows that move; at worst it "
        f"rises on {up} and falls on {down} from one radius to the next",
        numbers={"rows": n, "rise": rise, "up": up, "down": down},
        concern="do not cite" if flat else "doubt" if bad else "none",
        cause=seen.blindness if bad else None,
        remedy=_FREE if bad else "",
    )


def _stuck(seen: Measured) -> Probe:
    """Rows whose loss gradient steps do not raise at all, although something in the ball moves their logits."""
    loss, codes = seen.found["rungs.loss"][AT_EPS], seen.found["rungs.codes"][AT_EPS]
    start, some = seen.found["margin"][: len(loss)], seen.moving[: len(loss)]
    still = some & (loss <= start + 1e-6 * start.abs()) & (codes != LETTERS.index(FOOLED))
    n, count = int(some.sum()), int(still.sum())
    bad = count >= max(2, SOME * len(loss))
    return Probe(
        name="rows whose loss never moved",
        measured=f"the margin before and after {RUNG_STEPS} steps of PGD on it from the input, at eps",
        evidence=f"{count} of {n} rows that move in the ball stay where they are; {len(loss) - n} rows do not move in "
        "the ball at all",
        numbers={"rows": n, "still": count, "constant": len(loss) - n},
        concern="none" if not bad else "do not cite" if count >= 0.5 * len(loss) else "doubt",
        cause=seen.blindness if bad else None,
        remedy=_FREE if bad else "",
    )


def _zero(seen: Measured) -> Probe:
    """Gradients of exactly zero on rows that gradients left standing, and that move; cross-entropy alone is a duel."""
    ce, margin = (int((seen.flag(name) & seen.moving).sum()) for name in ("flat_ce", "flat_margin"))
    held = ~seen.any_fooled(["pgd-ce", "pgd-margin"])
    count = int((seen.flag("flat_margin") & seen.moving & held).sum())
    bad = count >= max(2, SOME * len(seen))
    return Probe(
        name="gradients of exactly zero",
        measured="the input gradients of both losses at the input",
        evidence=f"of {int(seen.moving.sum())} rows that move in the ball, {ce} have none on the cross-entropy and "
        f"{margin} none on the margin; {count} of these PGD leaves standing",
        numbers={"rows": int(seen.moving.sum()), "ce": ce, "margin": margin, "standing": count},
        concern="none" if not bad else "do not cite" if count >= 0.5 * len(seen) else "doubt",
        cause=seen.blindness if bad else None,
        remedy=_FREE if bad else "",
    )


def _pieces(seen: Measured) -> Probe:
    """A quantised input; a concern only where gradients do not pass through it."""
    told, stepped = int((seen.moving & seen.flag("told")).sum()), int(seen.stepped.sum())
    blind = seen.stepped & seen.flag("flat_margin") & ~seen.any_fooled(["pgd-ce", "pgd-margin"])
    bad = seen.quantised and int(blind.sum()) >= max(2, SOME * len(seen))
    return Probe(
        name="small steps change nothing",
        measured=f"random steps of {TINY:g} of the width of the bounds, and of the size of the ball",
        evidence=f"of {told} rows that the small steps must move by the slope of the large ones, {stepped} stay as "
        f"they are, bit for bit; PGD leaves {int(blind.sum())} of them standing without a gradient",
        numbers={"rows": told, "stepped": stepped, "blind": int(blind.sum())},
        concern="none" if not bad else "do not cite" if int(blind.sum()) >= 0.5 * len(seen) else "doubt",
        cause="quantised input" if bad else None,
        remedy=_FREE if bad else "",
    )


def asked_twice(seen: Measured) -> Probe:
    """A model that is random at inference."""
    change = seen.found["change"]
    count = int((change > 0).sum())
    return Probe(
        name="another answer to the same input",
        measured="the logits of every row, asked for twice",
        evidence=f"they differ on {count} of {len(seen)} rows, by up to {_finite(change.max()):.3g} where the median "
        f"spread of a row's logits is {_median(seen.found['scale']):.3g}",
        numbers={"rows": len(seen), "differ": count, "largest": _finite(change.max())},
        concern="do not cite" if seen.noise > LOUD else "doubt" if seen.random else "none",
        cause="random output" if seen.random else None,
        remedy="Switch the randomness off, or attack gradients averaged over many draws and judge by the majority."
        if seen.random
        else "",
    )


def undefined(seen: Measured) -> Probe:
    """Rows whose output was not finite under any probe."""
    hit = (seen.found["rungs.codes"] == LETTERS.index(UNDEFINED)).any(0).tolist()
    hit += [False] * (len(seen) - len(hit))
    for attack in seen.attacks:
        for place, bad in enumerate(seen.undefined(attack).tolist()):
            hit[place] |= bad
    count = sum(hit)
    return Probe(
        name="rows that are undefined",
        measured="outputs that are not finite, under every probe",
        evidence=f"{count} of {len(seen)} rows",
        numbers={"rows": len(seen), "undefined": count},
        concern="do not cite" if count else "none",
        cause="undefined rows" if count else None,
        remedy="Find out where the model returns NaN or infinity; then attack again." if count else "",
    )


def _steps(low: Tensor, high: Tensor) -> tuple[int, int]:
    """Rows whose loss rises, and falls, by more than rounding."""
    slack = 1e-5 * (low.abs() + high.abs())
    return int((high > low + slack).sum()), int((high < low - slack).sum())


def _median(values: Tensor) -> float:
    return _finite(values.median()) if len(values) else 0.0


def _finite(value: Tensor) -> float:
    return float(value.double().nan_to_num(0.0, 1e300, -1e300))
