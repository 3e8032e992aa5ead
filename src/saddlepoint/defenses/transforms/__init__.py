"""Defenses in front of a classifier; each comes with what an attacker uses in place of its gradient."""

from saddlepoint.defenses.transforms.autoencoder import DenoisingAutoencoder as DenoisingAutoencoder
from saddlepoint.defenses.transforms.discretised import DGA as DGA
from saddlepoint.defenses.transforms.discretised import LSPGA as LSPGA
from saddlepoint.defenses.transforms.thermometer import Thermometer as Thermometer
from saddlepoint.defenses.transforms.transform import Transform as Transform

__all__ = ["DGA", "LSPGA", "DenoisingAutoencoder", "Thermometer", "Transform"]
