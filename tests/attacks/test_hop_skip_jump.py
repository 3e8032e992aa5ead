import math

from saddlepoint import L2, Linf
from saddlepoint.attacks import HopSkipJump
from saddlepoint.testing import contract

test_contract = contract(HopSkipJump(steps=8), within=1.1)
test_contract_linf = contract(HopSkipJump(ball=Linf(math.inf), steps=8), within=1.2)
