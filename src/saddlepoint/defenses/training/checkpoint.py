"""A training under way as one file without code: killed at any moment, it goes on to the same weights, bit for bit."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor, nn

from saddlepoint._files import write_atomic
from saddlepoint.errors import RecordError

_EVERY = 30.0  # seconds: what a kill can lose


@final
@dataclass
class Run:
    """All that changes while a training runs.

    Args:
        done: batches done;  losses: of the batches of the current epoch;  means: of the epochs that are complete.
        memory: what the objective keeps from batch to batch.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    cycle: torch.optim.lr_scheduler.LRScheduler
    done: int
    losses: list[Tensor]
    means: list[float]
    memory: dict[str, Tensor]


@final
class Checkpoint:
    """Keeps a run in a file, every half minute.

    Args:
        path: of the file; it is replaced as a whole.
        about: what the training is, as JSON; a file that says otherwise is refused.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.about: dict[str, Any] = json.loads(json.dumps(about))
        self._kept = time.monotonic()

    def restore(self, run: Run) -> None:
        """Put a run where the file left it; without a file nothing changes.

        Raises:  RecordError if the file is damaged, or belongs to another training.
        """
        if not self.path.exists():
            return
        told, tensors = self._read()
        differing = sorted(k for k in self.about.keys() | told["about"] if self.about.get(k) != told["about"].get(k))
        if differing:
            raise RecordError(
                f"{self.path.name!r} is of another training: its {', '.join(differing)} differ; "
                "repeat that command, delete the file, or give another --out"
            )
        run.module.load_state_dict(_under("module", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer", tensors).items():
            number, _, what = name.partition(".")
            state.setdefault(int(number), {})[what] = tensor
        run.optimizer.load_state_dict({"state": state, "param_groups": told["groups"]})
        run.cycle.load_state_dict(told["cycle"])
        run.done, run.means = told["done"], told["means"]
        device = next(run.module.parameters()).device
        run.losses = list(tensors["losses"].to(device))
        run.memory.update({name: tensor.to(device) for name, tensor in _under("memory", tensors).items()})
        _set_generators(_under("generator", tensors))

    def keep(self, run: Run) -> None:
        """Write the run, if half a minute has passed since it was last written.

        Raises:  RecordError if it cannot be written; what was written before is kept.
        """
        if time.monotonic() - self._kept < _EVERY:
            return
        tensors = {f"module.{name}": tensor for name, tensor in run.module.state_dict().items()}
        optimizer = run.optimizer.state_dict()
        for number, entries in optimizer["state"].items():
            tensors.update({f"optimizer.{number}.{what}": tensor for what, tensor in entries.items()})
        tensors.update({f"generator.{name}": tensor for name, tensor in _generators().items()})
        tensors.update({f"memory.{name}": tensor for name, tensor in run.memory.items()})
        tensors["losses"] = torch.stack(run.losses) if run.losses else torch.zeros(0)
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        told = {
            "about": self.about,
            "done": run.done,
            "means": run.means,
            "groups": optimizer["param_groups"],
            "cycle": run.cycle.state_dict(),
            "sha256": _digest(tensors),
        }
        try:
            write_atomic(self.path, encode(tensors, {"run": json.dumps(told)}))
        except OSError as error:
            raise RecordError(
                f"{self.path.name!r} cannot be written ({error.strerror}); what was written before is kept: "
                "make room and run the same command again"
            ) from error
        self._kept = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the training is over."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        try:
            with safe_open(self.path, "pt") as content:
                told = json.loads(content.metadata()["run"])
                tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (no mapping)
            if told["sha256"] != _digest(tensors):
                raise ValueError("its tensors are not those that were written")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{self.path.name!r} is no whole checkpoint ({error}); delete it to start anew, or give another --out"
            ) from error
        return told, tensors


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with that part, without it."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}


def _digest(tensors: dict[str, Tensor]) -> str:
    return hashlib.sha256(encode(tensors)).hexdigest()


def _generators() -> dict[str, Tensor]:
    """The states of torch's generators, which dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states.update({str(i): state for i, state in enumerate(torch.cuda.get_rng_state_all())})
    return states


def _set_generators(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states.pop("cpu"))
    for device, state in states.items():
        torch.cuda.set_rng_state(state, int(device))
