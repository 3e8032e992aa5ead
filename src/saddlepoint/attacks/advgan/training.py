"""The loop that fits a generator, and in turns with it the copy of a black box."""

import copy as copies
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint import _tensors
from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks.advgan.attack import EVERY, NO_TARGET, AdvGANAttack, Epoch, perturbed
from saddlepoint.attacks.advgan.losses import adversarial, beyond, distilled, passing, told_apart
from saddlepoint.attacks.advgan.nets import Discriminator, Generator
from saddlepoint.attacks.advgan.run import Checkpoint, Run
from saddlepoint.checks import check_classes, check_inputs, check_labels
from saddlepoint.classifier import Classifier
from saddlepoint.errors import InputError, SettingError
from saddlepoint.losses import defined, fooled
from saddlepoint.noise import Noise

if TYPE_CHECKING:
    from saddlepoint.attacks.advgan.fit import AdvGAN

_AT_ONCE = 512  # rows of a pass without gradient
_FITTED = ("adversarial", "gan", "norm", "discriminator", "success", "dead")
_COPIED = ("loss",)


class Turn(NamedTuple):
    """One epoch: what is trained in it, in which round, and its place among the epochs of the same."""

    phase: str
    round: int
    place: int
    length: int


def train(
    settings: "AdvGAN",
    model: Classifier,
    x: Batch,
    y: Labels | None,
    copy: nn.Module | None,
    path: Path | None,
    watch: Callable[[int, int], None] | None,
    told: Callable[[Epoch], None] | None,
) -> AdvGANAttack:
    """See :meth:`AdvGAN.fit`."""
    if (copy is None) != (settings.black_box is None):
        raise SettingError("a black box needs copy=, a net to distil it into, and nothing else does; give both or none")
    if not len(x):
        raise InputError("x has no rows; a fit needs at least one")
    for part in x.split(_AT_ONCE):
        check_inputs(model, part.to(model.device))
    settings.ball.check(x[:1], model.bounds)
    labels = None if y is None else check_labels(y, x, "y")
    about = {
        "settings": settings.describe(),
        "model": model.fingerprint,
        "data": _tensors.digest({"x": x.cpu().contiguous()} | ({} if labels is None else {"y": labels.cpu()})),
        "rows": len(x),
    }
    kept = Checkpoint(path, {**about, "copy": copy and Classifier(copy).fingerprint, "torch": torch.__version__})
    with model.frozen():
        fit = _Fit(settings, model, x, labels, copy, kept)
        fit.run_all(watch, told)
    fit.run.generator.load_state_dict(fit.run.average)
    rounds = 0 if settings.black_box is None else settings.black_box.rounds
    return AdvGANAttack.of(
        fit.run.generator, settings.ball, settings.target, shape=tuple(x.shape[1:]), classes=fit.classes,
        width=settings.width, blocks=settings.blocks, history=tuple(fit.run.history),
        about={**about, "queries": 0 if settings.black_box is None else (1 + rounds) * len(x)},
    )  # fmt: skip


@final
class _Fit:
    """A fit under way."""

    def __init__(
        self,
        settings: "AdvGAN",
        model: Classifier,
        x: Batch,
        y: Labels | None,
        copy: nn.Module | None,
        checkpoint: Checkpoint,
    ) -> None:
        self.settings, self.model, self.x, self.checkpoint = settings, model, x, checkpoint
        self.per_epoch = -(-len(x) // settings.batch_size)
        self.noise = Noise(settings.seed)
        box, device = settings.black_box, model.device
        copy = None if copy is None else copies.deepcopy(copy).to(device)
        self.victim = model if copy is None else Classifier(copy, bounds=model.bounds, device=device)
        self.classes = self._classes()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            known = self.classes if settings.target == EVERY else 1
            generator = Generator(x.shape[1:], classes=known, width=settings.width, blocks=settings.blocks).to(device)
            discriminator = Discriminator(x.shape[1:], width=settings.width).to(device)
        nets: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(net.parameters(), settings.rate) for name, net in nets.items()
        }
        if copy is not None and box is not None:
            optimizers["copy"] = torch.optim.Adam(copy.parameters(), box.rate)
        average = {name: tensor.detach().clone() for name, tensor in generator.state_dict().items()}
        self.run = Run(
            generator=generator, discriminator=discriminator, copy=copy, optimizers=optimizers, average=average
        )
        checkpoint.restore(self.run)
        if not len(self.run.answers) and (copy is not None or y is None):
            self.run.answers = self._asked(x)
        self.y = self.run.answers.argmax(1).to(x.device) if y is None else y
        target = settings.target if isinstance(settings.target, int) else 0
        check_classes(x.new_empty(len(x), self.classes), y=self.y, target=torch.full_like(self.y, target))
        self.points, self.points_of = x[:0], 0

    def _classes(self) -> int:
        """The number of classes; the look at a model that was never asked is not counted, if it is no black box."""
        if self.model.num_classes is None:
            twin = self.model.uncounted()
            with torch.no_grad():
                twin.logits(self._inputs(torch.tensor([0]), self.x))
            self.model.num_classes = twin.num_classes
        return self.model.num_classes or 0

    def turns(self) -> Iterator[Turn]:
        """Every epoch, in order."""
        box = self.settings.black_box
        for number in range(1 if box is None else 1 + box.rounds):
            if box is not None:
                yield from (Turn("distil", number, i, box.epochs) for i in range(box.epochs))
            yield from (Turn("fit", number, i, self.settings.epochs) for i in range(self.settings.epochs))

    def run_all(self, watch: Callable[[int, int], None] | None, told: Callable[[Epoch], None] | None) -> None:
        """Every step that is still to be done."""
        run, turns = self.run, list(self.turns())
        for number, turn in enumerate(turns):
            first = number * self.per_epoch
            if run.done >= first + self.per_epoch:
                continue
            shuffler = torch.Generator().manual_seed(self.noise.child(f"order {number}").seed)
            order = torch.randperm(len(self.x), generator=shuffler)
            for rows in order.split(self.settings.batch_size)[run.done - first :]:
                if run.done == first:
                    run.sums = torch.zeros(
                        1 + len(_FITTED if turn.phase == "fit" else _COPIED), device=self.model.device
                    )
                figures = self._fit(turn, number, rows) if turn.phase == "fit" else self._distil(turn, number, rows)
                run.sums = run.sums + torch.stack([each.sum() for each in (torch.ones_like(figures[0]), *figures)])
                run.done += 1
                if run.done == first + self.per_epoch:
                    self._close(turn, number)
                    if told is not None:
                        told(run.history[-1])
                self.checkpoint.keep(run)
                if watch is not None:
                    watch(run.done, self.per_epoch * len(turns))

    def _close(self, turn: Turn, number: int) -> None:
        total, *sums = self.run.sums.tolist()
        names = _FITTED if turn.phase == "fit" else _COPIED
        figures = {name: value / total for name, value in zip(names, sums, strict=True)}
        if not all(map(math.isfinite, figures.values())):
            raise InputError(f"the losses of epoch {number + 1} are {figures}; lower the rate, and check the inputs")
        self.run.history.append(Epoch(number + 1, turn.phase, figures))

    def _fit(self, turn: Turn, number: int, rows: Tensor) -> tuple[Tensor, ...]:
        """A step of the discriminator, then one of the generator; figures (n,) of each row."""
        run, settings, bounds, eps = self.run, self.settings, self.model.bounds, float(self.settings.ball.eps)
        x, y, target = self._inputs(rows, self.x), self.y[rows].to(self.model.device), self._targets(number, rows)
        aims = torch.zeros_like(y) if settings.target != EVERY or target is None else target
        move = bounds.width * run.generator(self._scaled(x), aims)
        points = (x + move.clamp(-eps, eps)).clamp(bounds.lower, bounds.upper)

        scores = run.discriminator(self._scaled(x)), run.discriminator(self._scaled(points.detach()))
        apart = told_apart(*scores)
        self._step("discriminator", run.discriminator, apart.mean(), turn)

        short, grad, success = self._steer(points.detach(), y, target)
        seen, long = passing(run.discriminator(self._scaled(points))), beyond(move, settings.norm_bound)
        # The gradient of L_adv was taken at the points, where a row's that is not finite could be dropped.
        loss = (points * grad).sum() / len(x) + settings.gan_weight * seen.mean() + settings.norm_weight * long.mean()
        self._step("generator", run.generator, loss, turn)
        steps = run.done + 1
        decay = min(settings.average, steps / (steps + 10))  # the first weights are soon forgotten
        for name, tensor in run.generator.state_dict().items():
            run.average[name].lerp_(tensor, 1 - decay)
        dead = (short > 0) & (grad.flatten(1) == 0).all(1)
        return tuple(each.detach().float() for each in (short, seen, long, apart, success, dead))

    def _steer(self, points: Batch, y: Labels, target: Labels | None) -> tuple[Tensor, Tensor, Tensor]:
        """L_adv of each row and its gradient with respect to the points, 0 where not finite; and which rows fool."""
        with self.victim.frozen():
            points.requires_grad_()
            logits = self.victim.logits(points)
            short = adversarial(logits, y, target, self.settings.confidence)
            grad = torch.autograd.grad(short.sum(), points)[0] if short.requires_grad else torch.zeros_like(points)
        logits, short = logits.detach(), short.detach()
        success = fooled(logits, y, target) & defined(logits)
        if target is not None:
            success &= target != y
        return short.nan_to_num(0, 0, 0), grad.nan_to_num(0, 0, 0), success

    def _distil(self, turn: Turn, number: int, rows: Tensor) -> tuple[Tensor, ...]:
        """A step of the copy towards what the black box answers; the loss (n,) of each row."""
        run, device = self.run, self.model.device
        assert run.copy is not None
        if turn.round and self.points_of != turn.round:
            self._ask_about_points(turn, ask=turn.place == 0 and run.done == number * self.per_epoch)
        batches = [(self._inputs(rows, self.x), run.answers[rows])]
        if turn.round:
            batches.append((self._inputs(rows, self.points), run.again[rows]))
        run.copy.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.settings.seed + run.done)  # for dropout; so there is no state to keep
            losses = [distilled(self.victim.logits(inputs), answers) for inputs, answers in batches]
            run.optimizers["copy"].zero_grad()
            torch.stack(losses).sum(0).mean().backward()
            run.optimizers["copy"].step()
        run.copy.eval()
        return (torch.stack(losses).sum(0).detach().float(),)

    def _ask_about_points(self, turn: Turn, *, ask: bool) -> None:
        """The points of the generator as it is, and the box's answers to them; after a kill the answers are there."""
        run, points = self.run, []
        twin = copies.deepcopy(run.generator)
        twin.load_state_dict(run.average)
        for rows in torch.arange(len(self.x)).split(_AT_ONCE):
            x, target = self._inputs(rows, self.x), self._targets(-turn.round, rows)
            aims = torch.zeros(len(rows), dtype=torch.int64, device=x.device)
            aims = target if self.settings.target == EVERY and target is not None else aims
            with torch.no_grad():
                found = self.settings.ball.project(perturbed(twin, x, aims, self.model.bounds), x, self.model.bounds)
            points.append(found.to(self.x.device))
        self.points, self.points_of = torch.cat(points), turn.round
        if ask:
            run.again = self._asked(self.points)

    def _asked(self, x: Tensor) -> Tensor:
        """What the model answers (n, k): probabilities, or the class alone."""
        box, answers = self.settings.black_box, []
        with torch.no_grad():
            for rows in torch.arange(len(x)).split(_AT_ONCE):
                logits = self.model.logits(self._inputs(rows, x))
                hard = functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits)
                answers.append(hard if box is None or box.labels_only else logits.softmax(1))
        return torch.cat(answers)

    def _step(self, name: str, module: nn.Module, loss: Tensor, turn: Turn) -> None:
        """One step of Adam on a net's own parameters; no other net gets a gradient."""
        optimizer, parameters = self.run.optimizers[name], list(module.parameters())
        for parameter, grad in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = grad
        for group in optimizer.param_groups:
            group["lr"] = self.settings.rate * (0.1 if 6 * turn.place >= 5 * turn.length else 1)
        optimizer.step()

    def _targets(self, draw: int, rows: Tensor) -> Labels | None:
        """The class (n,) that each row is to become; drawn for each row and epoch where every class is one."""
        y = self.y[rows].to(self.model.device)
        if self.settings.target == NO_TARGET:
            return None
        if isinstance(self.settings.target, int):
            return torch.full_like(y, self.settings.target)
        share = self.noise.child("target").at(rows.to(y.device)).uniform(torch.empty(len(y), 1, device=y.device), draw)
        return (y + 1 + (share.squeeze(1) * (self.classes - 1)).long()) % self.classes

    def _inputs(self, rows: Tensor, x: Tensor) -> Tensor:
        """Those rows of x on the model's device, in float32."""
        bounds = self.model.bounds
        return x[rows].to(self.model.device, torch.float32).clamp(bounds.lower, bounds.upper)

    def _scaled(self, x: Tensor) -> Tensor:
        return (x - self.model.bounds.lower) / self.model.bounds.width
