"""Defenses in front of a classifier; each comes with what an attacker uses in place of its gradient."""

from saddlepoint.defenses.transforms.transform import Transform

__all__ = ["Transform"]
