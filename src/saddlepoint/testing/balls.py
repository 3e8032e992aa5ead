"""The axioms of a ball, run on yours."""

from collections.abc import Callable, Mapping

from saddlepoint.balls import Ball
from saddlepoint.testing._check_balls import CHECKS
from saddlepoint.testing._kind import Kind
from saddlepoint.testing._suite import chosen, collected, raise_failures


def check_ball(ball: type[Ball], *, convex: bool = True, skip: Mapping[str, str] | None = None) -> None:
    """Run every axiom on a norm, such as ``check_ball(Linf)``.

    Args:  ball: the class;  convex: False leaves out what holds for convex balls only;  skip: reasons by check.
    Raises:  AssertionError that lists every axiom that fails.

    >>> from saddlepoint import L2
    >>> check_ball(L2)
    """
    kind = Kind(ball, convex)
    raise_failures(ball.__name__, chosen(CHECKS, _skipped(kind, skip)), kind)


def ball_contract(
    ball: type[Ball], *, convex: bool = True, skip: Mapping[str, str] | None = None
) -> Callable[..., None]:
    """The axioms as a test for pytest, each on its own.

    One line of a test file: ``test_axioms = ball_contract(Linf)``.
    """
    kind = Kind(ball, convex)
    return collected(CHECKS, kind, _skipped(kind, skip))


def _skipped(kind: Kind, skip: Mapping[str, str] | None) -> dict[str, str]:
    return {**({} if kind.convex else {"projection_is_nearest": "the ball is not convex"}), **(skip or {})}
