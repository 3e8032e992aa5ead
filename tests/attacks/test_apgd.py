from saddlepoint import L1, L2, Linf
from saddlepoint.attacks import APGD
from saddlepoint.losses import difference_of_logits_ratio
from saddlepoint.testing import contract

DLR = difference_of_logits_ratio
test_contract = contract(APGD(ball=Linf(0.1), steps=10), within=1 - 1e-6)
test_contract_l2 = contract(APGD(ball=L2(0.4), steps=10), within=0.99)
test_contract_l1 = contract(APGD(ball=L1(1.0), steps=25), within=0.85)
test_contract_l1_wide = contract(APGD(ball=L1(0.13), steps=10, wide_start=True))
test_contract_l1_ratio = contract(APGD(ball=L1(0.4), steps=10, loss=DLR))
test_contract_l2_ratio = contract(APGD(ball=L2(0.4), steps=10, loss=DLR))
