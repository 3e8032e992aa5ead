"""Adversarial and noisy rows that some detectors learn from."""

from typing import NamedTuple

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.classifier import Classifier
from saddlepoint.noise import Noise
from saddlepoint.solve import Attack


class Examples(NamedTuple):
    """Adversarial rows that fool (m, *f), and the clean ones that they were made from with noise of the same L2."""

    adversarial: Tensor
    noisy: Tensor


def examples(model: Classifier, attack: Attack, x: Batch, y: Labels, seed: int, batch_size: int = 512) -> Examples:
    """Attack the rows that are right, and keep what fools: a row that is wrong when clean is no adversarial one."""
    noise, fooling, noisy = Noise(seed), [x[:0]], [x[:0]]
    right = (model.predict(x) == y).nonzero().squeeze(1)
    for rows in right.split(batch_size) if len(right) else ():
        found = attack(model, x[rows], y[rows], noise=noise.child("attack").at(rows))
        kept = found.success
        clean, adversarial = x[rows][kept], found.x[kept]
        random = noise.child("noise").at(rows[kept]).normal(clean)
        lengths = [(part.flatten(1).norm(dim=1)) for part in (adversarial - clean, random)]
        scale = (lengths[0] / lengths[1]).view(-1, *[1] * (x.dim() - 1))
        fooling.append(adversarial)
        noisy.append((clean + scale * random).clamp(model.bounds.lower, model.bounds.upper))
    return Examples(torch.cat(fooling), torch.cat(noisy))
