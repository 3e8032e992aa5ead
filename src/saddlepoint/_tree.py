"""Selecting rows of a state: a tensor in it has one entry per row on its leading axis, anything else is shared."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def take(tree: T, rows: Tensor) -> T:
    """The same structure with only the given rows of every tensor.

    Args:  tree: a tensor, dataclass, tuple, list or dict of such, or any other value (kept as it is);
        rows: (m,) indices into the leading axis.
    """
    return cast(T, _map(tree, lambda tensor: tensor.index_select(0, rows)))


def where(mask: Tensor, new: T, old: T) -> T:
    """Row by row, ``new`` where the mask (n,) holds and ``old`` elsewhere; both have the same structure."""
    return cast(T, _map(new, lambda a, b: torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b), old))


def _map(tree: Any, function: Callable[..., Tensor], *others: Any) -> Any:  # noqa: ANN401 (any nesting)
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        fields = [f.name for f in dataclasses.fields(tree) if f.init]
        values = {f: _map(getattr(tree, f), function, *(getattr(o, f) for o in others)) for f in fields}
        return dataclasses.replace(tree, **values)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_map(item, function, *rest) for item, *rest in zip(tree, *others, strict=True)))
    if isinstance(tree, tuple | list):
        return type(tree)(_map(item, function, *rest) for item, *rest in zip(tree, *others, strict=True))
    if isinstance(tree, dict):
        return {key: _map(item, function, *(o[key] for o in others)) for key, item in tree.items()}
    return tree
