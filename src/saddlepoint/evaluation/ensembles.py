"""Suites: attacks by one name, each run on what those before it left standing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks import APGD, EOT, FAB, Cascade, EachTarget, Restarts, Square
from saddlepoint.attacks._turns import ball_of
from saddlepoint.balls import L1, L2, Ball, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, SettingError, shown, unknown
from saddlepoint.losses import difference_of_logits_ratio, margin
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult, Keep
from saddlepoint.solve import Attack


@final
@dataclass(frozen=True, kw_only=True)
class Member:
    """An attack under the name that it has in a suite.

    Args:  name: what reports call it, and what its random draws depend on;  attack: it keeps its first success.
    """

    name: str
    attack: Attack

    @property
    def ball(self) -> Ball:
        """That of the attack."""
        return ball_of(self.attack)

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack."""
        return self.attack(model, x, y, target=target, noise=noise, limits=limits)


@final
@dataclass(frozen=True)
class Suite:
    """Attacks by one name.

    Args:
        name: a name that can be cited: the same name is the same attacks, with the same settings, for ever.
        about: one line.
        members: the attacks inside a ball, in order.
    """

    name: str
    about: str
    members: Callable[[Ball], Sequence[Attack]]


def autoattack(ball: Ball) -> list[Member]:
    """APGD on cross-entropy, APGD and FAB towards the likeliest wrong classes, Square.

    Args:  ball: Linf, L2 or L1; in L1 as published for it: five starts and a wide one, five classes in place of nine.
    Source:  Croce & Hein 2020, arXiv:2003.01690, section 6, the version "standard"; L1: arXiv:2103.01208.
    Departs:  members are this package's: see the departures of each. A row leaves at its first success.
    """
    first, thin = Keep.FIRST_SUCCESS, isinstance(ball, L1)
    plain = APGD(ball=ball, keep=first, wide_start=thin)
    ratio = APGD(ball=ball, keep=first, loss=difference_of_logits_ratio, wide_start=thin)
    classes = 5 if thin else 9
    return [
        Member(name="apgd-ce", attack=Restarts(attack=plain, times=5) if thin else plain),
        Member(name="apgd-t", attack=EachTarget(attack=ratio, classes=classes)),
        Member(name="fab-t", attack=EachTarget(attack=FAB(ball=ball, keep=first), classes=classes)),
        Member(name="square", attack=Square(ball=ball, keep=first)),
    ]


def plus(ball: Ball) -> list[Member]:
    """APGD on cross-entropy and on the ratio of logit differences, FAB, each from five starts; then as the standard.

    Args:  ball: Linf, L2 or L1; nine classes in each, and in L1 a wide start.
    Source:  Croce & Hein 2020, arXiv:2003.01690, the authors' version "plus".
    Departs:  as :func:`autoattack`; FAB starts at x0, then four times at a random point at a distance of eps / 2.
    """
    first, thin = Keep.FIRST_SUCCESS, isinstance(ball, L1)
    plain = APGD(ball=ball, keep=first, wide_start=thin)
    ratio = replace(plain, loss=difference_of_logits_ratio)
    fab = FAB(ball=ball, keep=first)
    again = Restarts(attack=replace(fab, random_start=True), times=4)
    return [
        Member(name="apgd-ce", attack=Restarts(attack=plain, times=5)),
        Member(name="apgd-dlr", attack=Restarts(attack=ratio, times=5)),
        Member(name="fab", attack=Cascade(attacks=(fab, again))),
        Member(name="square", attack=Square(ball=ball, keep=first)),
        Member(name="apgd-t", attack=EachTarget(attack=ratio)),
        Member(name="fab-t", attack=EachTarget(attack=fab)),
    ]


def rand(ball: Ball) -> list[Member]:
    """APGD on cross-entropy and on the ratio of logit differences; every look is a mean over 20 draws of the model.

    Args:  ball: Linf, L2 or L1.
    Source:  Croce & Hein 2020, arXiv:2003.01690, the authors' version "rand", for models that are random.
    Departs:  as :func:`autoattack`; a row is fooled where the mean logits say so, and again on fresh draws, where the
        authors go by the last draw alone; then one more draw, the judge's, decides.
    """
    plain = APGD(ball=ball, keep=Keep.FIRST_SUCCESS, wide_start=isinstance(ball, L1))
    ratio = replace(plain, loss=difference_of_logits_ratio)
    return [
        Member(name="apgd-ce", attack=EOT(attack=plain)),
        Member(name="apgd-dlr", attack=EOT(attack=ratio)),
    ]


def cascade(ball: Ball) -> list[Member]:
    """Short strong attacks first; then windows, which go on only where a row comes near the boundary.

    Five starts of 25 steps of APGD on the margin, 50 towards each of the four likeliest wrong classes, three runs of
    2,000 steps of Square that give up hopeless rows. Rows without a gradient leave APGD after one look, so that on a
    model of dead gradients nearly all passes are Square's.

    Args:  ball: Linf, L2 or L1.
    Source:  this package; tuned on training rows, and on no model that its benchmark names. It is not AutoAttack.
    """
    first, thin = Keep.FIRST_SUCCESS, isinstance(ball, L1)
    near = APGD(ball=ball, keep=first, loss=margin, steps=25, leave_flat=True)
    ratio = APGD(ball=ball, keep=first, loss=difference_of_logits_ratio, steps=50, wide_start=thin, leave_flat=True)
    windows = Square(ball=ball, keep=first, steps=2000, rescale=True, patience=2.0)
    return [
        Member(name="apgd-margin", attack=Restarts(attack=near, times=5)),
        Member(name="apgd-likeliest", attack=EachTarget(attack=ratio, classes=4)),
        Member(name="square-patient", attack=Restarts(attack=windows, times=3)),
    ]


CASCADE = "cascade-1"
"""The newest cascade; a change of its members takes a new number."""

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in [
        Suite(CASCADE, "short APGD and Square, longer where rows are close; the default, not AutoAttack", cascade),
        Suite("autoattack", "APGD-CE, APGD-T, FAB-T, Square: the members of AutoAttack's standard version", autoattack),
        Suite("autoattack-plus", "APGD-CE, APGD-DLR and FAB five times, Square, APGD-T, FAB-T: its version plus", plus),
        Suite(
            "autoattack-rand", "APGD-CE and APGD-DLR on means over 20 draws, for random models: its version rand", rand
        ),
    ]
}
"""Every suite by its name."""


def as_suite(suite: str | Suite, target: str, balls: Sequence[Ball] = ()) -> Suite:
    """The suite of that name; "cascade" is the newest of its versions.

    Raises:
        SpecError: for an unknown name.
        SettingError: if rows are to reach a target: members choose aims of their own; or if a ball has no radius.
    """
    if isinstance(suite, str):
        suite = CASCADE if suite == "cascade" else suite
        if suite not in SUITES:
            raise unknown("suite", suite, SUITES)
        suite = SUITES[suite]
    if not isinstance(suite, Suite):
        raise ArgumentTypeError(f"suite={shown(suite)} must be the name of a suite, such as {next(iter(SUITES))!r}")
    if target != "none":
        raise SettingError(
            f"target={target!r} does not go with the suite {suite.name}, whose members choose their aims; "
            "leave the target out, or give attacks in place of the suite"
        )
    if any(map(_endless, balls)):
        raise SettingError(f"the suite {suite.name} needs a radius in input units, such as eps 8/255; give one")
    return suite


def usual(target: str, balls: Sequence[Ball]) -> Suite | None:
    """What is run where nothing was asked for: the cascade; None where it cannot be run: a target, L0, no radius."""
    fit = all(isinstance(ball, Linf | L2 | L1) and not _endless(ball) for ball in balls)
    return SUITES[CASCADE] if fit and target == "none" else None


def _endless(ball: object) -> bool:
    return isinstance(ball, Ball) and not isinstance(ball.eps, Tensor) and math.isinf(ball.eps)
