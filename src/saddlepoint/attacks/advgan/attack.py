"""A fitted generator as an attack: one pass through it, and none through the model but the one that verifies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor
from torch.func import functional_call

from saddlepoint import _tensors
from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks.advgan.nets import Generator
from saddlepoint.balls import Ball, Bounds, Linf
from saddlepoint.checks import check_classes
from saddlepoint.classifier import Classifier
from saddlepoint.errors import InputError, RecordError, SettingError
from saddlepoint.losses import Loss, margin
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem
from saddlepoint.result import AttackResult, Keep

NO_TARGET, EVERY = "none", "every"
_UNTOLD = {"told": False}  # no part of an attack's description


@final
@dataclass(frozen=True)
class Epoch:
    """What an epoch of the fit saw, means over its rows.

    Args:
        number: from 1, over all phases;  phase: "distil" (a copy of the black box is trained) or "fit" (the generator).
        figures: of "distil" its ``loss``; of "fit" the terms ``adversarial``, ``gan`` and ``norm`` of the generator,
            ``discriminator``, the share ``success`` of rows that fool the net that is attacked, and the share ``dead``
            that does not, and has no gradient either. An ``adversarial`` term that stays where it began tells that the
            generator has collapsed to no perturbation.
    """

    number: int
    phase: str
    figures: Mapping[str, float]


@final
@dataclass(frozen=True, kw_only=True)
class AdvGANAttack:
    """A generator that was fitted by :class:`AdvGAN`: x + G(x), moved into ball and box.

    Args:
        ball: where the points lie; that of the fit, or a smaller one of the same norm.
        target: "none" (any wrong class), "every" (G is told the target) or the one class that it was fitted to.
        shape: of one input;  classes: of the model;  width, blocks: of the generator.
        fingerprint: sha256 of the generator's weights;  about: settings of the fit, fingerprints of its model and rows.
        history: what each epoch saw.

    Of "every", a row without a target is steered to the class after its label.

    Departs:  limits cannot bind, there is nothing to limit: no pass through the model but the one that verifies, and
        one more where no labels are given.
    Source:  Xiao et al. 2018, arXiv:1801.02610.
    """

    ball: Ball
    target: str | int
    shape: tuple[int, ...]
    classes: int
    width: int
    blocks: int
    fingerprint: str
    about: Mapping[str, Any] = field(compare=False)
    generator: Generator = field(repr=False, compare=False, metadata=_UNTOLD)
    history: Sequence[Epoch] = field(default=(), repr=False, compare=False, metadata=_UNTOLD)
    loss: Loss = field(default_factory=lambda: margin, init=False, repr=False)  # a plain default would bind self
    keep: Keep = field(default=Keep.LAST, init=False, repr=False)
    confidence: float = field(default=0.0, init=False, repr=False)
    name: ClassVar[str] = "advgan"

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Perturb a batch and verify it; arguments as in IterativeAttack.

        Raises:
            SettingError: for a target that the generator was not fitted to.
            InputError: for inputs of another shape, or a class that it does not know.
        """
        problem = Problem.open(self, model, x, y, target, noise, limits)
        if target is not None and self.target == NO_TARGET:
            raise SettingError("target is given, but this generator was fitted without; leave it out, or fit another")
        if not problem.empty:
            if problem.x0.shape[1:] != self.shape:
                raise InputError(
                    f"x has shape {tuple(problem.x0.shape)}, the generator was fitted to rows of {self.shape}"
                )
            known = problem.x0.new_empty(len(problem.x0), self.classes)
            check_classes(known, y=problem.y, target=problem.target)
            if isinstance(self.target, int) and problem.target is not None and (problem.target != self.target).any():
                raise SettingError(
                    f"target holds other classes than {self.target}, the one that this generator was fitted to; "
                    "fit one to every class: target='every'"
                )
            with torch.no_grad():
                problem.record.put(
                    problem.project(perturbed(self.generator, problem.x0, self._aims(problem), problem.bounds))
                )
        return problem.result()

    def _aims(self, problem: Problem) -> Labels:
        if self.target != EVERY:
            return torch.zeros_like(problem.y)
        return (problem.y + 1) % self.classes if problem.target is None else problem.target

    def save(self, path: str | Path) -> None:
        """Write the attack as one safetensors file; equal attacks give equal bytes.

        Raises:  RecordError if it cannot be written;  SettingError if the ball has an eps for each row.
        """
        if isinstance(self.ball.eps, Tensor):
            raise SettingError("an attack with an eps for each row cannot be saved; give its ball one eps")
        told = {
            "kind": self.name, "eps": self.ball.eps, "target": self.target, "shape": self.shape,
            "classes": self.classes, "width": self.width, "blocks": self.blocks, "about": self.about,
            "history": [asdict(each) for each in self.history],
        }  # fmt: skip
        _tensors.write(Path(path), self.generator.state_dict(), told)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The attack that was saved; nothing in the file is run.

        Raises:  RecordError if it cannot be read, or is not what :meth:`save` writes.
        """
        told, tensors = _tensors.read(Path(path), "file of a generator")
        try:
            if told["kind"] != cls.name:
                raise ValueError(f"it is of {told['kind']!r}")
            shape, target = tuple(map(int, told["shape"])), told["target"]
            sizes = {key: int(told[key]) for key in ("classes", "width", "blocks")}
            conditional = sizes["classes"] if target == EVERY else 1
            with torch.device("meta"):  # sizes of the file allocate nothing
                generator = Generator(shape, classes=conditional, width=sizes["width"], blocks=sizes["blocks"])
            generator.load_state_dict(tensors, assign=True)
            history = [Epoch(each["number"], each["phase"], each["figures"]) for each in told["history"]]
            ball = Linf(told["eps"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RecordError(
                f"{Path(path).name!r} is no file of a generator ({error}); give one that AdvGANAttack.save wrote"
            ) from error
        return cls.of(generator, ball, target, shape=shape, about=told["about"], history=history, **sizes)

    @classmethod
    def of(cls, generator: Generator, ball: Ball, target: str | int, **told: Any) -> Self:  # noqa: ANN401 (fields)
        """The attack of a generator, whose weights are hashed and frozen."""
        generator.requires_grad_(False)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
        return cls(ball=ball, target=target, fingerprint=_tensors.digest(state), generator=generator, **told)


def perturbed(generator: Generator, x0: Batch, aims: Labels, bounds: Bounds) -> Batch:
    """x0 + G(x0), still anywhere;  aims: (n,) as the generator wants them.  In the precision of x0."""
    state = {name: tensor.to(x0) for name, tensor in generator.state_dict().items()}
    net: Callable[..., Tensor] = functional_call
    scaled = (x0 - bounds.lower) / bounds.width
    return x0 + bounds.width * net(generator, state, (scaled, aims))
