"""From a model spec to a classifier: ``zoo:NAME`` or ``py:package.module:factory``."""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError, SpecError, WeightsError, shown, unknown
from saddlepoint.models.nets import build
from saddlepoint.models.weights import load_weights

_PLANNED = ("timm", "torchvision", "hf", "robustbench", "onnx", "export")
_AVAILABLE = "zoo:NAME (see zoo_names()) and py:package.module:factory"

Normalisation = float | Sequence[float] | Tensor | None


def load_model(
    spec: str,
    *,
    weights: str | Path | None = None,
    device: torch.device | str | None = None,
    bounds: Bounds | tuple[float, float] | None = None,
    mean: Normalisation = None,
    std: Normalisation = None,
) -> Classifier:
    """The classifier that a spec names, in evaluation mode.

    Args:
        spec: ``zoo:NAME``, an embedded model (its hash is checked), or ``py:package.module:factory``: the module is
            imported, also from the current folder, and ``factory()`` is called, so its code runs. It returns an
            ``nn.Module`` or a Classifier.
        weights: a safetensors file that is loaded into the module of a ``py:`` spec.
        device: where the model goes; default where the factory put it, the CPU for the zoo.
        bounds, mean, std: as in Classifier, for modules of a ``py:`` spec; default (0, 1) and no normalisation.

    Raises:
        SpecError: if the spec names nothing.
        SettingError: if an argument does not go with this model, or the device cannot be used.
        ModelError: if the module cannot be imported, or its factory fails.
        ArgumentTypeError: if the spec is no text, or the factory returns something else.
        WeightsError: if the weights cannot be read, or do not fit.
    """
    given = {name: value for name, value in (("bounds", bounds), ("mean", mean), ("std", std)) if value is not None}
    if not isinstance(spec, str):
        raise ArgumentTypeError(f"model {shown(spec)} must be text; this version knows {_AVAILABLE}")
    kind, colon, name = spec.partition(":")
    if kind == "zoo" and colon:
        return _from_zoo(name, device, [*given, *(["weights"] if weights is not None else [])])
    if kind == "py" and colon:
        return _from_python(spec, name, weights, device, given)
    if kind in _PLANNED:
        raise SpecError(
            f"model {spec!r}: {kind + ':'!r} is not available in this version, which knows {_AVAILABLE}; "
            "such a model can be built in a function of your own, and named by py:"
        )
    raise unknown("model", spec, [*(f"zoo:{known}" for known in zoo_names()), "py:package.module:factory"])


def zoo_names() -> list[str]:
    """The names of the embedded models, sorted; load one with ``load_model("zoo:" + name)``."""
    zoo = _zoo()
    return (
        sorted(file.name.removesuffix(".json") for file in zoo.iterdir() if file.name.endswith(".json"))
        if zoo.is_dir()
        else []
    )


def zoo_card(name: str) -> dict[str, Any]:
    """The sidecar of an embedded model: architecture, bounds, sha256 of the weights, recipe, accuracies as measured.

    Raises:  SpecError if there is no model of that name;  WeightsError if its sidecar is damaged.
    """
    if name not in (names := zoo_names()):
        raise unknown("zoo model", name, names)
    try:
        card = json.loads((_zoo() / f"{name}.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"the sidecar {name}.json is not JSON ({error}); install saddlepoint again") from error
    lacking = sorted({"architecture", "bounds", "sha256"} - card.keys()) if isinstance(card, dict) else ["everything"]
    if lacking:
        raise WeightsError(f"the sidecar {name}.json lacks {', '.join(lacking)}; install saddlepoint again")
    return dict(card)


def _zoo() -> Traversable:
    return resources.files("saddlepoint.models") / "zoo"


def _from_zoo(name: str, device: torch.device | str | None, given: list[str]) -> Classifier:
    card = zoo_card(name)
    if given:
        raise SettingError(
            f"{', '.join(given)} cannot be given for zoo:{name}, which has its own; leave them out, "
            "or use its architecture: py:saddlepoint.models:SmallCNN"
        )
    module = build(card["architecture"])
    with resources.as_file(_zoo() / f"{name}.safetensors") as path:
        load_weights(module, path, card["sha256"])
    return Classifier(
        _placed(module, device), bounds=Bounds.of(tuple(card["bounds"])), mean=card.get("mean"), std=card.get("std")
    )


def _from_python(
    spec: str, name: str, weights: str | Path | None, device: torch.device | str | None, given: dict[str, Any]
) -> Classifier:
    made = _made(spec, name)
    module = made.module if isinstance(made, Classifier) else made
    if isinstance(made, Classifier):
        if given or device is not None:
            odd = ", ".join([*given, *(["device"] if device is not None else [])])
            raise SettingError(
                f"{odd} cannot be given for {spec!r}, whose factory returns a Classifier; set them in the factory"
            )
        if not isinstance(module, nn.Module):
            if weights is not None:
                raise SettingError(
                    f"weights cannot be loaded into {spec!r}: its Classifier wraps a function, not an nn.Module"
                )
            return made
    elif not isinstance(module, nn.Module):
        raise ArgumentTypeError(
            f"{spec!r} returned {type(made).__name__}; the factory must return an nn.Module or a Classifier. "
            "A function of a batch can be wrapped: saddlepoint.Classifier(function)"
        )
    if weights is not None:
        load_weights(module, weights)
    _placed(module, device)
    return made if isinstance(made, Classifier) else Classifier(module, **given)


def _made(spec: str, name: str) -> object:
    """Import the module, find the factory, call it."""
    path, _, factory = name.partition(":")
    if not path or path.startswith(".") or not factory:
        raise SpecError(
            f"model {spec!r} must be py:package.module:factory, for example py:mynets:resnet for resnet() in mynets.py"
        )
    with _current_folder():
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is None or not (path == error.name or path.startswith(f"{error.name}.")):
                raise ModelError(f"model {spec!r}: importing {path!r} failed: {error}") from error
            raise SpecError(
                f"model {spec!r}: there is no module {error.name!r}, neither installed nor in the current folder; "
                "write package.module without .py"
            ) from error
        except Exception as error:
            raise ModelError(f"model {spec!r}: importing {path!r} failed: {type(error).__name__}: {error}") from error
        function = getattr(module, factory, None)
        if function is None:
            raise unknown(
                f"factory in {path!r}",
                factory,
                [key for key, value in vars(module).items() if callable(value) and key[0] != "_"],
            )
        if not callable(function):
            raise ArgumentTypeError(
                f"model {spec!r}: {factory!r} is {type(function).__name__}; "
                "name a function or class that returns the model"
            )
        try:
            return function()
        except Exception as error:
            raise ModelError(f"model {spec!r}: {factory}() failed: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """The current folder first on the import path, as ``python -m`` has it; afterwards the path is as it was."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the imported code may have changed the path itself
            sys.path.remove(folder)


def _placed(module: nn.Module, device: torch.device | str | None) -> nn.Module:
    """The module in evaluation mode, on the device."""
    if device is not None:
        try:
            module.to(device)
        except (RuntimeError, AssertionError, TypeError) as error:  # torch raises any of them
            reason = str(error).splitlines()[0]
            raise SettingError(
                f"device={shown(device)} cannot be used ({reason}); use 'cpu' or a device that this machine has"
            ) from error
    return module.eval()
