"""Tensors and what is told about them, as one file without code that is written whole or not at all."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor
from torch.optim import Optimizer

from saddlepoint._files import write_atomic
from saddlepoint.errors import RecordError


def write(path: Path, tensors: dict[str, Tensor], told: dict[str, Any]) -> None:
    """Replace a file: the tensors as safetensors, in its header ``told`` as JSON, and their sha256.

    Raises:  RecordError if it cannot be written; what was written before is kept.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    told = {**told, "sha256": digest(tensors)}
    try:
        write_atomic(path, encode(tensors, {"run": json.dumps(told)}))
    except OSError as error:
        raise RecordError(
            f"{path.name!r} cannot be written ({error.strerror}); what was written before is kept: "
            "make room and run the same command again"
        ) from error


def read(path: Path, kind: str = "checkpoint") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What was told, and the tensors.

    Raises:  RecordError if the file cannot be read, or is not as it was written.
    """
    try:
        with safe_open(path, "pt") as content:
            told = json.loads(content.metadata()["run"])
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (no mapping)
        if told["sha256"] != digest(tensors):
            raise ValueError("its tensors are not those that were written")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        remedy = (
            "delete it to start anew, or give another --out"
            if kind == "checkpoint"
            else "give the file that was written"
        )
        raise RecordError(f"{path.name!r} is no whole {kind} ({error}); {remedy}") from error
    return told, tensors


def same(path: Path, about: dict[str, Any], told: dict[str, Any], kind: str = "training") -> None:
    """Refuse a checkpoint of something else; ``kind`` is what it is of.

    Raises:  RecordError that names what differs.
    """
    if differing := sorted(k for k in about.keys() | told.keys() if about.get(k) != told.get(k)):
        raise RecordError(
            f"{path.name!r} is of another {kind}: its {', '.join(differing)} differ; "
            "repeat that command, delete the file, or give another --out"
        )


def under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with that part, without it."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}


def of_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The tensors that an optimizer keeps, and the settings of its groups; what it has not got yet is left out."""
    state = optimizer.state_dict()
    kept = {f"{n}.{what}": t for n, entries in state["state"].items() for what, t in entries.items() if t is not None}
    return kept, state["param_groups"]


def to_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    """Put an optimizer where :func:`of_optimizer` left it."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, what = name.partition(".")
        state.setdefault(int(number), {})[what] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def digest(tensors: dict[str, Tensor]) -> str:
    """sha256 of names, shapes, types and values."""
    return hashlib.sha256(encode(tensors)).hexdigest()
