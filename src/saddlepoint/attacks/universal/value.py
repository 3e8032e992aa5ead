"""A fitted perturbation: the same for every input."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode

from saddlepoint._files import write_atomic
from saddlepoint._typing import Batch, Labels, is_dense
from saddlepoint.attacks.universal.task import Task
from saddlepoint.balls import L2, Ball, Linf
from saddlepoint.checks import check_inputs
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError, InputError, RadiusError, WeightsError, shown
from saddlepoint.losses import Loss, cross_entropy
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem
from saddlepoint.result import AttackResult, Keep

BALLS: dict[str, type[Linf] | type[L2]] = {"linf": Linf, "l2": L2}
_KEY = "universal"  # of the metadata in a file
_SLACK = 1e-6  # share of eps: the rounding of the sphere


@final
@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How a perturbation was found.

    Attributes:
        rule: "sequential", "minibatch" or "ascent";  target: the class to reach, or None.
        rate, held_out_rate: share fooled of the rows that it was fitted to, and of others, or None: rows that the
            model no longer calls what it called them, or calls the target.
        rows, held_out_rows: how many these were;  epochs: passes over the rows.
        forwards, backwards: passes of rows through the model, without those of the held-out rows.
        seed: of the order of the rows;  model: fingerprint of the model.
    """

    rule: str
    target: int | None
    rate: float
    held_out_rate: float | None
    rows: int
    held_out_rows: int
    epochs: int
    forwards: int
    backwards: int
    seed: int
    model: str


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Universal:
    """One perturbation for all inputs, as an attack: x <- P(x0 + v), the nearest point of ball and box.

    It asks the model nothing; what it returns is verified by one forward pass, as of every attack. A target does not
    change the points, only what counts as success.

    Args:
        v: (1, *f) in input units;  ball: Linf or L2, with one finite eps that v keeps to.
        fitted: how it was found, where it was.

    Raises:  RadiusError if v is not in the ball;  InputError if it is no such tensor, or inputs of another shape come.
    Source:  Moosavi-Dezfooli, Fawzi, Fawzi & Frossard 2017, arXiv:1610.08401.
    Departs:  points are moved into the box; the paper measures x + v as it is.
    """

    v: Batch
    ball: Ball
    fitted: Fitted | None = None
    loss: Loss = field(default_factory=lambda: cross_entropy, init=False, repr=False)  # a plain default would bind self
    keep: Keep = field(default=Keep.LAST, init=False, repr=False)
    confidence: float = field(default=0.0, init=False, repr=False)
    name: ClassVar[str] = "universal"

    def __post_init__(self) -> None:
        eps = check_ball(self.ball)
        if not is_dense(self.v) or self.v.dtype not in (torch.float32, torch.float64) or self.v.dim() < 2:
            raise InputError(f"v={shown(self.v)} must be a dense float32 or float64 tensor (1, *f)")
        if len(self.v) != 1 or not self.v.numel() or not bool(self.v.isfinite().all()):
            raise InputError(f"v of shape {tuple(self.v.shape)} must be (1, *f), and finite: one perturbation for all")
        size = self.ball.distance(self.v, torch.zeros_like(self.v)).item()
        if size > eps * (1 + _SLACK):
            raise RadiusError(
                f"v has {self.ball.norm} norm {size:g}, eps is {eps:g}; give the eps that it was made for"
            )

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Add v to a batch and verify; arguments as in IterativeAttack."""
        problem = Problem.open(self, model, x, y, target, noise, limits)
        self._check_shape(problem.x0)
        problem.record.put(problem.project(problem.x0 + self.v.to(problem.x0)))
        return problem.result()

    def fooling_rate(self, model: Classifier, x: Batch, *, target: int | None = None) -> float:
        """The share of rows x (n, *f) that the model no longer calls what it called them.

        With a target: of the rows that it did not call the target anyway, those that it does now.

        Raises:  InputError if there is no such row, or x has another shape than v.
        """
        x = check_inputs(model, x)
        self._check_shape(x)
        with model.frozen():
            return Task.of(model, x, target, self.ball, Noise(), "to measure on").rate(self.v.to(x))

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all, with ball and fit as JSON in its metadata.

        Raises:  WeightsError if it cannot be written.
        """
        told = {"ball": self.ball.describe(), "fitted": None if self.fitted is None else asdict(self.fitted)}
        content = encode({"v": self.v.detach().cpu().contiguous()}, {_KEY: json.dumps(told)})
        try:
            write_atomic(Path(path), content)
        except OSError as error:
            raise WeightsError(
                f"{Path(path).name!r} cannot be written ({error.strerror}); give a file in a folder that exists"
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; nothing in the file is run.

        Raises:  WeightsError if it is no such file.
        """
        try:
            with safe_open(Path(path), "pt") as content:
                told = json.loads((content.metadata() or {})[_KEY])
                v = content.get_tensor("v")
            ball = BALLS[told["ball"]["norm"]](float(told["ball"]["eps"]))
            return cls(v=v, ball=ball, fitted=_fitted(told["fitted"]))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{Path(path).name!r} holds no universal perturbation ({shown(error, 200)}); give a file that "
                "`saddlepoint universal` or Universal.save has written"
            ) from error

    def _check_shape(self, x: Batch) -> None:
        if x.shape[1:] != self.v.shape[1:]:
            raise InputError(
                f"inputs of shape {tuple(x.shape[1:])} do not fit the perturbation, {tuple(self.v.shape[1:])}; "
                "fit one for them"
            )


def check_ball(ball: object) -> float:
    """The radius of a ball that one perturbation can have.

    Raises:  ArgumentTypeError for another norm;  RadiusError for a radius that is not one finite number.
    """
    if not isinstance(ball, Linf | L2):
        raise ArgumentTypeError(f"ball={shown(ball)} must be Linf or L2 with its radius, such as Linf(10 / 255)")
    if isinstance(ball.eps, torch.Tensor) or math.isinf(ball.eps):
        raise RadiusError(f"{shown(ball)} must have one finite eps: one perturbation serves all rows")
    return float(ball.eps)


def _fitted(told: dict[str, Any] | None) -> Fitted | None:
    if told is None:
        return None
    kinds = {
        "rule": str,
        "model": str,
        "rate": float,
        "held_out_rate": (float, type(None)),
        "target": (int, type(None)),
    }
    found = Fitted(**told)
    for name, value in asdict(found).items():
        if not isinstance(value, kinds.get(name, int)):  # type: ignore[arg-type]
            raise ValueError(f"{name}={shown(value)}")
    return found
