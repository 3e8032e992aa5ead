"""Defenses in front of a classifier; each comes with what an attacker uses in place of its gradient."""

from saddlepoint.defenses.transforms.transform import Transform

__all__ = ["Transform"]

TRANSFORMS: dict[str, type[Transform]] = {
    cls.name: cls for cls in map(globals().get, __all__) if isinstance(cls, type) and hasattr(cls, "name")
}
"""Every transform by the name that it has in a spec; derived from ``__all__``."""
