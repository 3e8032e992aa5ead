"""The tests that saddlepoint's own attacks and balls pass, for yours; and models with known answers or known faults."""

from saddlepoint.testing.balls import ball_contract as ball_contract
from saddlepoint.testing.balls import check_ball as check_ball
from saddlepoint.testing.contract import check_attack as check_attack
from saddlepoint.testing.contract import contract as contract
from saddlepoint.testing.linear import LinearModel as LinearModel
from saddlepoint.testing.linear import Optimum as Optimum
from saddlepoint.testing.models import ConstantModel as ConstantModel
from saddlepoint.testing.models import MaskedModel as MaskedModel
from saddlepoint.testing.models import NaNModel as NaNModel
from saddlepoint.testing.models import RandomModel as RandomModel
from saddlepoint.testing.models import away_from as away_from

__all__ = [
    "ConstantModel",
    "LinearModel",
    "MaskedModel",
    "NaNModel",
    "Optimum",
    "RandomModel",
    "away_from",
    "ball_contract",
    "check_attack",
    "check_ball",
    "contract",
]
