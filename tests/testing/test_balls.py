"""The axioms accept our balls (tests/balls), and every one of them rejects a ball with a planted fault."""

from dataclasses import dataclass

import pytest
import torch

from saddlepoint import L2, Ball, Linf
from saddlepoint.errors import SpecError
from saddlepoint.testing import ball_contract, check_ball
from saddlepoint.testing._check_balls import CHECKS
from saddlepoint.testing._kind import Kind
from saddlepoint.testing._suite import failures


@dataclass(frozen=True, eq=False)
class Sound(Ball):
    """L2, by way of L2."""

    norm = "sound"

    def widest(self, bounds, features):
        return L2(1.0).widest(bounds, features)

    def distance(self, x, x0):
        return L2(1.0).distance(x, x0)

    def project(self, x, x0, bounds):
        return L2(self.eps).project(x, x0, bounds)

    def random_start(self, x0, bounds, noise):
        return L2(self.eps).random_start(x0, bounds, noise)

    def steepest_step(self, grad, x=None, bounds=None):
        return L2(1.0).steepest_step(grad, x, bounds)


class NoBox(Sound):
    def project(self, x, x0, bounds):
        return x0 + self.radius(x0) * L2(1.0).steepest_step(x - x0)


class Shrinks(Sound):
    def project(self, x, x0, bounds):
        return x0 + 0.999 * (super().project(x, x0, bounds) - x0)


class RadialThenClipped(Sound):
    """What other libraries call a projection: feasible, and not the nearest point."""

    def project(self, x, x0, bounds):
        delta = x - x0
        length = L2(1.0).distance(x, x0).view(-1, *[1] * (x.dim() - 1)).clamp_min(1e-30)
        return (x0 + delta * (self.radius(x0) / length).clamp(max=1)).clamp(bounds.lower, bounds.upper)


class StartsAnywhere(Sound):
    def random_start(self, x0, bounds, noise):
        return noise.uniform(x0)


class StartsByPosition(Sound):
    def random_start(self, x0, bounds, noise):
        return super().random_start(x0, bounds, noise.at(torch.arange(len(x0))))


class SignStep(Sound):
    def steepest_step(self, grad, x=None, bounds=None):
        return grad.sign() / grad[0].numel() ** 0.5


class DividesByZero(Sound):
    def steepest_step(self, grad, x=None, bounds=None):
        return grad / grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


class NeverAtRest(Sound):
    def project(self, x, x0, bounds):
        return (super().project(x, x0, bounds) + 1e-7).clamp(bounds.lower, bounds.upper)


class SquaredDistance(Sound):
    def distance(self, x, x0):
        return super().distance(x, x0).square()


class OneRadius(Sound):
    def project(self, x, x0, bounds):
        return L2(float(torch.as_tensor(self.eps).amax())).project(x, x0, bounds)


PLANTED = {
    "projection_is_inside": NoBox,
    "projection_is_idempotent": Shrinks,
    "projection_keeps_what_is_inside": Shrinks,
    "projection_is_nearest": RadialThenClipped,
    "start_is_inside": StartsAnywhere,
    "start_depends_on_the_row_only": StartsByPosition,
    "step_is_steepest": SignStep,
    "zero_gradient_gives_no_step": DividesByZero,
    "zero_radius_is_the_identity": NeverAtRest,
    "distance_is_a_norm": SquaredDistance,
    "rows_do_not_mix": OneRadius,
}

test_sound = ball_contract(Sound)


@pytest.mark.parametrize("name", CHECKS)
def test_every_axiom_can_fail(name):
    assert set(failures({name: CHECKS[name]}, Kind(PLANTED[name], True))) == {name}


def test_check_ball_passes_or_lists_all_failures():
    check_ball(Linf)
    with pytest.raises(
        AssertionError, match=r"NoBox fails \d+ of 11 checks:(\n.*)*\n  projection_is_inside: .*outside the box"
    ):
        check_ball(NoBox)


def test_ball_that_is_not_convex_need_not_be_nearest():
    check_ball(
        RadialThenClipped, convex=False, skip={"projection_is_idempotent": "radial", "rows_do_not_mix": "radial"}
    )


def test_skips_name_a_check():
    with pytest.raises(SpecError, match="unknown check"):
        check_ball(Linf, skip={"nearest": "no"})
