"""The contract that every attack keeps, as one line of a test file."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from saddlepoint.balls import Ball
from saddlepoint.errors import SettingError
from saddlepoint.solve import Attack
from saddlepoint.testing import _check_inputs, _check_manners, _check_results, _check_rows, _check_strength
from saddlepoint.testing._subject import Subject
from saddlepoint.testing._suite import chosen, collected, raise_failures

CHECKS: Mapping[str, Callable[[Subject], None]] = {
    **_check_results.CHECKS,
    **_check_manners.CHECKS,
    **_check_rows.CHECKS,
    **_check_inputs.CHECKS,
    **_check_strength.CHECKS,
}
"""Every check by name."""


def contract(
    attack: Attack,
    *,
    within: float | None = None,
    targeted: bool = True,
    rebuild: Callable[[Ball], Attack] | None = None,
    shape: tuple[int, ...] = (3, 2, 2),
    ranks: tuple[int, ...] = (2, 3, 4),
    device: str = "cpu",
    skip: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """The contract as a test for pytest, each check on its own.

    One line of a test file: ``test_contract = contract(PGD(ball=Linf(0.1)), within=0.99)``.

    Args:
        attack: with one eps for all rows, at most the largest distance in [0, 1] of this shape.
        within: how near the attack comes to the closed-form optimum on a linear model. Fixed-budget attacks: the least
            share of the largest possible gain in margin, at most 1. Minimum-norm attacks (Keep.MIN_DISTANCE): the
            largest ratio to the least distance, at least 1. None leaves this check out, visibly.
        targeted: False if the attack refuses targets; that is then checked.
        rebuild: makes the attack for another ball; None replaces its field ``ball``.
        shape: of one input, (channels, height, width);  ranks: of the batches that the attack takes.
        device: where the models and inputs are.
        skip: why a check does not apply, by its name; these tests show as skipped.

    Raises:  SettingError for an attack without a ball;  SpecError for a name in ``skip`` that is no check.
    """
    subject = _subject(attack, within, targeted, rebuild, shape, ranks, device)
    return collected(CHECKS, subject, _skipped(subject, skip))


def check_attack(
    attack: Attack,
    *,
    within: float | None = None,
    targeted: bool = True,
    rebuild: Callable[[Ball], Attack] | None = None,
    shape: tuple[int, ...] = (3, 2, 2),
    ranks: tuple[int, ...] = (2, 3, 4),
    device: str = "cpu",
    skip: Mapping[str, str] | None = None,
) -> None:
    """Run the contract without pytest; arguments as in :func:`contract`.

    Raises:  AssertionError that lists every check that fails.

    >>> from saddlepoint import Linf
    >>> from saddlepoint.attacks import FGSM
    >>> check_attack(FGSM(ball=Linf(0.1)), within=0.999)
    """
    subject = _subject(attack, within, targeted, rebuild, shape, ranks, device)
    raise_failures(attack.name, chosen(CHECKS, _skipped(subject, skip)), subject)


def _subject(
    attack: Attack,
    within: float | None,
    targeted: bool,
    rebuild: Callable[[Ball], Attack] | None,
    shape: tuple[int, ...],
    ranks: tuple[int, ...],
    device: str,
) -> Subject:
    ball = getattr(attack, "ball", None)
    if not isinstance(ball, Ball):
        raise SettingError(f"{type(attack).__name__} has no field ball; the contract reads norm and eps there")
    if isinstance(ball.eps, Tensor):
        raise SettingError("the contract needs an attack with one eps; it varies eps by row itself")
    if math.prod(shape) < 4 or len(shape) != 3:
        raise SettingError(f"shape={shape} must be (channels, height, width) with at least 4 features in all")
    return Subject(
        attack=attack,
        ball=ball,
        within=within,
        targeted=targeted,
        rebuild=rebuild,
        shape=shape,
        ranks=ranks,
        device=device,
    )


def _skipped(subject: Subject, skip: Mapping[str, str] | None) -> dict[str, str]:
    return {**({"optimum": "within= states no share of the optimum"} if subject.within is None else {}), **(skip or {})}
