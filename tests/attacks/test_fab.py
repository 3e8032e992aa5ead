import math

from saddlepoint import L1, L2, Keep, Linf
from saddlepoint.attacks import FAB
from saddlepoint.testing import contract

test_contract = contract(FAB(ball=Linf(math.inf), steps=20), within=1.02)
test_contract_l2 = contract(FAB(ball=L2(math.inf), steps=20), within=1.02)
test_contract_l1 = contract(FAB(ball=L1(math.inf), steps=20), within=1.02)
test_contract_l2_first = contract(FAB(ball=L2(0.3), steps=10, keep=Keep.FIRST_SUCCESS))
