from saddlepoint.attacks import PerCAL
from saddlepoint.testing import contract

test_contract = contract(PerCAL(steps=12), ranks=(4,))
