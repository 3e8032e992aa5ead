"""What an attacker maximises: functions of (logits, y, aim) that return one number a row."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch.nn import functional

from saddlepoint._typing import Labels, Logits, Mask, PerRow
from saddlepoint.errors import SettingError

Loss: TypeAlias = Callable[[Logits, Labels, Labels | None], PerRow]
"""(logits (n, k), y (n,), aim (n,) or None) -> (n,), larger is better for the attacker; ``aim=None``: away from y."""


def cross_entropy(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """Cross-entropy, as the attacker wants it.

    Away from y: -log softmax(z)_y.  Towards an aim t: log softmax(z)_t.

    Args:  logits (n, k), any real scale;  y, aim (n,) class indices.
    Returns:  (n,), in nats.
    Source:  Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572, section 4; towards an aim: Kurakin, Goodfellow & Bengio
        2017, arXiv:1607.02533, section 2.3.

    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([0.6931])
    """
    if aim is not None:
        return -functional.cross_entropy(logits, aim, reduction="none")
    return functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """How far each row is past the decision boundary.

    Away from y: max_{j != y} z_j - z_y.  Towards an aim t: z_t - max_{j != t} z_j.  Positive exactly when the attack
    succeeds (ties aside).

    Args:  logits (n, k), any real scale, k >= 2;  y, aim (n,) class indices.
    Returns:  (n,), in logit units.
    Source:  Carlini & Wagner 2017, arXiv:1608.04644, f_6.  Departs: negated, not clipped at zero, no confidence offset.

    >>> margin(torch.tensor([[2.0, 5.0]]), torch.tensor([0]))
    tensor([3.])
    """
    kept = y if aim is None else aim
    own = logits.gather(1, kept[:, None]).squeeze(1)
    other = logits.scatter(1, kept[:, None], -torch.inf).amax(1)
    return other - own if aim is None else own - other


def difference_of_logits_ratio(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """The margin over a spread of the highest logits z_(1) >= z_(2) >= ..., so that neither shift nor scale matters.

    Away from y: -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)).
    Towards an aim t: -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2).
    With fewer classes than that, 3 and 4, it is :func:`margin`.

    Args:  logits (n, k), any real scale, k >= 2;  y, aim (n,) class indices.
    Returns:  (n,), no unit; positive exactly when the attack succeeds, with an aim only if no third class is higher.
    Source:  Croce & Hein 2020, arXiv:2003.01690, Eqs. (6) and (7).
    Departs:  a spread of zero counts as 1, where the authors add 1e-12 to every spread; for an aim that is y itself the
        highest other logit stands for z_y.

    >>> difference_of_logits_ratio(torch.tensor([[4.0, 2.0, 0.0]]), torch.tensor([0]))
    tensor([-0.5000])
    """
    k = logits.shape[1]
    if k < (3 if aim is None else 4):
        return margin(logits, y, aim)
    own, other = logits.gather(1, y[:, None]).squeeze(1), logits.scatter(1, y[:, None], -torch.inf).amax(1)
    if aim is None:
        top = logits.topk(3, 1).values
        gap, spread = other - own, top[:, 0] - top[:, 2]
    else:
        top, towards = logits.topk(4, 1).values, logits.gather(1, aim[:, None]).squeeze(1)
        gap, spread = towards - torch.where(aim == y, other, own), top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    ratio = gap / torch.where(spread > torch.finfo(spread.dtype).tiny, spread, 1)
    return torch.where(gap == spread, ratio.detach(), ratio)  # 1 wherever y is third: no gradient, not even of rounding


def fool_and_pass(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """What an attacker of a model that may refuse wants: another class, and no refusal.

    The last of the logits is that of the refusal, the highest other one plus a slope times (score - threshold); see
    :class:`saddlepoint.detectors.Guarded`. With ``fool`` the :func:`margin` of the classes, and ``pass`` how far the
    refusal is below the highest of them: min(fool, 0) + min(pass, 0), or min(fool, pass) where both are positive.

    Args:  logits (n, k + 1), k >= 2;  y, aim (n,) class indices.
    Returns:  (n,), in logit units; positive exactly when the attack succeeds (ties aside).
    Source:  Carlini & Wagner 2017, arXiv:1705.07263, section 4; He et al. 2017, arXiv:1706.04701, section 4.2.
    Departs:  a hinge on each of the two, so that neither is paid for by the other.

    >>> fool_and_pass(torch.tensor([[2.0, 5.0, 6.0], [2.0, 5.0, 4.0]]), torch.tensor([0, 0]))
    tensor([-1.,  1.])
    """
    fool, passing = fool_or_pass(logits, y, aim)
    both = (fool > 0) & (passing > 0)
    return torch.where(both, torch.minimum(fool, passing), fool.clamp_max(0) + passing.clamp_max(0))


def fool_then_pass(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """As :func:`fool_and_pass`, one after the other: the margin until the class is another one, then the refusal.

    Source:  Bryniarski et al. 2021, arXiv:2106.15023, section 4.1, selective projected gradient descent.
    Departs:  once both are reached, the smaller of the two.

    >>> fool_then_pass(torch.tensor([[7.0, 5.0, 9.0], [2.0, 5.0, 6.0]]), torch.tensor([0, 0]))
    tensor([-2., -1.])
    """
    fool, passing = fool_or_pass(logits, y, aim)
    return torch.where(fool > 0, torch.minimum(fool, passing), fool)


def fool_or_pass(logits: Logits, y: Labels, aim: Labels | None = None) -> tuple[PerRow, PerRow]:
    """The two things that an attack on a model that may refuse needs, (n,) each; arguments as in fool_and_pass."""
    classes = logits[:, :-1]
    return margin(classes, y, aim), classes.amax(1) - logits[:, -1]


JOINT: tuple[Loss, ...] = (fool_and_pass, fool_then_pass)
"""Losses of models that may refuse."""
_OF_CLASSES: list[Loss] = [cross_entropy, margin, difference_of_logits_ratio]


def of_classes(loss: Loss) -> Loss:
    """A loss of the classes as one of a model that may refuse: it does not see the refusal; any other loss as it is."""
    return (lambda logits, y, aim: loss(logits[:, :-1], y, aim)) if loss in _OF_CLASSES else loss


def classwise(loss: Loss) -> Loss:
    """Say of a loss that it is one of the classes, so that it does not see a refusal."""
    _OF_CLASSES.append(loss)
    return loss


def averaged(loss: Loss, samples: torch.Tensor, y: Labels, aim: Labels | None = None) -> tuple[Logits, PerRow]:
    """The mean logits (n, k), and the mean of the losses (n,), over draws of a random model (m, n, k).

    Source:  Athalye, Engstrom, Ilyas & Kwok 2018, arXiv:1707.07397: the expectation is taken of the loss.
    """
    if len(samples) == 1:
        return samples[0], _each(loss, loss(samples[0], y, aim), samples.shape[1])
    m, n = samples.shape[:2]
    each = loss(samples.flatten(0, 1), y.repeat(m), None if aim is None else aim.repeat(m))
    _each(loss, each, m * n)
    return samples.mean(0), each.view(m, -1).mean(0)


def _each(loss: Loss, found: object, n: int) -> PerRow:
    """What a loss returned, if it is a number for each row."""
    if isinstance(found, torch.Tensor) and found.shape == (n,) and found.is_floating_point():
        return found
    kind = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
    name = getattr(loss, "__name__", type(loss).__name__)
    raise SettingError(
        f"the loss {name} returned {kind} for {n} rows; it must be ({n},), one float for each: use "
        "reduction='none', or saddlepoint.losses.cross_entropy"
    )


def fooled(logits: Logits, y: Labels, target: Labels | None = None, *, refuses: bool = False) -> Mask:
    """Rows whose prediction is the target, or is not y where no target is given.

    Args:  refuses: the last logit is that of a refusal, which fools nobody.
    """
    predicted = logits.argmax(1)
    if refuses and target is None:
        return (predicted != y) & (predicted != logits.shape[1] - 1)
    return predicted != y if target is None else predicted == target


def defined(logits: Logits) -> Mask:
    """Rows whose output is finite; NaN is not."""
    return logits.abs().amax(1) < torch.inf
