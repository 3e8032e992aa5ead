"""Attacks: the inner maximisation."""

from saddlepoint.attacks.apgd import APGD as APGD
from saddlepoint.attacks.bim import BIM as BIM
from saddlepoint.attacks.combinators import Bisect as Bisect
from saddlepoint.attacks.combinators import Cascade as Cascade
from saddlepoint.attacks.combinators import EachTarget as EachTarget
from saddlepoint.attacks.combinators import Restarts as Restarts
from saddlepoint.attacks.cw_l0 import CWL0 as CWL0
from saddlepoint.attacks.cw_l2 import CWL2 as CWL2
from saddlepoint.attacks.cw_linf import CWLinf as CWLinf
from saddlepoint.attacks.ddn import DDN as DDN
from saddlepoint.attacks.deepfool import DeepFool as DeepFool
from saddlepoint.attacks.eot import EOT as EOT
from saddlepoint.attacks.fab import FAB as FAB
from saddlepoint.attacks.fgsm import FGSM as FGSM
from saddlepoint.attacks.fmn import FMN as FMN
from saddlepoint.attacks.from_callable import FromCallable as FromCallable
from saddlepoint.attacks.hop_skip_jump import HopSkipJump as HopSkipJump
from saddlepoint.attacks.illc import ILLC as ILLC
from saddlepoint.attacks.jsma import JSMA as JSMA
from saddlepoint.attacks.lbfgs import LBFGS as LBFGS
from saddlepoint.attacks.mi_fgsm import MIFGSM as MIFGSM
from saddlepoint.attacks.nes import NES as NES
from saddlepoint.attacks.pgd import PGD as PGD
from saddlepoint.attacks.spsa import SPSA as SPSA
from saddlepoint.attacks.square import Square as Square

__all__ = [
    "APGD",
    "BIM",
    "CWL0",
    "CWL2",
    "DDN",
    "EOT",
    "FAB",
    "FGSM",
    "FMN",
    "ILLC",
    "JSMA",
    "LBFGS",
    "MIFGSM",
    "NES",
    "PGD",
    "SPSA",
    "Bisect",
    "CWLinf",
    "Cascade",
    "DeepFool",
    "EachTarget",
    "FromCallable",
    "HopSkipJump",
    "Restarts",
    "Square",
]
