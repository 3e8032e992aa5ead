"""A file of measurements that survives a kill: one cell for each, written at once, and not measured again."""

import fcntl
import hashlib
import json
import os
import platform
from functools import cache
from pathlib import Path

import torch

import saddlepoint

RESULTS = Path(__file__).parent / "results"
ENGINE = [
    "balls/*.py",
    *(f"attacks/{name}.py" for name in ("_gradient", "bim", "directions", "fgsm", "mi_fgsm", "pgd")),
]
ENGINE += [f"{name}.py" for name in ("checks", "classifier", "losses", "noise", "problem", "result", "solve")]


class Cells:
    """The cells of one JSON file by their names; each is a case (all that could move its figures) and the figures.

    ``apart``: keys of a case that are told but need not be the same, as where accuracies were found on two machines.
    """

    def __init__(self, path, apart=()):
        self.path, self.apart = path, apart
        self.cells = self._read()

    def has(self, name, case):
        """Whether this cell was measured, in this very case."""
        return name in self.cells and self._moving(self.cells[name]["case"]) == self._moving(
            json.loads(json.dumps(case))
        )

    def _moving(self, case):
        return {key: value for key, value in case.items() if key not in self.apart}

    def put(self, name, case, figures):
        """Keep a cell, on disk too, beside those that another run wrote meanwhile; one of its name is replaced."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self.cells = self._read()
            self.cells[name] = {"case": case, **figures}
            self._write()
        finally:
            os.close(folder)

    def _read(self):
        return json.loads(self.path.read_text(encoding="utf-8"))["cells"] if self.path.exists() else {}

    def _write(self):
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"cells": dict(sorted(self.cells.items()))}, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.path)


def fill(cells, plan, *, only=()):
    """Measure what is missing; ``plan`` yields (name, case, a function that measures); ``only``: parts of names."""
    engine()
    wanted = [entry for entry in plan if not only or any(part in entry[0] for part in only)]
    for i, (name, case, measure) in enumerate(wanted, 1):
        done = cells.has(name, case)
        if not done:
            cells.put(name, case, measure())
        print(f"[{i}/{len(wanted)}] {name}: {'there already' if done else brief(cells.cells[name])}", flush=True)


def brief(cell):
    """A cell in one line."""
    kept = {key: value for key, value in cell.items() if key != "case"}
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in kept.items())


def environment(threads, attacks=()):
    """What the figures depend on beside the case: versions, the code of the engine and the attacks, the processor."""
    return {
        "saddlepoint": saddlepoint.__version__,
        "engine": engine(attacks),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "threads": threads,
    }


@cache
def engine(attacks=()):
    """The first digits of a hash over the code that is measured: the driver, PGD and its like, and these attacks."""
    root, digest = Path(saddlepoint.__file__).parent, hashlib.sha256()
    patterns = [*ENGINE, *(f"attacks/{name}.py" for name in attacks)]
    for path in sorted({file for pattern in patterns for file in root.glob(pattern)}):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def processor():
    """The name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()
