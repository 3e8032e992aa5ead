"""What a denoising autoencoder is trained on (Gu & Rigazio; feature-guided: Liao et al.)."""

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks import PGD
from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training.objectives._checks import check_choice, check_teacher, check_weight, radius, scores
from saddlepoint.defenses.training.objectives._inner import attacked, maximise
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.errors import ModelError, SettingError
from saddlepoint.noise import Noise
from saddlepoint.result import Keep


@final
@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The distance of g(x') from x, of a module g from inputs to inputs; x' is x with noise, or an adversarial x.

    ``measure="pixel"``: mean (g(x') - x)^2.  ``measure="logit"``: mean over the classifiers of
    sum_k |f(g(x'))_k - f(x)_k|.

    Args:
        sigma: standard deviation of the noise, in input units; x' is clipped to the box. Where there is an attack, it
            is not used.
        attack: PGD on the classifiers alone, at the weights that they have; its last point is x'.
        classifiers: trained modules; each row is attacked on one of them, drawn anew in every epoch. They run in
            evaluation mode and get no gradient.
        measure: "pixel" or "logit";  bounds: the box of the inputs.

    Raises:  SettingError if there are no classifiers where some are needed, or a number means nothing; in training,
        ModelError if g does not return inputs.

    Source:  Gu & Rigazio 2015, arXiv:1412.5068, section 3.2; "logit": Liao et al. 2018, arXiv:1712.02976, Eq. (6).
    """

    sigma: float = 0.1
    attack: PGD | None = None
    classifiers: tuple[nn.Module, ...] = ()
    measure: str = "pixel"
    bounds: Bounds = Bounds()
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_weight("sigma", self.sigma)
        check_choice("measure", self.measure, "pixel", "logit")
        for classifier in self.classifiers:
            check_teacher(classifier, "one of the classifiers")
        if self.attack is not None:
            radius(self.attack.ball)
        if not self.classifiers and (self.attack is not None or self.measure == "logit"):
            raise SettingError("an attack and measure='logit' need classifiers; give classifiers=(net,)")

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        if self.attack is None:
            noisy = x + self.sigma * noise.child("noise").normal(x)
            return noisy.clamp(self.bounds.lower, self.bounds.upper)
        which = noise.child("classifier").uniform(x.new_empty(len(x), 1)).mul(len(self.classifiers)).long().squeeze(1)
        points, attack = x.clone(), replace(self.attack, keep=Keep.LAST)
        for number, classifier in enumerate(self.classifiers):
            rows = (which == number).nonzero().squeeze(1)
            if len(rows):
                ids = rows if noise.rows is None else noise.rows.to(rows.device)[rows]
                with attacked(classifier, self.bounds, "eval") as model:
                    points[rows] = maximise(attack, model, x[rows], y[rows], noise.at(ids))
        return points

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        rebuilt = module(points)
        if not isinstance(rebuilt, Tensor) or rebuilt.shape != x.shape:
            told = tuple(rebuilt.shape) if isinstance(rebuilt, Tensor) else type(rebuilt).__name__
            raise ModelError(f"the module returned {told} for inputs {tuple(x.shape)}; it must return inputs")
        if self.measure == "pixel":
            return functional.mse_loss(rebuilt, x)
        apart = []
        for classifier in self.classifiers:
            with Classifier(classifier).frozen():
                with torch.no_grad():
                    known = scores(classifier, x)
                apart.append((scores(classifier, rebuilt) - known).abs().sum(1).mean())
        return torch.stack(apart).mean()
