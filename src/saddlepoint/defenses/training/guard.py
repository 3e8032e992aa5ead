"""Catastrophic overfitting (Wong et al. 2020, arXiv:2001.03994, section 5.4): single-step training that stops to work.

Within an epoch or two the accuracy under PGD falls to nothing, while that under FGSM rises.
"""

from saddlepoint.training_record import Epoch

LEAST_ROWS = 512  # at fewer, an accuracy may move by a few points by chance
FALL, GAP, RISE = 0.2, 0.3, 0.03  # by less than the last an accuracy of so few rows rises by chance


def suspicion(before: Epoch | None, now: Epoch) -> str | None:
    """What speaks against the weights of an epoch, in words; None if nothing does.

    PGD accuracy on held-out rows fell by more than 0.2 against the epoch before; or FGSM accuracy is more than 0.3
    above it, and it did not rise by more than 0.03: while a net begins to learn, FGSM accuracy may run ahead without
    harm.

    Departs:  the authors look at the training batch at hand in training mode, and for the fall alone.

    >>> suspicion(Epoch(number=1, loss=1.0, fgsm=0.5, pgd=0.4), Epoch(number=2, loss=0.9, fgsm=0.9, pgd=0.1))
    'PGD accuracy fell from 40.0 % to 10.0 %; FGSM accuracy is 90.0 %, PGD accuracy 10.0 %'
    """
    if now.pgd is None or now.fgsm is None:
        return None
    found = []
    if before is not None and before.pgd is not None and before.pgd - now.pgd > FALL:
        found.append(f"PGD accuracy fell from {before.pgd:.1%} to {now.pgd:.1%}")
    rose = before is not None and before.pgd is not None and now.pgd - before.pgd > RISE
    if now.fgsm - now.pgd > GAP and not rose:
        found.append(f"FGSM accuracy is {now.fgsm:.1%}, PGD accuracy {now.pgd:.1%}")
    return "; ".join(found).replace("%", " %") or None
