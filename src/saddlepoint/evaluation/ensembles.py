"""Suites: attacks by one name, each run on what those before it left standing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks._turns import ball_of
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, SettingError, shown, unknown
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult
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


SUITES: dict[str, Suite] = {}
"""Every suite by its name."""


def as_suite(suite: str | Suite, target: str) -> Suite:
    """The suite of that name.

    Raises:
        SpecError: for an unknown name.
        SettingError: if rows are to reach a target: members choose aims of their own.
    """
    if isinstance(suite, str):
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
    return suite
