"""Attacks: the inner maximisation."""

from saddlepoint.attacks.bim import BIM as BIM
from saddlepoint.attacks.fgsm import FGSM as FGSM
from saddlepoint.attacks.from_callable import FromCallable as FromCallable
from saddlepoint.attacks.illc import ILLC as ILLC
from saddlepoint.attacks.mi_fgsm import MIFGSM as MIFGSM
from saddlepoint.attacks.pgd import PGD as PGD

__all__ = ["BIM", "FGSM", "ILLC", "MIFGSM", "PGD", "FromCallable"]
