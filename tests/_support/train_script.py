"""A training for tests that start processes: ``python train_script.py OUT [CHECKPOINT]``, alone or under torchrun."""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from saddlepoint.attacks import PGD
from saddlepoint.balls import Linf
from saddlepoint.defenses.training import SGD, Adversarial, Checkpoint, Schedule, Validation, checkpoint, fit

ROWS, EPOCHS, BATCH = 101, 13, 25  # 81 rows are trained on: batches of 25, 25, 25 and 6, so 52 steps


def main(out, path=None):
    torch.set_num_threads(1)
    checkpoint._EVERY = 0.0
    torch.manual_seed(int(os.environ.get("RANK", "0")))  # the processes must agree on the first one's weights
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).double()
    x = torch.rand(ROWS, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    y = x[:, 0, :3].sum(2).argmax(1)
    schedule = Schedule(
        epochs=EPOCHS, batch_size=BATCH, peak=0.1, rate="cyclic", crop=1, flip=True, noise=0.01, clip=1.0, ema=0.9,
        optimizer=SGD(nesterov=True, weight_decay=1e-3),
    )  # fmt: skip
    objective = Adversarial(attack=PGD(ball=Linf(0.05), steps=3), warmup=0.2)
    validation = Validation(ball=Linf(0.05), rows=20, steps=3, keep="best", guard="off")
    kept = None if path is None else Checkpoint(Path(path), {"test": 1})
    steps = []

    def watch(done, total):
        steps.append(done)
        if kept is not None:
            print(done, os.getpid(), flush=True)

    told = fit(module, x, y, objective, schedule, validation=validation, watch=watch, checkpoint=kept)
    if os.environ.get("RANK", "0") == "0":
        save_file(module.state_dict(), out)
        Path(out).with_suffix(".json").write_text(json.dumps({"steps": steps, "record": told.to_json()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
