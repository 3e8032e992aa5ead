"""From a spec to a defended model: ``zoo:mnist-standard | median:2 | bit-depth:1``."""

import inspect
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch

from saddlepoint import models
from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.transforms import TRANSFORMS, DenoisingAutoencoder, Transform
from saddlepoint.errors import SettingError, SpecError, shown, unknown
from saddlepoint.models.load import Normalisation
from saddlepoint.values import READERS, UNREADABLE


def load_model(
    spec: str,
    *,
    weights: str | Path | None = None,
    device: torch.device | str | None = None,
    bounds: Bounds | tuple[float, float] | None = None,
    mean: Normalisation = None,
    std: Normalisation = None,
) -> Classifier:
    """The classifier that a spec names, in evaluation mode, with the transforms that stand in front of it.

    Args:
        spec: ``zoo:NAME``, an embedded model (its hash is checked), or ``py:package.module:factory``: the module is
            imported, also from the current folder, and ``factory()`` is called, so its code runs. It returns an
            ``nn.Module`` or a Classifier. Transforms may follow, each after a bar, with its settings after a colon:
            in ``zoo:mnist-standard | median:2 | bit-depth:depth=1`` an input goes through the median first.
        weights: a safetensors file that is loaded into the module of a ``py:`` spec.
        device: where the model goes; default where the factory put it, the CPU for the zoo.
        bounds, mean, std: as in Classifier, for modules of a ``py:`` spec; default (0, 1) and no normalisation.

    Raises:
        SpecError: if the spec names nothing.
        SettingError: if an argument does not go with this model, a setting with its transform, or the device cannot be
            used.
        ModelError: if the module cannot be imported, or its factory fails.
        ArgumentTypeError: if the spec is no text, or the factory returns something else.
        WeightsError: if the weights cannot be read, or do not fit.
    """
    bare, *parts = (part.strip() for part in spec.split("|")) if isinstance(spec, str) else [spec]
    for part in parts:
        _known(part)  # told before a model is loaded
    model = models.load_model(bare, weights=weights, device=device, bounds=bounds, mean=mean, std=std)
    for part in reversed(parts):
        model = model.prepend(transform(part, model.bounds).to(model.device).eval())
    return model


def transform(text: str, bounds: Bounds = Bounds()) -> Transform:
    """The transform that a text names, with its settings after a colon, in order or by name.

    Args:  text: such as ``median:2``, ``bilateral:5,0.1,1`` or ``jpeg:quality=75``;  bounds: the box of its inputs.

    Raises:
        SpecError: for an unknown transform or setting, or one too many.
        SettingError: for a value of the wrong kind, or one that the transform refuses.
    """
    name, cls, words = _known(text)
    fields = {key: each for key, each in inspect.signature(cls).parameters.items() if key != "bounds"}
    hints, order = (
        get_type_hints(cls.__init__),
        [key for key, each in fields.items() if each.kind is not each.KEYWORD_ONLY],
    )
    found: dict[str, Any] = {}
    for place, word in enumerate(words):
        key, named, value = word.partition("=")
        key = key.strip().replace("-", "_")
        if not named:
            if place >= len(order):
                raise SpecError(f"{text!r}: {shown(word)} is one setting too many; {name} has {_listed(order)}")
            key, value = order[place], word
        elif key not in fields:
            raise unknown(f"setting of {name}", key, fields)
        if key in found:
            raise SpecError(f"{text!r}: {key} is set twice; keep one")
        found[key] = _value(key, hints[key], value.strip())
    lacking = [key for key, each in fields.items() if each.default is each.empty and key not in found]
    if lacking:
        raise SpecError(f"{text!r} lacks {_listed(lacking)}; write for example {name}:{lacking[0]}=2")
    return cls(bounds=bounds, **found)


def _known(text: str) -> tuple[str, type[Transform], list[str]]:
    """The name, the class and the settings of a transform."""
    name, colon, rest = text.partition(":")
    name = name.strip()
    if name not in TRANSFORMS:
        raise unknown("transform", name, TRANSFORMS)
    if TRANSFORMS[name] is DenoisingAutoencoder:
        raise SpecError(
            f"{text!r} needs weights that were trained, which a spec does not name; write a function that returns "
            "Classifier(...).prepend(autoencoder), and name it: py:module:function"
        )
    words = re.split("[:,]", rest) if colon else []
    if not all(word.strip() for word in words):
        raise SpecError(f"{text!r} has an empty setting; write {name}, or {name}: and its settings, parted by commas")
    return name, TRANSFORMS[name], words


def _value(name: str, hint: Any, word: str) -> Any:  # noqa: ANN401 (whatever the parameter holds)
    """A word as its parameter takes it."""
    kinds = [hint] if get_origin(hint) is Literal else get_args(hint) or [hint]
    if any(kind is str or get_origin(kind) is Literal for kind in kinds):
        return word  # which words there are is checked by the class
    found = next((READERS[kind] for kind in kinds if kind in READERS), None)
    if found is None:
        raise SettingError(
            f"{name}={shown(word)} cannot be written in a spec; set it in Python, with Classifier.prepend"
        )
    read, rule = found
    try:
        return read(word)
    except UNREADABLE as error:
        raise SettingError(f"{name}={shown(word)} must be {rule}") from error


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no settings"
