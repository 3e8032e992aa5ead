"""What is trained, on what, and where it goes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from saddlepoint.balls import Ball, Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.defenses.training import Objective, Validation
from saddlepoint.defenses.training.about import structure
from saddlepoint.defenses.training.recipes import Recipe
from saddlepoint.errors import SettingError
from saddlepoint.models import file_sha256, load_model, load_weights
from saddlepoint.models.nets import build


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, on what, and where it goes.

    Args:
        recipe: as changed by options;  ball: that is trained in, validated in and measured in;  seed: of the weights.
        learn, test: the splits;  architecture: of the net, as in its card;  device: where it runs.
        start: a file of weights to begin with, or None;  tensorboard: whether to write events for it.
    """

    recipe: Recipe
    ball: Ball
    out: Path
    learn: Dataset
    test: Dataset
    architecture: dict[str, Any]
    device: str
    seed: int
    start: Path | None = None
    tensorboard: bool = False

    @property
    def bounds(self) -> Bounds:
        """The box of the inputs."""
        return Bounds.of(self.learn.bounds)

    def objective(self, teacher: nn.Module | None) -> Objective:
        """What is minimised."""
        return self.recipe.make(self.ball, self.bounds, teacher)

    def validation(self) -> Validation | None:
        """What is measured after every epoch."""
        return self.recipe.validate(self.ball, self.bounds)

    def net(self) -> nn.Module:
        """The net before its training; its first weights are of the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = own_net(self.architecture["py"]) if "py" in self.architecture else build(self.architecture)
        if self.start is not None:
            load_weights(module, self.start)
        return module.to(self.device)

    def of_teacher(self) -> "Job":
        """The training of the net that this one learns from: the same net and schedule, on the labels."""
        temperature = self.recipe.objective.get("temperature")
        soft = {"temperature": temperature} if self.recipe.objective["name"] == "defensive-distillation" else {}
        plain = {name: value for name, value in soft.items() if value is not None}
        recipe = replace(
            self.recipe,
            name=f"teacher of {self.recipe.name}",
            description="cross-entropy on clean inputs, for a student",
            objective={"name": "standard", **plain},
            awp=None,
        )
        return replace(self, recipe=recipe, out=self.out.with_suffix(".teacher.safetensors"), tensorboard=False)

    def about(self, teacher: nn.Module | None) -> dict[str, Any]:
        """What its checkpoint must agree with."""
        found = {
            "recipe": {"name": self.recipe.name, **self.recipe.describe(self.ball)},
            "net": self.architecture,
            "data": self.learn.fingerprint,
            "environment": environment(),
            "device": torch.device(self.device).type,
            "start": None if self.start is None else file_sha256(self.start),
        }
        if "py" in self.architecture:  # its name stays while its code changes
            with torch.random.fork_rng(devices=[]):
                found["structure"] = structure(own_net(self.architecture["py"]))
        return found if teacher is None else {**found, "teacher": Classifier(teacher).fingerprint}


def own_net(spec: str) -> nn.Module:
    """The net that a function of the user's makes: ``py:package.module:factory``."""
    return bare(load_model(spec), spec)


def bare(model: Classifier, spec: str) -> nn.Module:
    """The module of a classifier that adds nothing to it.

    Raises:  SettingError if it does.
    """
    if not isinstance(model.module, nn.Module) or model.mean is not None or model.std is not None:
        raise SettingError(
            f"{spec!r} is a Classifier with normalisation, or of a function; training needs an nn.Module that "
            "normalises itself"
        )
    return model.module


def environment() -> dict[str, Any]:
    """What the bits of the weights depend on, beside the recipe."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}
