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
from saddlepoint.models import PoolCNN, SmallCNN, load_weights, save_weights
from saddlepoint.records import NUMERICS_VERSION

LEVELS, CONTRACTION = 16, 0.1
WARMUP = 0.4  # without it a net on codes may not begin to learn; all adversarial training here has the same
BLOCKS = ["softmax", "mean", "conv"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A data set, and what is trained on it: ``rows`` of it, None for all; at radius ``eps``; tested at ``radii``.

    ``longer``: how many times the epochs autoencoders of this ``form`` are trained.
    """

    data: str
    shape: tuple[int, int, int]
    net: Callable[..., nn.Module]
    eps: float
    radii: tuple[float, ...]
    epochs: int
    rows: int | None = None
    form: str = "dense"
    longer: int = 3

    def made(self, levels=1):
        """A net that has not learnt, of inputs with so many channels for each of the data's."""
        return self.net(channels=levels * self.shape[0], size=self.shape[1])

    def pgd(self):
        """Seven steps."""
        return PGD(ball=sp.Linf(self.eps), steps=7, step_size=self.eps / 4)


PLACES = {
    "fashion-mnist": Place(
        data="fashion-mnist", shape=(1, 28, 28), net=SmallCNN, eps=0.1, radii=(0.05, 0.1), epochs=8
    ),
    "photopatch10": Place(
        data="photopatch10", shape=(3, 32, 32), net=PoolCNN, eps=8 / 255, radii=(8 / 255,), epochs=15, form="conv"
    ),
}  # fmt: skip


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
    """Trains what is asked for, into a folder."""

    folder: Path
    place: Place

    def defended(self, name):
        """A defense of DEFENSES."""
        return DEFENSES[name](self)

    def adversarial(self):
        return Adversarial(attack=self.place.pgd(), warmup=WARMUP)

    def bare(self):
        return self.kept("bare", self.place.made, lambda _: Standard())

    def pgd(self):
        return self.kept("pgd", self.place.made, lambda _: self.adversarial())

    def thermometer(self, trained):
        """A net on thermometer codes, trained on clean inputs or on those of LS-PGA."""

        def objective(net):
            if not trained:
                return Standard()
            attack = LSPGA(ball=sp.Linf(self.place.eps), encoder=net[0], steps=7)
            return Adversarial(attack=attack, warmup=WARMUP)

        def make():
            return nn.Sequential(Thermometer(LEVELS), self.place.made(LEVELS))

        return Defended(*self.kept(f"thermometer{' lspga' * trained}", make, objective))

    def autoencoder(self):
        """A plain denoising autoencoder."""
        place = self.place

        def make():
            return DenoisingAutoencoder(place.shape, form=place.form)

        return self.kept(f"autoencoder {place.form}", make, lambda _: Reconstruction(), 1e-3, place.longer)

    def stack(self, trained):
        """An autoencoder before a net: both trained apart, or then the net by PGD through both."""
        before = self.autoencoder()
        if not trained:
            return Defended(before, self.bare())

        def make():
            return nn.Sequential(before.requires_grad_(False), self.place.made())

        return Defended(*self.kept("autoencoder pgd", make, lambda _: self.adversarial()))

    def contractive(self):
        penalty = ContractivePenalty(objective=Standard(), weight=CONTRACTION)
        return self.kept(f"contractive {CONTRACTION}", self.place.made, lambda _: penalty)

    def blocks(self, kind, trained):
        """A block after the second convolution and its rectifier."""

        def make():
            return denoise(self.place.made(), ["layers.3"], like=torch.zeros(1, *self.place.shape), kind=kind)

        objective = self.adversarial() if trained else Standard()
        return self.kept(f"block {kind}{' pgd' * trained}", make, lambda _: objective)

    def kept(self, name, make, objective, peak=5e-3, longer=1):
        """A net in evaluation mode: read from the folder, or else trained into it, also after a kill."""
        torch.manual_seed(0)
        place = self.place
        net, schedule = make(), Schedule(epochs=longer * place.epochs, peak=peak)
        about = {"name": name, "data": place.data, "rows": place.rows, "eps": place.eps}
        about = json.loads(json.dumps({**about, **schedule.describe(), **versions()}))
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / f"defended-{digest}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = data(f"{place.data}:train")[: place.rows]
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
