"""Trainings as values, and nets from them: trained once, kept as weights, gone on with after a kill."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.balls import Bounds
from saddlepoint.defenses.training import Checkpoint, Schedule, Validation, fit
from saddlepoint.defenses.training.recipes.kinds import build
from saddlepoint.models import SmallCNN, load_weights, save_weights
from saddlepoint.records import NUMERICS_VERSION

BALLS = {"linf": sp.Linf, "l2": sp.L2}
data = cache(sp.load_data)


class DropoutCNN(nn.Module):
    """SmallCNN with dropout before its last layer."""

    def __init__(self, share=0.5):
        super().__init__()
        layers = list(SmallCNN().layers)
        self.layers = nn.Sequential(*layers[:-1], nn.Dropout(share), layers[-1])

    def forward(self, x):
        return self.layers(x)


NETS = {"SmallCNN": SmallCNN, "DropoutCNN": DropoutCNN}


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that moves the weights of a net.

    Args:
        objective, awp: settings as in a recipe;  norm, eps: of the ball;  teacher: a training of its own.
        rows: the first of the training rows, None for all;  validation: settings of it without its ball.
    """

    objective: dict[str, Any]
    awp: dict[str, Any] | None = None
    norm: str = "linf"
    eps: float = 0.1
    data: str = "fashion-mnist:train"
    net: str = "SmallCNN"
    rows: int | None = None
    epochs: int = 8
    peak: float = 5e-3
    seed: int = 0
    validation: dict[str, Any] | None = None
    teacher: "Training | None" = None

    @property
    def ball(self):
        """That it trains in."""
        return BALLS[self.norm](self.eps)

    def about(self):
        """The training as JSON, with the versions that its weights depend on."""
        told = {**asdict(self), "schedule": self.schedule().describe(), "data_sha256": data(self.data).fingerprint}
        versions = {"code": code(), "numerics": NUMERICS_VERSION, "torch": torch.__version__}
        return {**told, **versions, "threads": torch.get_num_threads()}

    def schedule(self):
        """Adam, batches of 128, one cycle with its peak at two fifths, no augmentation."""
        return Schedule(epochs=self.epochs, peak=self.peak, seed=self.seed)

    def validate(self):
        """What is measured after each epoch."""
        return None if self.validation is None else Validation(ball=self.ball, **self.validation)


def trained(training, folder):
    """The net in evaluation mode, and what its training says: read from the folder, or else trained into it.

    ``cpu`` is seconds of this process; those of a run that went on after a kill are scaled up by the steps done.
    """
    teacher, before = (None, {"cpu": 0.0, "seconds": 0.0})
    if training.teacher is not None:
        teacher, before = trained(training.teacher, folder)
    about = json.loads(json.dumps(training.about()))
    path = folder / f"{hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]}.safetensors"
    torch.manual_seed(training.seed)
    net = NETS[training.net]()
    if path.exists() and path.with_suffix(".json").exists():
        load_weights(net, path)
        return net.eval(), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["told"]
    told = _train(net, training, teacher, Checkpoint(path.with_suffix(".checkpoint"), about))
    told = {**told, "cpu": told["cpu"] + before["cpu"], "seconds": told["seconds"] + before["seconds"]}
    save_weights(net, path)
    path.with_suffix(".json").write_text(json.dumps({"told": told, "about": about}, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".checkpoint").unlink(missing_ok=True)
    return net, told


def _train(net, training, teacher, checkpoint):
    checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
    rows = data(training.data)
    rows = rows if training.rows is None else rows[: training.rows]
    objective = build(training.objective, training.awp, training.ball, 1.0, Bounds(), teacher)
    clock = []  # CPU seconds after each step that is done here; the first one pays for imports
    record = fit(
        net, rows.x, rows.y, objective, training.schedule(), validation=training.validate(), checkpoint=checkpoint,
        watch=lambda done, _: clock.append((time.process_time(), done)),
    )  # fmt: skip
    (first, _), (last, steps) = clock[0], clock[-1]
    return {
        "seconds": sum(epoch.seconds for epoch in record.epochs),
        "cpu": (last - first) / max(1, len(clock) - 1) * steps,
        "passes": record.forwards + record.backwards,
        "kept": record.kept,
        "ended": record.ended,
        "epochs": [[epoch.loss, epoch.clean, epoch.fgsm, epoch.pgd] for epoch in record.epochs],
        "events": [asdict(event) for event in record.events],
    }


@cache
def code():
    """The first digits of a hash over the files of training."""
    root, digest = Path(sp.__file__).parent / "defenses" / "training", hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def shorter(training, rows):
    """The same training on a few rows for one epoch, to try the script out."""
    teacher = training.teacher and shorter(training.teacher, rows)
    validation = training.validation and {**training.validation, "rows": 512}
    return replace(training, rows=rows, epochs=min(2, training.epochs), teacher=teacher, validation=validation)
