"""From a data spec, ``name:split``, to a data set."""

from collections.abc import Callable, Iterable

from saddlepoint.data import mnist10k
from saddlepoint.data.dataset import Dataset
from saddlepoint.errors import SpecError, unknown

_SOURCES: dict[str, tuple[Callable[[str], Dataset], Iterable[str]]] = {"mnist10k": (mnist10k.load, mnist10k.SPLITS)}
_PLANNED = ("photopatch10", "fashion-mnist", "cifar10", "folder", "npz", "hf")


def load_data(spec: str) -> Dataset:
    """The data set that a spec names.

    >>> load_data("mnist10k:test")
    Dataset('mnist10k:test', 2000 rows of shape (1, 28, 28), 10 classes)

    Args:  spec: ``name:split``; :func:`data_specs` lists them.

    Raises:
        SpecError: if there is no such name or split.
        DataError: if its files cannot be read.
    """
    name, colon, split = spec.partition(":")
    if name in _PLANNED:
        raise SpecError(
            f"data {spec!r}: {name!r} is not available in this version; use one of {', '.join(data_specs())}, "
            "or make a saddlepoint.Dataset of your tensors"
        )
    if name not in _SOURCES:
        raise unknown("data set", name, _SOURCES)
    load, splits = _SOURCES[name]
    if not colon:
        raise SpecError(f"data {spec!r} has no split; write {' or '.join(f'{name}:{known}' for known in splits)}")
    if split not in splits:
        raise unknown(f"split of {name!r}", split, splits)
    return load(split)


def data_specs() -> list[str]:
    """Every spec that :func:`load_data` understands."""
    return [f"{name}:{split}" for name, (_, splits) in _SOURCES.items() for split in splits]
