"""One step of the optimizer."""

from typing import Any, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.classifier import Meter
from saddlepoint.defenses.training.augment import augment
from saddlepoint.defenses.training.average import follow
from saddlepoint.defenses.training.objectives import Objective
from saddlepoint.defenses.training.objectives.objective import bounds_of
from saddlepoint.defenses.training.order import Order
from saddlepoint.defenses.training.processes import Processes
from saddlepoint.defenses.training.rates import rate
from saddlepoint.defenses.training.run import Run
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.noise import Noise


@final
class Step:
    """One step of the optimizer."""

    def __init__(
        self, run: Run, objective: Objective, schedule: Schedule, order: Order, among: Processes, meter: Meter
    ) -> None:
        self.run, self.objective, self.schedule, self.order = run, objective, schedule, order
        self.among, self.meter = among, meter
        self.rate = 0.0
        self.device = next(run.module.parameters()).device
        self.bounds = bounds_of(objective)

    def __call__(self, epoch: int, batch: Tensor, replay: int, x: Batch, y: Labels, due: bool) -> bool:
        """Train on a batch of rows; whether the run is due to be written, which all processes agree on."""
        run, rows = self.run, self.among.share(batch)
        self.meter.forwards = self.meter.backwards = 0
        run.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(epoch, rows, replay, x, y)
        loss, due = self.among.average(run.module, loss, len(rows), len(batch), due)
        if self.schedule.clip is not None:
            nn.utils.clip_grad_norm_([p for p in run.module.parameters() if p.grad is not None], self.schedule.clip)
        self.rate = rate(self.schedule, run.done, self.order.total)
        for group in run.optimizer.param_groups:
            group["lr"] = self.rate
        run.optimizer.step()
        self.among.follow(run.module)
        if self.schedule.ema is not None:
            follow(run.average, run.module, self.schedule.ema)
        run.done += 1
        run.losses.append(loss)
        run.forwards += self.meter.forwards
        run.backwards += self.meter.backwards
        return due

    def _loss(self, epoch: int, rows: Tensor, replay: int, x: Batch, y: Labels) -> Tensor:
        """The loss of this process's rows, with its gradient in the parameters; 0 of none."""
        run, device = self.run, self.device
        if not len(rows):  # the last batch may be smaller than the number of processes
            return next(run.module.parameters()).new_zeros(())
        drawn = Noise(self.schedule.seed).child(epoch).at(rows.to(device))
        inputs, labels = augment(x[rows].to(device), drawn, self.schedule, self.bounds), y[rows].to(device)
        noise = drawn.child(f"replay {replay}") if replay else drawn
        progress = run.done / self.order.total
        told: dict[str, Any] = {"noise": noise, "progress": progress, "memory": run.memory}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.schedule.precision == "bfloat16"):
            points = self.objective.points(run.module, inputs, labels, **told)
            loss = self.objective.loss(run.module, inputs, points, labels)
        loss.backward()
        return loss.detach()
