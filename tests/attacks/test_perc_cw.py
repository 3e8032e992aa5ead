from saddlepoint.attacks import PerCCW
from saddlepoint.testing import contract

test_contract = contract(PerCCW(steps=6, search_steps=3, step_size=0.3), ranks=(4,))
