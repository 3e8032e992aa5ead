"""All that changes while a generator is fitted, and its file: killed, the fit goes on to the same bits."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from saddlepoint import _tensors
from saddlepoint._tensors import under
from saddlepoint.attacks.advgan.attack import Epoch
from saddlepoint.attacks.advgan.nets import Discriminator, Generator

_EVERY = 30.0  # seconds: what a kill can lose
_NETS = ("generator", "discriminator", "copy")


@final
@dataclass(kw_only=True)
class Run:
    """The state of a fit.

    Args:
        copy: the distilled net that stands for a black box, else None.
        average: the moving average of the generator's weights, which is the result.
        optimizers: of each net that is trained, by its name.
        done: steps done;  sums: (figures,) of the current epoch, over rows.
        answers: (n, k) of the black box to the clean rows;  again: to the points of the current round; empty before.
    """

    generator: Generator
    discriminator: Discriminator
    copy: nn.Module | None
    optimizers: dict[str, torch.optim.Optimizer]
    average: dict[str, Tensor]
    done: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(0))
    answers: Tensor = field(default_factory=lambda: torch.zeros(0))
    again: Tensor = field(default_factory=lambda: torch.zeros(0))
    history: list[Epoch] = field(default_factory=list)


@final
class Checkpoint:
    """Keeps a run in a file, every half minute.

    Args:  path: None keeps nothing;  about: what the fit is; a file that says otherwise is refused.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.about = path, json.loads(json.dumps(about))
        self._kept = time.monotonic()

    def restore(self, run: Run) -> None:
        """Put a run where the file left it; without a file nothing changes.

        Raises:  RecordError if the file is damaged, or belongs to another fit.
        """
        if self.path is None or not self.path.exists():
            return
        told, tensors = _tensors.read(self.path)
        _tensors.same(self.path, self.about, told["about"], "fit")
        device = next(run.generator.parameters()).device
        for name in _NETS:
            module: nn.Module | None = getattr(run, name)
            if module is not None:
                module.load_state_dict(under(name, tensors))
                optimizer = under(f"optimizer of {name}", tensors)
                _tensors.to_optimizer(run.optimizers[name], optimizer, told["groups"][name])
        run.average = {name: tensor.to(device) for name, tensor in under("average", tensors).items()}
        run.sums, run.answers, run.again = (tensors[name].to(device) for name in ("sums", "answers", "again"))
        run.done, run.history = told["done"], [Epoch(**each) for each in told["history"]]

    def keep(self, run: Run) -> None:
        """Write the run, if half a minute has passed since it was last written.

        Raises:  RecordError if it cannot be written; what was written before is kept.
        """
        if self.path is None or time.monotonic() - self._kept < _EVERY:
            return
        tensors = {"sums": run.sums, "answers": run.answers, "again": run.again}
        tensors |= {f"average.{name}": tensor for name, tensor in run.average.items()}
        groups = {}
        for name in _NETS:
            module: nn.Module | None = getattr(run, name)
            if module is not None:
                tensors |= {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}
                kept, groups[name] = _tensors.of_optimizer(run.optimizers[name])
                tensors |= {f"optimizer of {name}.{key}": tensor for key, tensor in kept.items()}
        told = {"about": self.about, "groups": groups, "done": run.done, "history": [asdict(e) for e in run.history]}
        _tensors.write(self.path, tensors, told)
        self._kept = time.monotonic()
