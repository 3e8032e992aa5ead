"""Defended nets as values: each is trained once, kept as weights, and comes as its parts."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _trained import code, data
from torch import nn

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.defenses.blocks import denoise
from saddlepoint.defenses.training import (
    Adversarial,
    Checkpoint,
    ContractivePenalty,
    Reconstruction,
    Schedule,
    Standard,
    fit,
)
from saddlepoint.defenses.transforms import LSPGA, DenoisingAutoencoder, Thermometer
from saddlepoint.models import SmallCNN, load_weights, save_weights
from saddlepoint.records import NUMERICS_VERSION

EPS, LEVELS, CONTRACTION = 0.1, 16, 0.1
WARMUP = 0.4  # without it a net on codes may not begin to learn; all adversarial training here has the same
BLOCKS = ["softmax", "mean", "conv"]
PGD7 = PGD(ball=sp.Linf(EPS), steps=7, step_size=EPS / 4)


@dataclass(frozen=True)
class Defended:
    """What stands in front of a net, if anything does, and the net."""

    transform: nn.Module | None
    net: nn.Module

    def naive(self):
        """The whole as it is deployed: gradients are what autograd makes of it."""
        return self.net if self.transform is None else nn.Sequential(self.transform, self.net)

    def adaptive(self):
        """The same values, with the gradient of the transform's surrogate where it has none of its own (BPDA)."""
        if self.transform is None or getattr(self.transform, "differentiable", True):
            return self.naive()
        return _Bypassed(self.transform, self.net)


class _Bypassed(nn.Module):
    def __init__(self, transform, net):
        super().__init__()
        self.transform, self.net = transform, net

    def forward(self, x):
        near = self.transform.surrogate(x)
        return self.net(self.transform(x) + (near - near.detach()))


@dataclass(frozen=True)
class Nets:
    """Trains what is asked for, into a folder; ``rows``: the first of the training rows, None for all."""

    folder: Path
    rows: int | None = None
    epochs: int = 8

    def defended(self, name):
        """A defense of DEFENSES."""
        return DEFENSES[name](self)

    def bare(self):
        return self.kept("bare", SmallCNN, lambda _: Standard())

    def pgd(self):
        return self.kept("pgd", SmallCNN, lambda _: Adversarial(attack=PGD7, warmup=WARMUP))

    def thermometer(self, trained):
        """A net on thermometer codes, trained on clean inputs or on those of LS-PGA."""

        def objective(net):
            if not trained:
                return Standard()
            return Adversarial(attack=LSPGA(ball=sp.Linf(EPS), encoder=net[0], steps=7), warmup=WARMUP)

        def make():
            return nn.Sequential(Thermometer(LEVELS), SmallCNN(channels=LEVELS))

        return Defended(*self.kept(f"thermometer{' lspga' * trained}", make, objective))

    def autoencoder(self):
        """A plain denoising autoencoder."""
        return self.kept("autoencoder", lambda: DenoisingAutoencoder((1, 28, 28)), lambda _: Reconstruction(), 1e-3, 3)

    def stack(self, trained):
        """An autoencoder before a net: both trained apart, or then the net by PGD through both."""
        before = self.autoencoder()
        if not trained:
            return Defended(before, self.bare())

        def make():
            return nn.Sequential(before.requires_grad_(False), SmallCNN())

        return Defended(*self.kept("autoencoder pgd", make, lambda _: Adversarial(attack=PGD7, warmup=WARMUP)))

    def contractive(self):
        penalty = ContractivePenalty(objective=Standard(), weight=CONTRACTION)
        return self.kept(f"contractive {CONTRACTION}", SmallCNN, lambda _: penalty)

    def blocks(self, kind, trained):
        """A block after the second convolution and its rectifier: 32 channels of 7 x 7."""

        def make():
            return denoise(SmallCNN(), ["layers.3"], like=torch.zeros(1, 1, 28, 28), kind=kind)

        objective = Adversarial(attack=PGD7, warmup=WARMUP) if trained else Standard()
        return self.kept(f"block {kind}{' pgd' * trained}", make, lambda _: objective)

    def kept(self, name, make, objective, peak=5e-3, longer=1):
        """A net in evaluation mode: read from the folder, or else trained into it, also after a kill."""
        torch.manual_seed(0)
        net, schedule = make(), Schedule(epochs=longer * self.epochs, peak=peak)
        about = {"name": name, "rows": self.rows, **schedule.describe(), **versions()}
        about = json.loads(json.dumps(about))
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / f"defended-{digest}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = data("fashion-mnist:train")[: self.rows]
            checkpoint = Checkpoint(path.with_suffix(".checkpoint"), about)
            fit(net, rows.x, rows.y, objective(net), schedule, checkpoint=checkpoint)
            save_weights(net, path)
            checkpoint.remove()
        load_weights(net, path)
        return net.eval().requires_grad_(False)


@cache
def versions() -> dict[str, Any]:
    """What weights depend on beside their training; also the files of the transforms used here, and of the blocks."""
    root, digest = Path(sp.__file__).parent / "defenses", hashlib.sha256()
    used = [root / "transforms" / f"{name}.py" for name in ("autoencoder", "discretised", "thermometer", "transform")]
    for path in sorted([*used, *root.glob("blocks/*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    found = {"defenses": digest.hexdigest()[:12], "code": code(), "numerics": NUMERICS_VERSION}
    return {**found, "torch": torch.__version__, "threads": torch.get_num_threads()}


DEFENSES: dict[str, Callable[[Nets], Defended]] = {
    "none": lambda nets: Defended(None, nets.bare()),
    "thermometer": lambda nets: nets.thermometer(False),
    "autoencoder": lambda nets: nets.stack(False),
    "contractive": lambda nets: Defended(None, nets.contractive()),
    **{f"block {kind}": lambda nets, kind=kind: Defended(None, nets.blocks(kind, False)) for kind in BLOCKS},
    "pgd": lambda nets: Defended(None, nets.pgd()),
    "thermometer + LS-PGA": lambda nets: nets.thermometer(True),
    "autoencoder + PGD": lambda nets: nets.stack(True),
    **{f"block {kind} + PGD": lambda nets, kind=kind: Defended(None, nets.blocks(kind, True)) for kind in BLOCKS},
}
"""In the order of the table; a filter is one more line: ``lambda nets: Defended(filter, nets.bare())``."""
