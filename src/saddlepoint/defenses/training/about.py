"""What a training is, as JSON: a checkpoint goes on with no other."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.validation import Validation

_AT_ONCE = 4096  # rows: data may be on a GPU, or as large as the memory


def training(
    module: nn.Module, x: Batch, y: Labels, objective: Objective, schedule: Schedule, validation: Validation | None
) -> dict[str, Any]:
    """All that decides about the weights but the weights of the start, which a checkpoint replaces."""
    told = None if validation is None else {**validation.describe(), "bounds": _told(validation.bounds, module)}
    return {
        "net": structure(module),
        "inputs": _digest(x),
        "labels": _digest(y),
        "objective": _told(objective, module),
        "schedule": schedule.describe(),
        "validation": told,
    }


def structure(module: nn.Module) -> str:
    """sha256 of what a module is made of, whatever its weights: classes, settings that it shows, names and shapes."""
    parts: list[object] = [re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module))]  # addresses are of this process alone
    parts += [(name, _name(type(part))) for name, part in module.named_modules()]
    parts += [(name, str(p.dtype), tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()]
    parts += [(name, str(b.dtype), tuple(b.shape)) for name, b in module.named_buffers()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _told(value: object, trained: nn.Module) -> Any:  # noqa: ANN401 (JSON)
    """A setting as JSON: values as they are, tensors and modules by their hash, all else by its name."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return repr(value)  # NaN, too, is then the same as itself
    if isinstance(value, Tensor):
        return _digest(value)
    if isinstance(value, nn.Module):
        return {"class": _name(type(value)), "sha256": _module(value, trained)}
    if isinstance(value, Ball):
        return value.describe()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
        return {"class": _name(type(value)), **{name: _told(each, trained) for name, each in fields.items()}}
    if isinstance(value, Mapping):
        return {str(key): _told(each, trained) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_told(each, trained) for each in value]
    return _name(value if hasattr(value, "__qualname__") else type(value))


def _module(module: nn.Module, trained: nn.Module) -> str:
    """With its weights, but for a part of the net that is trained: those begin anew, and come from the checkpoint."""
    own = {id(part) for part in trained.modules()}
    if any(id(part) in own for part in module.modules()):
        return structure(module)
    return hashlib.sha256(f"{structure(module)} {Classifier(module).fingerprint}".encode()).hexdigest()


def _name(value: object) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


def _digest(tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    for part in tensor.detach().reshape(-1, *tensor.shape[1:]).split(_AT_ONCE):
        digest.update(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
