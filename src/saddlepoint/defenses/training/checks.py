"""What a training is given, looked at before its first step."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saddlepoint._typing import Batch, Labels
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training.modes import to_training
from saddlepoint.defenses.training.objectives import Objective, Reconstruction
from saddlepoint.defenses.training.objectives.objective import bounds_of
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.defenses.training.validation import Validation
from saddlepoint.errors import ArgumentTypeError, InputError, ModelError, SettingError, shown

_AT_ONCE = 4096  # rows whose numbers are looked at: x may be as large as the memory


def check(
    module: object, x: object, y: object, objective: Objective, schedule: Schedule, validation: Validation | None
) -> tuple[nn.Module, Batch, Labels]:
    """The module, inputs and labels of a training, if it can begin; nothing of them is changed.

    Raises:
        ArgumentTypeError: for what is no module, or no tensor.
        ModelError: for a module without parameters, or one that fails on these inputs.
        InputError: for inputs that are no finite floats, labels that are none of the module's classes, rows that do
            not match, or a last batch of one row that batch normalisation cannot take.
    """
    net, box = _module(module), bounds_of(objective)
    if validation is not None and box is not None and validation.bounds != box:
        raise SettingError(
            f"the validation has the bounds {validation.bounds}, the objective {box}; give both the box of the inputs"
        )
    x, y = _tensor("x", x), _tensor("y", y)
    if not len(x) or len(x) != len(y):
        raise InputError(f"x has {len(x)} rows and y {len(y)}; training needs as many, and at least one")
    if not x.is_floating_point():
        raise InputError(f"x is of {x.dtype}; give floats in the box of the inputs, such as x.float() / 255")
    if y.dtype != torch.int64 or y.dim() != 1:
        raise InputError(f"y is of {y.dtype} and shape {tuple(y.shape)}; give class indices, int64 of shape (n,)")
    for rows in torch.arange(len(x)).split(_AT_ONCE):
        if not bool(x[rows[0] : rows[-1] + 1].isfinite().all()):
            bad = x[rows[0] : rows[-1] + 1].flatten(1).isfinite().all(1).logical_not().nonzero()[0, 0]
            raise InputError(f"row {int(rows[0] + bad)} of x holds NaN or infinity; give finite inputs")
    device = next(net.parameters()).device
    with Classifier(net, device=device).frozen():
        output = _tried(net, x[:2].to(device))
    if isinstance(output, Tensor) and output.dim() == 2 and not isinstance(objective, Reconstruction):
        _classes(y, max(2, output.shape[1]))
    trained = len(x) - (0 if validation is None else min(validation.rows, len(x) - 1))
    if trained % schedule.batch_size == 1 and any(isinstance(part, _BatchNorm) for part in net.modules()):
        twin = copy.deepcopy(net)
        to_training(twin)
        try:
            _tried(twin, x[:1].to(device))
        except ModelError as error:
            raise InputError(
                f"{trained} training rows in batches of {schedule.batch_size} leave one row for the last, which batch "
                "normalisation cannot take; change batch_size, or leave a row out"
            ) from error
    return net, x, y


def _module(module: object) -> nn.Module:
    if isinstance(module, Classifier) or not isinstance(module, nn.Module):
        raise ArgumentTypeError(
            f"module is {type(module).__name__}; give the nn.Module itself, which normalises its own inputs"
        )
    if next(module.parameters(), None) is None:
        raise ModelError(f"{type(module).__name__} has no parameters: there is nothing to train")
    return module


def _tensor(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or not value.dim():
        raise ArgumentTypeError(f"{name} is {shown(type(value).__name__)}; give a tensor of rows, as torch.as_tensor")
    return value


def _classes(y: Labels, k: int) -> None:
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= k:
        raise InputError(
            f"the labels run from {low} to {high}, the module has classes 0 to {k - 1}; count classes from 0, or give "
            "a module with an output for each"
        )


def _tried(net: nn.Module, x: Tensor) -> object:
    """What a module makes of a few rows; random numbers are afterwards as before."""
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        try:
            return net(x.clone())
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ModelError(
                f"the module fails on inputs of shape {tuple(x.shape)} and {x.dtype}: {shown(error, 200)}; give inputs "
                "of its shape and dtype"
            ) from error
