"""Defenses inside a network: blocks that clean feature maps."""

from saddlepoint.defenses.blocks.denoise import KINDS as KINDS
from saddlepoint.defenses.blocks.denoise import Denoise as Denoise
from saddlepoint.defenses.blocks.insert import denoise as denoise

__all__ = ["KINDS", "Denoise", "denoise"]
