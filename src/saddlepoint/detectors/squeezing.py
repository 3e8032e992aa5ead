"""Feature squeezing: how much a prediction changes when the input is made simpler."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Bounds
from saddlepoint.bpda import Map, Stage
from saddlepoint.checks import check_classes
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.transforms import TRANSFORMS, BitDepth, Transform
from saddlepoint.detectors._body import checked_rows
from saddlepoint.detectors.scorer import Look, Scorer
from saddlepoint.errors import ArgumentTypeError, DetectorWarning, SettingError, SpecError, shown, unknown

_LEAST = 1e-30  # of a score whose logarithm is taken
_MOST_SPOILT = 0.1  # of the clean accuracy, by one squeezer alone
_ONE_PASS = 2**18  # numbers of a batch, at most: between 256 and 512 rows of MNIST, where the small network breaks even

_MEDIAN = {"name": "median", "height": 2}


def _joint(bits: int, *others: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return {"name": "bit-depth", "depth": bits}, _MEDIAN, *others


def _means(search: int, h: float) -> Mapping[str, Any]:
    return {"name": "non-local-means", "search": search, "block": 3, "h": h}


JOINT: dict[str, tuple[Mapping[str, Any], ...]] = {
    "mnist": _joint(1),
    "cifar10": _joint(5, _means(13, 2 / 255)),
    "imagenet": _joint(5, _means(11, 4 / 255)),
    "fashion-mnist": _joint(4, _means(11, 4 / 255)),  # ours, and so is the next
    "photopatch10": _joint(5, _means(11, 4 / 255)),
}
"""Joint squeezers by data set."""


@final
class Squeezed(Scorer):
    """max over squeezers i of |softmax f(x) - softmax f(s_i(x))|_1, in [0, 2].

    Args:  squeezers: transforms, or their names and settings.
    """

    name: ClassVar[str] = "feature-squeezing"
    ratio: ClassVar[bool] = True

    def __init__(self, model: Classifier, squeezers: Sequence[Transform | Mapping[str, Any]]) -> None:
        super().__init__(model)
        made = [s if isinstance(s, Transform) else transform(s, model.bounds) for s in squeezers]
        self.squeezers = tuple(made)
        self.stages = nn.ModuleList(map(Stage, made))  # each with what stands for its gradient
        self.steep = nn.ModuleList(Stage(s, _steps_of(s)) for s in made)

    def look(self, x: Batch) -> Look:
        """Few rows go through the model in one pass with all that is squeezed from them, many in one pass for each."""
        logits = self.squeezed(x)
        return Look(logits[0], _change(logits).to(x.dtype))

    def pursuit(self, x: Batch) -> Look:
        """Log-odds of each class where they are lowest, over the input and all that is squeezed from it.

        One class must win everywhere, so that every branch pulls, also where the softmax of another one is saturated.
        The gradient of rounding is large between the levels, where a small step changes much.
        """
        logits = self.squeezed(x, steep=True)
        odds = _odds(logits).amin(0)
        nowhere = (-odds.amax(1)).clamp_min(0)  # no class wins everywhere: one has to, and this is how far it is off
        return Look(odds, _change(logits).clamp_min(_LEAST).log() + 2 * nowhere)

    def squeezed(self, x: Batch, *, steep: bool = False) -> Tensor:
        """Logits (1 + squeezers, n, k) of the inputs as they are, and behind each squeezer.

        Args:  steep: whether what stands for the gradient of rounding is large between the levels.
        """
        stages = self.steep if steep else self.stages
        # On a CPU many rows are faster branch by branch, which keeps the memory of each in the cache; an exported
        # program is for any number of rows, and so does not ask.
        if not torch.compiler.is_exporting() and x.device.type == "cpu" and x.numel() > _ONE_PASS:
            return torch.stack([self.body(x), *(self.body(stage(x)) for stage in stages)])
        logits: Tensor = self.body(torch.cat([x, *(stage(x) for stage in stages)]))
        return logits.view(1 + len(self.squeezers), -1, logits.shape[1])

    def settings(self) -> dict[str, Any]:
        return {"squeezers": [_told(squeezer) for squeezer in self.squeezers]}


@final
@dataclass(frozen=True)
class FeatureSqueezing:
    """Suspicious is an input whose prediction changes when the input is made simpler.

    The score is the largest L1 distance between the softmax of the input and that of the squeezed one, over all
    squeezers. Attacks on it go through each squeezer's surrogate where the squeezer has no gradient.

    Args:  squeezers: at least one, all of the model's bounds.

    Raises:  SettingError if there is none;  ArgumentTypeError if one is no transform.

    Source:  Xu, Evans & Qi 2018, arXiv:1704.01155, sections 4 and 5; :meth:`joint` their best joint squeezers.
    Departs:  a squeezed input of a random transform is drawn anew in every pass.
    """

    squeezers: tuple[Transform, ...]
    name: ClassVar[str] = "feature-squeezing"

    def __post_init__(self) -> None:
        if not isinstance(self.squeezers, tuple) or not self.squeezers:
            raise SettingError(f"squeezers={shown(self.squeezers)} must be a tuple of at least one transform")
        for squeezer in self.squeezers:
            if not isinstance(squeezer, Transform):
                raise ArgumentTypeError(f"squeezer {shown(squeezer)} must be a Transform, such as BitDepth(1)")

    @classmethod
    def joint(cls, data: str, bounds: Bounds | tuple[float, float] = Bounds()) -> Self:
        """The joint squeezers for a data set: "mnist", "cifar10", "imagenet" as published.

        "fashion-mnist" and "photopatch10" are ours: those of "imagenet", which are mild, with 4 bits for the first.

        Raises:  SpecError if there are none for it, with the nearest ones.
        """
        if data not in JOINT:
            raise unknown("data set", data, JOINT)
        return cls(tuple(transform(told, Bounds.of(bounds)) for told in JOINT[data]))

    def fit(self, model: Classifier, x: Batch, y: Labels) -> Squeezed:
        """Nothing is fitted; the rows tell whether the squeezers leave clean inputs what they are.

        Raises:  SettingError if a squeezer has other bounds than the model.
        Warns:  DetectorWarning if a squeezer alone costs more than 10 points of clean accuracy: clean inputs then score
            high, too.
        """
        for squeezer in self.squeezers:
            if squeezer.bounds != model.bounds:
                raise SettingError(
                    f"{squeezer.name} has the bounds {squeezer.bounds}, the model {model.bounds}; give it bounds="
                )
        x, y = checked_rows(model, x, y)
        scorer = Squeezed(model, self.squeezers)
        with torch.no_grad(), model.frozen():
            every = torch.cat([scorer.squeezed(part) for part in x.split(512)], 1)
        check_classes(every[0], y=y)
        right = (every.argmax(2) == y).double().mean(1).tolist()
        for squeezer, share in zip(self.squeezers, right[1:], strict=True):
            if right[0] - share > _MOST_SPOILT:
                warnings.warn(
                    f"behind {_told(squeezer)} the model is right on {share:.1%} of the rows, without it on "
                    f"{right[0]:.1%}; clean inputs will score high, so use a milder squeezer",
                    DetectorWarning,
                    stacklevel=2,
                )
        return scorer


def transform(told: Mapping[str, Any], bounds: Bounds) -> Transform:
    """A transform from its name and settings.

    Raises:  SpecError if there is none of that name, or it has no such setting.
    """
    given = dict(told)
    name = str(given.pop("name", ""))
    if name not in TRANSFORMS:
        raise unknown("transform", name, TRANSFORMS)
    try:
        return TRANSFORMS[name](**given, bounds=bounds)
    except TypeError as error:
        raise SpecError(f"transform {name!r} cannot be made with {given!r}: {error}") from error


def _change(logits: Tensor) -> Tensor:
    """The largest L1 distance (n,) of the softmax of (1 + m, n, k) logits from that of the first, in double precision.

    Clean scores of a confident net lie below 1e-3.
    """
    shares = logits.permute(2, 0, 1).softmax(0, dtype=torch.float64)  # classes first: four times as fast
    return (shares[:, 1:] - shares[:, :1]).abs().sum(0).amax(0)


def _odds(logits: Tensor) -> Tensor:
    """log(p / (1 - p)) of each class, p being the softmax over the last axis."""
    k = logits.shape[-1]
    others = logits.unsqueeze(-2).masked_fill(torch.eye(k, dtype=torch.bool, device=logits.device), -torch.inf)
    return logits - others.logsumexp(-1)


def _steps_of(squeezer: Transform) -> Map | None:
    """What stands for the gradient of rounding; None for every other squeezer, which declares it."""
    if isinstance(squeezer, BitDepth) and squeezer.mode == "round":
        return partial(_steps, squeezer.depth, squeezer.bounds)
    return None


def _steps(depth: int, bounds: Bounds, x: Batch) -> Batch:
    """A smooth staircase near a rounding: its slope is 1.9 halfway between two levels, and 0.1 on each."""
    turn: float = 2 * math.pi * (2**depth - 1)
    u = (x - bounds.lower) / bounds.width
    return x - (0.9 * bounds.width / turn) * (turn * u).sin()


def _told(squeezer: Transform) -> dict[str, Any]:
    return {"name": squeezer.name, **squeezer.settings()}
