"""What could have been done to the inputs of a model instead: ranges, normalisations, channels, layouts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import final

import torch
from torch import Tensor

from saddlepoint.classifier import Classifier

RANGE = "The input range is another one"
MISSING = "The normalisation is missing"
DOUBLED = "The normalisation is doubled"
OTHER = "The normalisation is another one"
INVERTED = "Light and dark are swapped"
CHANNELS = "The channels are in another order"
LAYOUT = "The layout of the inputs is another one"

_STATISTICS: dict[int, Sequence[tuple[str, tuple[float, ...], tuple[float, ...]]]] = {
    1: (
        ("MNIST", (0.1307,), (0.3081,)),
        ("Fashion-MNIST", (0.2860,), (0.3530,)),
    ),
    3: (
        ("ImageNet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("CIFAR-10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("CIFAR-100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        ("SVHN", (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        ("Caffe (levels minus the mean)", (0.48502, 0.45796, 0.40760), (1 / 255, 1 / 255, 1 / 255)),
    ),
}
"""Published statistics of inputs in [0, 1], by number of channels."""


@final
@dataclass(frozen=True)
class Mapping:
    """Another way to the module's input: what it is called, what to do, and from x in the bounds to that input."""

    title: str
    words: str
    remedy: str
    apply: Callable[[Tensor], Tensor]


def mappings(model: Classifier, x: Tensor) -> Iterator[Mapping]:
    """Every candidate for inputs like x (n, *f), the simpler ones first."""
    yield from _ranges(model)
    yield from _normalisations(model, x)
    yield from layouts(model, x)


def layouts(model: Classifier, x: Tensor) -> Iterator[Mapping]:
    """Channels in another order, axes in another order, mirrored images; the Classifier's normalisation is kept."""
    if x.dim() != 4:
        return
    channels = x.shape[1]
    if channels == 3:
        for order in list(permutations(range(3)))[:0:-1]:  # (2, 1, 0) first: BGR is the common one
            name = "".join("RGB"[i] for i in order)
            remedy = f"Give the channels in the order {name}: x[:, {list(order)}]; mean and std go with them."
            index = list(order)
            before, after = partial(_channels_before, model, index), partial(_channels_after, model, index)
            yield Mapping(CHANNELS, f"the channels as {name}", remedy, before)
            if model.mean is not None or model.std is not None:
                yield Mapping(CHANNELS, f"the channels as {name} after normalisation", remedy, after)
    for words, remedy, move in _moves(x):
        yield Mapping(LAYOUT, words, remedy, partial(_first, move, model))


def standardised(x: Tensor, model: Classifier) -> Tensor:
    """What the Classifier gives to its module."""
    if model.mean is not None:
        x = x - _shaped(model.mean, x)
    return x if model.std is None else x / _shaped(model.std, x)


def _moves(x: Tensor) -> Iterator[tuple[str, str, Callable[[Tensor], Tensor]]]:
    """Other orders of the values of an image."""
    _, first, second, last = x.shape
    yield "height and width exchanged", "Give images as (n, channels, height, width).", lambda x: x.transpose(2, 3)
    yield "upside down", "Flip the images: x.flip(2).", lambda x: x.flip(2)
    yield "mirrored", "Flip the images: x.flip(3).", lambda x: x.flip(3)
    yield "turned by 180 degrees", "Turn the images: x.flip(2, 3).", lambda x: x.flip(2, 3)
    if not first == second == last:
        remedy = "The last axis is the channels, axis 1 must be: x.permute(0, 3, 1, 2)."
        yield "the channels on axis 1, not the last", remedy, lambda x: x.permute(0, 3, 1, 2)
        yield (
            "the channels last",
            "The model takes the channels last: x.permute(0, 2, 3, 1).",
            lambda x: x.permute(0, 2, 3, 1),
        )
    if first > 1:
        yield (
            "the values read as (height, width, channels)",
            "The images were reshaped where they had to be permuted: x.reshape(n, h, w, c).permute(0, 3, 1, 2).",
            lambda x: x.reshape(len(x), second, last, first).permute(0, 3, 1, 2),
        )
        yield (
            "the values in the order (height, width, channels)",
            "The model flattens its input with the channels last: x.permute(0, 2, 3, 1) before it is flattened.",
            lambda x: x.permute(0, 2, 3, 1).reshape(x.shape),
        )


def _normalisations(model: Classifier, x: Tensor) -> Iterator[Mapping]:
    """None, the Classifier's own twice, published statistics, and those of the data at hand."""
    lower, width = model.bounds.lower, model.bounds.width
    has_own = model.mean is not None or model.std is not None
    if has_own:
        remedy = "Leave mean and std out of Classifier: the model, or the data, are normalised already."
        yield Mapping(DOUBLED, "no normalisation by the Classifier", remedy, lambda x: x)
    title = OTHER if has_own else MISSING
    for name, mean, std in _STATISTICS.get(x.shape[1] if x.dim() == 4 else 0, ()):
        m, s = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        yield _with(title, f"the statistics of {name}", lower + width * m, width * s)
        if lower < 0:
            remedy = "The inputs are normalised, and the model does it again: give inputs as they were before."
            yield Mapping(
                DOUBLED,
                f"inputs before the normalisation of {name}",
                remedy,
                lambda x, m=m, s=s: x * _shaped(s, x) + _shaped(m, x),  # type: ignore[misc]
            )
    spread, centre = torch.std_mean(x.double(), [axis for axis in range(x.dim()) if axis != 1], correction=0)
    if x.dim() in (2, 4):
        yield _with(title, "the mean and std of these rows", centre.cpu(), torch.where(spread > 0, spread, 1.0).cpu())
    if has_own:
        yield Mapping(
            OTHER,
            "the Classifier's normalisation twice",
            "The model was trained on inputs that were normalised twice: give Classifier the mean and std of that.",
            lambda x: standardised(standardised(x, model), model),
        )


def _with(title: str, words: str, mean: Tensor, std: Tensor) -> Mapping:
    """Normalised by these numbers (c,), in input units."""
    numbers = ", ".join(f"{name}={_listed(each)}" for name, each in (("mean", mean), ("std", std)))
    return Mapping(
        title,
        f"{words} ({numbers})" if len(mean) <= 4 else words,
        f"Give them to the Classifier: Classifier(model, {numbers})."
        if len(mean) <= 4
        else "Give the Classifier the mean and std that the model was trained with.",
        lambda x: (x - _shaped(mean, x)) / _shaped(std, x),
    )


def _ranges(model: Classifier) -> Iterator[Mapping]:
    """Inputs on another scale, without normalisation or before it, and inverted."""
    lower, upper, width = model.bounds.lower, model.bounds.upper, model.bounds.width
    for low, high in ((0, 255), (-1, 1), (0, 1), (-0.5, 0.5), (0, 1 / 255)):
        if (low, high) == (lower, upper):
            continue
        words = f"inputs from {low:g} to {high:g}"
        trained = f"The model was trained on inputs from {low:g} to {high:g}: "
        onto = partial(_onto, (lower, upper), (low, high))
        mean, std = lower - low * width / (high - low), width / (high - low)
        yield Mapping(RANGE, words, f"{trained}Classifier(model, mean={mean:.6g}, std={std:.6g}).", onto)
        if model.mean is not None or model.std is not None:
            yield Mapping(
                RANGE,
                f"{words}, then normalised",
                f"{trained}give mean and std in the units of the bounds, {lower:g} to {upper:g}.",
                partial(_first, onto, model),
            )
    yield Mapping(
        INVERTED,
        "inverted inputs",
        f"Give {lower + upper:g} - x: the model was trained on inputs whose light and dark are the other way round.",
        lambda x: standardised(lower + upper - x, model),
    )


def _channels_before(model: Classifier, index: list[int], x: Tensor) -> Tensor:
    return standardised(x[:, index], model)


def _channels_after(model: Classifier, index: list[int], x: Tensor) -> Tensor:
    return standardised(x, model)[:, index]


def _first(change: Callable[[Tensor], Tensor], model: Classifier, x: Tensor) -> Tensor:
    """What the module gets if the inputs are changed first."""
    return standardised(change(x), model)


def _onto(own: tuple[float, float], other: tuple[float, float], x: Tensor) -> Tensor:
    """From one range to another."""
    return other[0] + (other[1] - other[0]) * ((x - own[0]) / (own[1] - own[0]))


def _shaped(value: Tensor, x: Tensor) -> Tensor:
    return value.to(x).reshape(-1, *[1] * (x.dim() - 2)) if value.dim() else value.to(x)


def _listed(value: Tensor) -> str:
    numbers = ", ".join(f"{number:.4g}" for number in value.tolist())
    return numbers if len(value) == 1 else f"({numbers})"
