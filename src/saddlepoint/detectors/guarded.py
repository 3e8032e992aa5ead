"""A model that may refuse: a detector and its threshold as one more class."""

import json
import math
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels, Logits, Mask, PerRow, is_number
from saddlepoint.checks import check_inputs
from saddlepoint.classifier import Classifier
from saddlepoint.detectors._body import Body
from saddlepoint.detectors.scorer import Look, Scorer
from saddlepoint.errors import ArgumentTypeError, SettingError, shown


class Screened(NamedTuple):
    """What a guarded model says of inputs, (n,) each: the class, the score, and whether it refuses to answer."""

    label: Labels
    score: PerRow
    rejected: Mask


@final
class Guarded(nn.Module):
    """A model behind a detector, as a module with one logit more, that of the refusal.

    Logits (n, k + 1): those of the model, and max_j z_j + slope (score - threshold). It is the highest exactly where
    score > threshold. ``classifier`` is what attacks and evaluations take: an attack on it succeeds where the class is
    another one and the input is not refused, and the losses ``fool_and_pass`` and ``fool_then_pass`` look for that.
    Usual losses do not see the refusal; with them an attack is told of it, but does not steer by it.

    One look at ``classifier`` counts as one forward pass, whatever the detector takes.

    Args:
        model: the classifier;  scorer: fitted, to this model or to another one with the same inputs.
        threshold: above which an input is refused, see :func:`saddlepoint.detectors.threshold`.
        slope: logit units for each unit of the score, > 0; it weighs the refusal against the class in those losses.

    Raises:
        ArgumentTypeError: if the scorer is none.
        SettingError: if threshold or slope is no such number, or the two models have other bounds.

    Source:  Carlini & Wagner 2017, arXiv:1705.07263, section 3.3.
    Departs:  the refusal's logit is a sum, not a product, so that it is right for logits of any sign.
    """

    threshold: Tensor
    about: Tensor
    beyond: Tensor

    def __init__(self, model: Classifier, scorer: Scorer, threshold: float, *, slope: float = 1.0) -> None:
        super().__init__()
        if not isinstance(scorer, Scorer):
            raise ArgumentTypeError(f"scorer is {type(scorer).__name__}; give a fitted one: detector.fit(model, x, y)")
        if not is_number(threshold) or not math.isfinite(threshold):
            raise SettingError(f"threshold={shown(threshold)} must be a finite number, in units of the score")
        if not is_number(slope) or not 0 < slope < math.inf:
            raise SettingError(f"slope={shown(slope)} must be a finite number > 0")
        if scorer.model.bounds != model.bounds:
            raise SettingError(f"the scorer has the bounds {scorer.model.bounds}, the model {model.bounds}")
        self.scorer, self.slope = scorer, slope
        self.own = None if scorer.model.module is model.module else Body(model)
        about = json.dumps([scorer.name, scorer.settings(), slope]).encode()  # buffers, and so in the fingerprint
        self.register_buffer("about", torch.tensor(list(about), dtype=torch.uint8, device=model.device))
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float64, device=model.device))
        self.register_buffer("beyond", torch.tensor(torch.inf, device=model.device), persistent=False)
        self.classifier = Classifier(self, bounds=model.bounds, device=model.device, refuses=True)

    def forward(self, x: Batch) -> Logits:
        """Logits (n, k + 1) of inputs (n, *f) in the box; the last is that of the refusal."""
        logits, score = self.look(x)
        excess = score.double() - self.threshold
        top = logits.amax(1)
        refusal = top + (excess if self.slope == 1 else self.slope * excess).to(logits.dtype)
        with torch.no_grad():
            least = torch.nextafter(top, self.beyond)  # where rounding would hide it
            short = torch.where(excess > 0, (least - refusal).clamp_min_(0), 0)
        return torch.cat([logits, (refusal + short).unsqueeze(1)], 1)

    def pursued(self, below: float, *, slope: float = 0.5) -> Classifier:
        """What an attacker climbs who wants a score as low as that of clean inputs, not just below the threshold.

        Logits (n, k + 1) as those of ``classifier``, made of :meth:`Scorer.pursuit`: the refusal is max_j z_j + slope
        (score - below), or slope log(score / below) for scores that span orders of magnitude. Attack it by
        ``fool_and_pass``, then ask :meth:`screen` about the points: it has gradients where the guarded model has none,
        and what succeeds on it need not succeed there.

        Args:
            below: a score of clean inputs, such as their median: with it, the area under the ROC curve falls to 1/2.
            slope: < 1, or an attack would not leave its class, on the way out of which the score rises.

        Raises:  SettingError if one is no such number.

        Source:  He, Wei, Chen, Carlini & Song 2017, arXiv:1706.04701, section 4: every squeezed input is to be fooled.
        Departs:  the lowest log-odds over all of them, and the logarithm of the score.
        """
        least = 0 if self.scorer.ratio else -math.inf
        if not is_number(below) or not least < below < math.inf:
            raise SettingError(f"below={shown(below)} must be a finite score{' > 0' if self.scorer.ratio else ''}")
        if not is_number(slope) or not 0 < slope < math.inf:
            raise SettingError(f"slope={shown(slope)} must be a finite number > 0")
        pursued = _Pursued(self.scorer, below, slope)
        return Classifier(pursued, bounds=self.classifier.bounds, device=self.classifier.device, refuses=True)

    def look(self, x: Batch) -> Look:
        """Logits (n, k) of the model, and scores (n,)."""
        logits, score = self.scorer.look(x)
        return Look(logits if self.own is None else self.own(x), score)

    def screen(self, x: Batch, *, batch_size: int = 512) -> Screened:
        """The class, the score, and whether it is refused, for inputs (n, *f); the class is told also where it is.

        Refused are also inputs for which the model or the detector gives no number (NaN).

        Raises:  InputError for inputs outside the bounds.
        """
        x = check_inputs(self.classifier, x)
        labels, scores = [x.new_zeros(0, dtype=torch.int64)], [x.new_zeros(0)]
        rejected = [x.new_zeros(0, dtype=torch.bool)]
        with torch.no_grad(), self.classifier.frozen():
            for part in x.split(batch_size) if len(x) else ():
                logits, score = self.look(part)
                labels.append(logits.argmax(1))
                scores.append(score)
                rejected.append(self.refuses(logits, score))
        return Screened(torch.cat(labels), torch.cat(scores), torch.cat(rejected))

    def refuses(self, logits: Logits, score: PerRow) -> Mask:
        """Whether an input is refused (n,), by its logits (n, k) and score (n,): where one is no number, it is."""
        return ~(score <= self.threshold) | logits.isnan().any(1)


@final
class _Pursued(nn.Module):
    """A guarded model as one climbs it."""

    def __init__(self, scorer: Scorer, below: float, slope: float) -> None:
        super().__init__()
        self.scorer, self.below, self.slope = scorer, below, slope

    def forward(self, x: Batch) -> Logits:
        logits, score = self.scorer.pursuit(x)
        excess = score.double() - (math.log(self.below) if self.scorer.ratio else self.below)
        refusal = logits.amax(1) + (self.slope * excess).to(logits.dtype)
        return torch.cat([logits, refusal[:, None]], 1)
