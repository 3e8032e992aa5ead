"""A model behind transforms is attacked by one who does not know of them, by some who do, and without gradients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, final

from saddlepoint.attacks import EOT, PGD, AdvGANAttack, HopSkipJump, Square, Transferred, Universal
from saddlepoint.balls import L1, L2, Ball, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError, shown
from saddlepoint.records import Role
from saddlepoint.result import Keep
from saddlepoint.solve import Attack, IterativeAttack

_MADE_ELSEWHERE = (AdvGANAttack, Transferred, Universal)  # their points do not depend on the model that is attacked


@final
@dataclass(frozen=True, kw_only=True)
class Against:
    """How models behind transforms are attacked, beside what was asked for.

    Args:  draws: over which looks are averaged where a transform is random;  queries: of the attack without gradients.

    Raises:  SettingError if one of them is no integer >= 1.
    """

    draws: int = 10
    queries: int = 1000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name}={shown(value)} must be an integer >= 1")


@final
@dataclass(frozen=True, kw_only=True)
class Part:
    """An attack of a plan.

    Args:
        role: what it knows of the transforms in front of a model; empty where there are none.
        alone: in a suite, no member of it: it sees all rows that are right when clean.
    """

    attack: Attack
    role: Role = ""
    alone: bool = False


def parts(
    model: Classifier, ball: Ball, attacks: Sequence[Attack], against: Against | None, *, suite: bool
) -> list[Part]:
    """What is run on a model inside a ball: what was asked for, and, behind transforms, what it is to be compared with.

    The oblivious attack is the first that was asked for and takes gradient steps, else PGD; the same is run through the
    transforms, too. It goes on after its first success, which on the bare model says little; so do attacks through
    random transforms.
    """
    if not model.stages or against is None:
        return [Part(attack=attack) for attack in attacks]
    draws = against.draws if model.random else 1
    known = [attack for attack in attacks if isinstance(attack, IterativeAttack) and attack.needs_gradient]
    steps = known[0] if known else PGD(ball=ball, keep=Keep.FIRST_SUCCESS) if math.isfinite(float(ball.eps)) else None
    found = [Part(attack=_through(each, draws), role="adaptive" if suite else _role(each)) for each in attacks]
    first, last = [], []
    if steps is not None:
        unaware = Transferred(attack=_whole(steps), surrogate=model.bare, source="the bare model")
        first = [Part(attack=unaware, role="oblivious", alone=True)]
        if not known:
            first.append(Part(attack=_through(steps, draws), role="adaptive", alone=True))
    blind = None if any(part.role == "gradient-free" for part in found) else _without_gradients(ball, against.queries)
    if blind is not None:
        last = [Part(attack=_through(blind, draws), role="gradient-free", alone=True)]
    return [*first, *found, *last]


def _role(attack: Attack) -> Role:
    """What an attack knows of the transforms. A member of a suite goes on where others stopped, and has none alone."""
    if isinstance(attack, _MADE_ELSEWHERE):
        return "oblivious"
    return "gradient-free" if _blind(attack) else "adaptive"


def _through(attack: Attack, draws: int) -> Attack:
    """The attack on means over draws, unless it takes some of its own, or looks at no draw at all.

    It goes on after its first success: a point that barely fools the mean of the draws at hand is fooled by half of all
    others.
    """
    if draws > 1 and not _averages(attack) and not isinstance(attack, _MADE_ELSEWHERE):
        return EOT(attack=_whole(attack), draws=draws)
    return attack


def _whole(attack: Any) -> Any:  # noqa: ANN401 (of the same class)
    """The attack, or the one inside it, on every row to the end."""
    if isinstance(attack, IterativeAttack):
        return replace(attack, keep=Keep.MAX_LOSS) if attack.keep is Keep.FIRST_SUCCESS else attack
    if not is_dataclass(attack) or isinstance(attack, type) or not hasattr(attack, "attack"):
        return attack
    return replace(attack, attack=_whole(attack.attack))


def _averages(attack: object) -> bool:
    return isinstance(attack, EOT) or (hasattr(attack, "attack") and _averages(attack.attack))


def _blind(attack: object) -> bool:
    """Whether an attack, or all inside it, takes no gradients."""
    inside = getattr(attack, "attacks", None) or [
        each for each in [getattr(attack, "attack", None)] if each is not None
    ]
    if inside:
        return all(map(_blind, inside))
    return isinstance(attack, IterativeAttack) and not (attack.needs_gradient or attack.needs_graph)


def _without_gradients(ball: Ball, queries: int) -> Attack | None:
    """One that asks about so often; none where the package has none for the norm: L0, and L1 without a radius."""
    if math.isinf(float(ball.eps)):
        if not isinstance(ball, Linf | L2):
            return None
        return HopSkipJump(ball=ball, steps=max(1, round((queries / 70) ** (2 / 3))))  # about 70 t**1.5 in t steps
    return Square(ball=ball, steps=queries, keep=Keep.FIRST_SUCCESS) if isinstance(ball, Linf | L2 | L1) else None
