from saddlepoint import L1, L2, Linf
from saddlepoint.attacks import Square
from saddlepoint.testing import contract

RANKS = (4,)  # the shape of an input says where its windows lie; other ranks have a test of their own
test_contract = contract(Square(ball=Linf(0.1), steps=80, rescale=True), within=0.9, ranks=RANKS)
test_contract_l2 = contract(Square(ball=L2(0.3), steps=80, rescale=True), within=0.6, ranks=RANKS)
test_contract_l1 = contract(Square(ball=L1(0.5), steps=80, rescale=True), within=0.5, ranks=RANKS)
