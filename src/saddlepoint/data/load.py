"""From a data spec, ``name:split`` or ``kind:path``, to a data set."""

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from saddlepoint.data import cifar10, fashion_mnist, folder, mnist10k, npz, photopatch10
from saddlepoint.data.dataset import Dataset
from saddlepoint.data.reading import SPLITS, base_name
from saddlepoint.errors import ArgumentTypeError, SettingError, SpecError, shown, unknown

_EMBEDDED: dict[str, Callable[[str], Dataset]] = {"mnist10k": mnist10k.load, "photopatch10": photopatch10.load}
_NAMED = (*_EMBEDDED, "fashion-mnist")
_BY_PATH: dict[str, Callable[[str, str | None], Dataset]] = {"npz": npz.load, "folder": folder.load}
_KNOWN = (*_NAMED, "cifar10", *_BY_PATH)
_PLANNED = ("hf",)


def load_data(spec: str, *, data_dir: str | PathLike[str] | None = None) -> Dataset:
    """The data set that a spec names, in memory.

    >>> load_data("mnist10k:test")
    Dataset('mnist10k:test', 2000 rows of shape (1, 28, 28), 10 classes)

    Args:
        spec: ``name:split`` or ``kind:path``; the page *Data* and :func:`data_specs` list them. A path may start with
            ``~``.
        data_dir: the folder with the files of ``fashion-mnist:split`` or ``cifar10:split``.

    Raises:
        ArgumentTypeError: if the spec is no text.
        SpecError: if there is no such name or split.
        SettingError: if data_dir is given for a data set that does not look there.
        DataError: if files are missing, cannot be read, or hold what cannot be a data set.
        MissingExtraError: if a folder of images or ``photopatch10`` is named and Pillow is not installed.
    """
    if not isinstance(spec, str):
        raise ArgumentTypeError(f"data {shown(spec)} must be text, one of {', '.join(data_specs())}")
    name, colon, rest = spec.partition(":")
    if name in _PLANNED:
        raise SpecError(
            f"data set {name!r} is not available in this version; use one of {', '.join(data_specs())}, "
            "or make a saddlepoint.Dataset of your tensors"
        )
    if name not in _KNOWN and name.lower().endswith(".npz"):
        file = base_name(name) + (f":{rest}" if rest in SPLITS else "")
        raise SpecError(f"unknown data set {base_name(name)!r}; did you mean 'npz:{file}', a file by its path?")
    if name not in _KNOWN:
        raise unknown("data set", base_name(name), _KNOWN)
    place = None if data_dir is None else _path(os.fspath(data_dir))
    if name in _NAMED:
        return _named(name, rest if colon else None, place)
    path, split = _parts(rest)
    if name == "cifar10":
        return cifar10.load(split or "test", _folder_of_cifar10(path, place))
    if not path:
        raise SpecError(f"data set {name!r} has no path; write {' or '.join(_specs(name))}")
    if place is not None:
        raise SettingError(f"data_dir cannot be given for {name!r}; write the path into the spec: {_specs(name)[0]}")
    return _BY_PATH[name](os.path.expanduser(path), split)


def data_specs() -> list[str]:
    """Every spec that :func:`load_data` understands; PATH and SIZE stand for yours."""
    return [spec for name in _KNOWN for spec in _specs(name)]


def _specs(name: str) -> list[str]:
    options = {
        "npz": ["", "@nhwc", *(f":{split}" for split in SPLITS)],
        "folder": ["", "@SIZE", *(f":{split}" for split in SPLITS)],
        "cifar10": [f":{split}" for split in SPLITS],
    }
    if name in options:
        return [f"{name}:PATH{option}" for option in options[name]]
    return [f"{name}:{split}" for split in SPLITS]


def _named(name: str, split: str | None, place: Path | None) -> Dataset:
    if split is None:
        raise SpecError(f"data set {name!r} has no split; write {' or '.join(_specs(name))}")
    if split not in SPLITS:
        raise unknown(f"split of {name!r}", split, SPLITS)
    if name == "fashion-mnist":
        return fashion_mnist.load(split, place)
    if place is not None:
        raise SettingError(f"data_dir cannot be given for {name!r}, which comes with the package; leave it out")
    return _EMBEDDED[name](split)


def _parts(rest: str) -> tuple[str, str | None]:
    """``path:split``, ``path`` or ``split``: the path (empty if there is none) and the split."""
    if rest in SPLITS:
        return "", rest
    path, _, split = rest.rpartition(":")
    return (path, split) if split in SPLITS else (rest, None)


def _folder_of_cifar10(path: str, place: Path | None) -> Path:
    if path and place is not None:
        raise SettingError("data_dir and a path cannot both be given for 'cifar10'; leave one of them out")
    if not path and place is None:
        raise SpecError(f"data set 'cifar10' has no path; write {' or '.join(_specs('cifar10'))}")
    return place or _path(path)


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))
