"""A training under way as one file without code: killed at any moment, it goes on to the same weights, bit for bit."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from saddlepoint import _tensors
from saddlepoint._tensors import under
from saddlepoint.defenses.training.processes import Alone, Processes
from saddlepoint.defenses.training.run import Run
from saddlepoint.training_record import Epoch, Event

_EVERY = 30.0  # seconds: what a kill can lose
_PLAIN = ("done", "ended", "kept", "safe", "validation")
_COPIES = ("average", "best", "before")  # of all that the module holds


@final
class Checkpoint:
    """Keeps a run in a file, every half minute.

    Args:
        path: of the file; it is replaced as a whole. Of many processes, only the first reads and writes it.
        about: what else the training is, as JSON; a file that says otherwise is refused. What ``fit`` is given (net,
            inputs, labels, objective, schedule, validation) is compared without it.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.about: dict[str, Any] = json.loads(json.dumps(about))
        self._training: dict[str, Any] = {}
        self._kept = time.monotonic()

    def of(self, training: dict[str, Any]) -> None:
        """Say what ``fit`` was given, as JSON; it must agree with a file, too."""
        self._training = json.loads(json.dumps(training))

    def restore(self, run: Run, among: Processes = Alone()) -> None:
        """Put a run where the file left it; without a file nothing changes.

        Raises:  RecordError if the file is damaged, or belongs to another training.
        """
        found = among.spread(self._found(among.count) if among.index == 0 else None)
        if found is None:
            return
        told, tensors = found
        device = next(run.module.parameters()).device
        run.module.load_state_dict(under("module", tensors))
        _tensors.to_optimizer(run.optimizer, under("optimizer", tensors), told["groups"])
        for name in _PLAIN:
            setattr(run, name, told[name])
        run.epochs = [Epoch(**each) for each in told["epochs"]]
        run.events = [Event(**each) for each in told["events"]]
        run.seconds = told["seconds"]
        run.losses = list(tensors["losses"].to(device))
        for copy in _COPIES:
            getattr(run, copy).update({name: t.to(device) for name, t in under(copy, tensors).items()})
        own = under(f"process{among.index}", tensors)
        run.memory.update({name: tensor.to(device) for name, tensor in under("memory", own).items()})
        run.forwards, run.backwards = own["passes"].tolist()
        _set_generators(under("generator", own))

    def due(self) -> bool:
        """Whether half a minute has passed since the run was last written."""
        return time.monotonic() - self._kept >= _EVERY

    def keep(self, run: Run, among: Processes = Alone()) -> None:
        """Write the run.

        Raises:  RecordError if it cannot be written; what was written before is kept.
        """
        own = {f"generator.{name}": tensor for name, tensor in _generators().items()}
        own.update({f"memory.{name}": tensor for name, tensor in run.memory.items()})
        own["passes"] = torch.tensor([run.forwards, run.backwards])
        parts = among.gather({name: tensor.detach().cpu() for name, tensor in own.items()})
        if among.index == 0:
            self._write(run, parts)
        self._kept = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the training is over."""
        self.path.unlink(missing_ok=True)

    def _write(self, run: Run, parts: list[dict[str, Tensor]]) -> None:
        tensors = {f"module.{name}": tensor for name, tensor in run.module.state_dict().items()}
        optimizer, groups = _tensors.of_optimizer(run.optimizer)
        tensors.update({f"optimizer.{name}": tensor for name, tensor in optimizer.items()})
        for copy in _COPIES:
            tensors.update({f"{copy}.{name}": tensor for name, tensor in getattr(run, copy).items()})
        for index, part in enumerate(parts):
            tensors.update({f"process{index}.{name}": tensor for name, tensor in part.items()})
        tensors["losses"] = torch.stack(run.losses) if run.losses else torch.zeros(0)
        told = {
            "about": {**self.about, "processes": len(parts)},
            "training": self._training,
            "epochs": [asdict(each) for each in run.epochs],
            "events": [asdict(each) for each in run.events],
            "seconds": run.elapsed(),
            **{name: getattr(run, name) for name in _PLAIN},
            "groups": groups,
        }
        _tensors.write(self.path, tensors, told)

    def _found(self, count: int) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """What the file holds, if there is one and it is of this training."""
        if not self.path.exists():
            return None
        told, tensors = _tensors.read(self.path)
        _tensors.same(self.path, {**self.about, "processes": count}, told["about"])
        _tensors.same(self.path, self._training, told.get("training", {}))
        return told, tensors


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
