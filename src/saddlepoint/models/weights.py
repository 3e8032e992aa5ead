"""Files of weights: safetensors only, checked before anything is loaded, written whole or not at all."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor, nn

from saddlepoint._files import write_atomic
from saddlepoint.errors import WeightsError, shown

_PICKLES = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}


def load_weights(module: nn.Module, path: str | Path, sha256: str | None = None) -> None:
    """Load a safetensors file into a module, in place; on an error the module is as it was.

    Args:
        module: of the architecture that the file was saved from. Values are cast to its dtypes and devices.
        path: the file. It is read once: the bytes that were checked are the ones that are loaded.
        sha256: the hash that the file must have, in hex.

    Raises:  WeightsError if the file cannot be read, is no complete safetensors file, has another hash or does not fit.
    """
    try:
        path = Path(path)
        content = path.read_bytes()
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(
            f"weights {shown(str(path), 200)} cannot be read ({reason}); give the path of a .safetensors file"
        ) from error
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256.lower():
        raise WeightsError(
            f"weights {str(path)!r} have sha256 {found}, expected {sha256.lower()}; "
            "the file was changed or damaged: fetch or install it again"
        )
    try:
        tensors = decode(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(_unreadable(path, content, error)) from error
    _check_fit(module, tensors, path)
    module.load_state_dict(tensors)


def save_weights(module: nn.Module, path: str | Path) -> None:
    """Write a module's weights as safetensors; equal weights give equal bytes.

    A reader sees the old file or the new one, never a part: a temporary file in its folder is synced, then renamed.

    Raises:  WeightsError if the file cannot be written.
    """
    path = Path(path)
    content = encode({name: tensor.detach().cpu().clone().contiguous() for name, tensor in _state(module).items()})
    try:
        write_atomic(path, content)
    except OSError as error:
        raise WeightsError(
            f"weights {str(path)!r} cannot be written ({error.strerror}); give a file in a folder that exists"
        ) from error


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _unreadable(path: Path, content: bytes, error: Exception) -> str:
    if content.startswith((b"PK\x03\x04", b"\x80")) or path.suffix in _PICKLES:
        return (
            f"weights {str(path)!r} look like a pickle, which can run code when loaded; only safetensors are read. "
            "Convert it where you trust it: module.load_state_dict(torch.load(file, weights_only=True)), "
            "then saddlepoint.models.save_weights(module, 'file.safetensors')"
        )
    return (
        f"weights {str(path)!r} are no complete safetensors file ({error}); "
        "it was cut off or is of another kind: save or fetch it again"
    )


def _check_fit(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = _state(module)
    shapes = {name: (tuple(tensors[name].shape), tuple(own[name].shape)) for name in own.keys() & tensors.keys()}
    wrong = [f"{name} is {found}, not {wanted}" for name, (found, wanted) in sorted(shapes.items()) if found != wanted]
    problems = [
        f"{what} {_some(names)}"
        for what, names in (
            ("missing", sorted(own.keys() - tensors.keys())),
            ("unexpected", sorted(tensors.keys() - own.keys())),
            ("shape", wrong),
        )
        if names
    ]
    if problems:
        raise WeightsError(
            f"weights {str(path)!r} do not fit {type(module).__name__}: {'; '.join(problems)}. "
            "Give the file that was saved from this architecture, or build the module with other sizes"
        )


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
