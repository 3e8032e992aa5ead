"""Picture files as ``data:`` URIs, so that the page needs nothing beside it."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import final

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST = 8 * 2**20  # bytes; a picture beyond this would make the page too heavy to open


@final
@dataclass(frozen=True, kw_only=True)
class Image:
    """One embedded picture; ``uri`` is None where there is none, and ``reason`` says why."""

    uri: str | None
    width: int = 0
    height: int = 0
    reason: str = ""

    @property
    def coarse(self) -> bool:
        """Whether its pixels are to be shown as squares."""
        return max(self.width, self.height) <= 128


def embed(folder: Path | None, name: str) -> Image:
    """The PNG file of that name inside the folder; anything else becomes a placeholder, never an error."""
    if folder is None or not name:
        return Image(uri=None, reason="not embedded")
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            return Image(uri=None, reason="outside the run's folder")
        if path.stat().st_size > _LARGEST:
            return Image(uri=None, reason="too large to embed")
        content = path.read_bytes()
    except (OSError, ValueError):
        return Image(uri=None, reason="file not found")
    if len(content) < 24 or not content.startswith(_SIGNATURE):
        return Image(uri=None, reason="not a PNG file")
    width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    return Image(uri="data:image/png;base64," + base64.b64encode(content).decode(), width=width, height=height)
