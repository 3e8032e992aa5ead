"""How well a detector tells adversarial inputs from clean ones, also those that were made to pass it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Mask, PerRow
from saddlepoint.checks import check_inputs, check_labels
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.detectors import Guarded
from saddlepoint.detectors.outputs import confidence
from saddlepoint.errors import DataError, SettingError, missing
from saddlepoint.losses import fool_and_pass
from saddlepoint.noise import Noise
from saddlepoint.records import Share, wilson
from saddlepoint.solve import Attack, IterativeAttack

RATES = (0.01, 0.05)
"""False positive rates at which true positive rates are told."""

Progress = Callable[[int, int, str], None]


@final
@dataclass(frozen=True, kw_only=True)
class Area:
    """The area under a ROC curve, with its 95 % interval over resampled rows."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True, kw_only=True)
class Separation:
    """How some adversarial rows are told from the clean ones; None where there are none.

    ``tpr`` (one for each of :data:`RATES`): shares flagged at the threshold that has this false positive rate on the
    clean rows of the test itself.  ``flagged``: the share above the detector's own threshold.
    """

    rows: int
    area: Area | None
    tpr: list[Share]
    flagged: Share


@final
@dataclass(frozen=True, kw_only=True)
class Attacked:
    """What a detector makes of one attack on the rows that are right when clean.

    ``successful``: another class;  ``failed``: the same class;  ``confident``: another class, at a log-odds of at least
    the median of the clean rows.  ``undetected``: the share with another class that is not refused either.
    ``adaptive``: the attack knew of the detector.  ``below``: the score that it went for with
    :meth:`Guarded.pursued`; None for one that went for the threshold, or for none.
    """

    attack: str
    adaptive: bool
    below: float | None
    successful: Separation
    failed: Separation
    confident: Separation
    undetected: Share
    scores: list[float]
    success: list[bool]


@final
@dataclass(frozen=True, kw_only=True)
class Detection:
    """A detector on a data set.

    ``accuracy``: of the bare model on clean rows.  ``rejected``: clean rows refused.  ``accepted``: clean rows that are
    right and not refused, the clean accuracy of the guarded model.  ``robust``: those of them whose every adversarial
    point is refused, or right.  ``scores``: of the clean rows that are right, which the adversarial ones are told from.
    """

    detector: str
    settings: dict[str, Any]
    threshold: float
    rows: int
    accuracy: Share
    rejected: Share
    accepted: Share
    robust: Share
    attacks: list[Attacked]
    scores: list[float]


def detection(
    guarded: Guarded,
    data: Dataset,
    attacks: Sequence[Attack],
    *,
    adaptive: bool = True,
    seed: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Detection:
    """Attack the rows that are right when clean, and ask the detector about every point.

    Each attack is run on the bare model, and, where it has a loss to climb, twice more with ``fool_and_pass``: on the
    guarded one, and on what :meth:`Guarded.pursued` makes of it, for a score below the median of the clean rows: an
    attack that just passes the threshold scores higher than nearly all of them. Give attacks that keep their highest
    loss, or a stated confidence: a point on the boundary is easy to tell.

    Args:
        guarded: model, detector and threshold;  data: rows that were used for none of them.
        attacks: with their balls;  adaptive: also run those that can know of the detector.
        seed: of every draw;  batch_size: rows at once;  progress: told (rows done, rows in all, attack).

    Raises:
        DataError: if no row is right when clean, or one has no score.
        SettingError: if the detector was fitted to another model than it guards.
        MissingExtraError: without scikit-learn.
    """
    model = guarded.scorer.model if guarded.own is None else None
    if model is None:
        raise SettingError("the detector was fitted to another model than it guards; fit it to the model itself")
    x = check_inputs(guarded.classifier, data.x.to(model.device))
    y = check_labels(data.y.to(model.device), x, "y")
    clean = _asked(guarded, x, batch_size)
    right = clean.label == y
    if bool(clean.undefined.any()):
        first = int(data.rows[clean.undefined.cpu()][0])
        raise DataError(
            f"{int(clean.undefined.sum())} of {len(x)} clean rows have no finite score (row {first} is the first): the "
            "model or the detector returns NaN there; leave those rows out, or mend it"
        )
    if not bool(right.any()):
        raise DataError("the model is wrong on every clean row: there is nothing to attack")
    rows = right.nonzero().squeeze(1)
    sure = float(clean.doubt[rows].median())
    middle = float(clean.score[rows].median())
    middle = max(middle, torch.finfo(clean.score.dtype).tiny) if guarded.scorer.ratio else middle
    victims = {"adaptive": guarded.classifier, "pursuing": guarded.pursued(middle)} if adaptive else {}
    turns = [turn for attack in attacks for turn in [(attack, "", model), *_adapted(attack, victims)]]
    found: list[Attacked] = []
    held = right & ~clean.rejected
    for i, (attack, way, victim) in enumerate(turns):
        points = []
        for part in rows.split(batch_size):
            noise = Noise(seed).child("detection").at(data.rows.to(part.device)[part])
            points.append(attack(victim, x[part], y[part], noise=noise).x)
        seen = _asked(guarded, torch.cat(points), batch_size)
        fooled = seen.label != y[rows]
        held[rows] &= ~fooled | seen.rejected
        parts = {"successful": fooled, "failed": ~fooled, "confident": fooled & (seen.doubt <= sure)}
        told = {name: separation(clean.score[rows], seen.score[mask], guarded) for name, mask in parts.items()}
        undetected = wilson(int((fooled & ~seen.rejected).sum()), len(rows))
        found.append(
            Attacked(
                attack=attack.name, adaptive=bool(way), below=middle if way == "pursuing" else None, **told,
                undetected=undetected, scores=seen.score.tolist(), success=fooled.tolist(),
            )
        )  # fmt: skip
        if progress is not None:
            progress((i + 1) * len(rows), len(turns) * len(rows), attack.name)
    n = len(x)
    return Detection(
        detector=guarded.scorer.name,
        settings=guarded.scorer.settings(),
        threshold=float(guarded.threshold),
        rows=n,
        accuracy=wilson(int(right.sum()), n),
        rejected=wilson(int(clean.rejected.sum()), n),
        accepted=wilson(int((right & ~clean.rejected).sum()), n),
        robust=wilson(int(held.sum()), n),
        attacks=found,
        scores=clean.score[rows].tolist(),
    )


def separation(clean: Tensor, adversarial: Tensor, guarded: Guarded) -> Separation:
    """How the scores of adversarial rows (m,) are told from those of clean ones (n,)."""
    some = len(adversarial) > 0
    return Separation(
        rows=len(adversarial),
        area=area(clean, adversarial) if some else None,
        tpr=[true_positives(clean, adversarial, rate) for rate in RATES] if some else [],
        flagged=wilson(int((adversarial > guarded.threshold).sum()), len(adversarial)),
    )


def area(clean: Tensor, adversarial: Tensor, *, resamples: int = 1000, seed: int = 0) -> Area:
    """The area under the ROC curve of scores (n,) and (m,), n and m >= 1; ties count half.

    The interval is between the 2.5 % and 97.5 % quantiles over resamples of both, drawn with replacement.

    Raises:  MissingExtraError without scikit-learn.

    >>> area(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])).value
    0.875
    """
    metrics = _metrics()
    scores = torch.cat([clean, adversarial]).double().cpu()
    labels = [0] * len(clean) + [1] * len(adversarial)
    value = float(metrics.roc_auc_score(labels, scores.numpy()))
    levels, place = scores.unique(return_inverse=True)
    generator = torch.Generator().manual_seed(seed)
    below, above = (
        _resampled(part, len(levels), resamples, generator) for part in (place[: len(clean)], place[len(clean) :])
    )
    under = below.cumsum(1) - below / 2  # clean rows below each level, ties by half
    areas = (above * under).sum(1)
    low, high = areas.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Area(value=value, low=low, high=high)


def true_positives(clean: Tensor, adversarial: Tensor, rate: float) -> Share:
    """The share of the adversarial scores (m,) above the lowest threshold that flags at most this share of (n,)."""
    metrics = _metrics()
    labels, scores = [0] * len(clean) + [1] * len(adversarial), torch.cat([clean, adversarial]).double().cpu()
    false, true, _ = metrics.roc_curve(labels, scores.numpy(), drop_intermediate=False)
    best = float(true[false <= rate + 1e-12].max())
    return wilson(round(best * len(adversarial)), len(adversarial))


@final
@dataclass(frozen=True)
class _Told:
    """Of each row (n,): the class, the score, whether it is refused, and minus the log-odds of the class.

    ``undefined``: the model or the detector gave NaN. Such a row is refused, so its score is the highest that there is.
    """

    label: Labels
    score: PerRow
    rejected: Mask
    doubt: PerRow
    undefined: Mask


def _asked(guarded: Guarded, x: Batch, batch_size: int) -> _Told:
    labels, scores, rejected, doubts, undefined = [], [], [], [], []
    with torch.no_grad(), guarded.classifier.frozen():
        for part in x.split(batch_size):
            logits, score = guarded.look(part)
            labels.append(logits.argmax(1))
            rejected.append(guarded.refuses(logits, score))
            undefined.append(score.isnan() | logits.isnan().any(1))
            scores.append(score.masked_fill(undefined[-1], torch.finfo(score.dtype).max))
            doubts.append(confidence(logits.double()).nan_to_num(torch.inf))
    return _Told(*map(torch.cat, (labels, scores, rejected, doubts, undefined)))


def _adapted(attack: Attack, victims: dict[str, Classifier]) -> list[tuple[Attack, str, Classifier]]:
    """The attack with the loss that knows of a refusal, on each of these models, if it climbs a loss."""
    if not isinstance(attack, IterativeAttack) or attack.needs_graph:
        return []
    try:
        knowing = replace(attack, loss=fool_and_pass)
    except SettingError:
        return []
    return [(knowing, way, victim) for way, victim in victims.items()]


def _resampled(place: Tensor, levels: int, resamples: int, generator: torch.Generator) -> Tensor:
    """Shares (resamples, levels) of rows at each level, rows (n,) being drawn anew."""
    drawn = place[torch.randint(len(place), (resamples, len(place)), generator=generator)]
    counts = torch.zeros(resamples, levels, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)) / len(place)


def _metrics() -> Any:  # noqa: ANN401 (an optional module)
    try:
        from sklearn import metrics
    except ImportError as error:
        raise missing("scikit-learn", "detect") from error
    return metrics
