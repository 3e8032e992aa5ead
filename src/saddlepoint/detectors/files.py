"""Detectors as files: tensors as safetensors, all else as JSON; no code is kept, and none is run."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as decode
from safetensors.torch import save as encode

from saddlepoint._files import write_atomic
from saddlepoint.classifier import Classifier
from saddlepoint.detectors.density import Density
from saddlepoint.detectors.lid import LocalDimension
from saddlepoint.detectors.mahalanobis import Distances
from saddlepoint.detectors.outputs import Read
from saddlepoint.detectors.scorer import Scorer
from saddlepoint.detectors.squeezing import Squeezed
from saddlepoint.errors import WeightsError, shown, unknown

SCORERS: dict[str, type[Scorer]] = {kind.name: kind for kind in (Squeezed, Density, Read, LocalDimension, Distances)}
"""Every scorer that a file may name."""


class Loaded(NamedTuple):
    """A detector from a file, and the threshold that was kept with it, if any."""

    scorer: Scorer
    threshold: float | None


def save_detector(scorer: Scorer, path: str | Path, *, threshold: float | None = None) -> None:
    """Write a fitted detector: ``path``, a safetensors file, and beside it the same name with .json.

    Args:  threshold: kept with it.

    Raises:  WeightsError if the files cannot be written.
    """
    path = Path(path)
    content = encode({name: tensor.detach().cpu().clone().contiguous() for name, tensor in scorer.tensors().items()})
    about = {
        "detector": scorer.name,
        "settings": scorer.settings(),
        "threshold": threshold,
        "model": scorer.model.fingerprint,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    try:
        write_atomic(path, content)
        write_atomic(path.with_suffix(".json"), (json.dumps(about, indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise WeightsError(
            f"the detector {shown(str(path))} cannot be written ({error.strerror}); give a file in a folder that exists"
        ) from error


def load_detector(path: str | Path, model: Classifier) -> Loaded:
    """Read a detector for the model that it was fitted to.

    Raises:
        WeightsError: if a file cannot be read, is damaged, or was fitted to another model.
        SpecError: if there is no such detector, or transform.
    """
    path = Path(path)
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        content = path.read_bytes()
        tensors = decode(content)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(
            f"the detector {shown(str(path))} cannot be read ({reason}); give the .safetensors file, with its .json "
            "beside it"
        ) from error
    _check(about, content, model, path)
    if about["detector"] not in SCORERS:
        raise unknown("detector", str(about["detector"]), SCORERS)
    try:
        scorer = SCORERS[about["detector"]](model, **about["settings"], **tensors)
    except TypeError as error:
        raise WeightsError(f"the detector {shown(str(path))} does not fit this version: {error}") from error
    limit = about["threshold"]
    return Loaded(scorer, None if limit is None else float(limit))


def _check(about: Any, content: bytes, model: Classifier, path: Path) -> None:  # noqa: ANN401 (JSON)
    keys = {"detector", "settings", "threshold", "model", "sha256"}
    if not isinstance(about, dict) or not keys <= about.keys() or not isinstance(about["settings"], dict):
        raise WeightsError(f"{shown(path.with_suffix('.json').name)} does not describe a detector; save it again")
    if about["sha256"] != hashlib.sha256(content).hexdigest():
        raise WeightsError(f"the detector {shown(str(path))} was changed or damaged: fit and save it again")
    if about["model"] != model.fingerprint:
        raise WeightsError(
            f"the detector {shown(str(path))} was fitted to another model, or to other weights; fit it again"
        )
