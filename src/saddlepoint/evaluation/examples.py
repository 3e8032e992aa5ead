"""What an attack made of the rows, as files: every point with the judge's verdict, and images of those that fool."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import save as encode

from saddlepoint._files import write_atomic
from saddlepoint.errors import RecordError, SettingError
from saddlepoint.evaluation import rounding
from saddlepoint.evaluation.evaluate import Progress, run
from saddlepoint.evaluation.plan import Plan
from saddlepoint.evaluation.store import FolderStore, Outcome, Store, called, usable
from saddlepoint.evaluation.work import CODES
from saddlepoint.records import FOOLED, HELD, UNDEFINED, WRONG, RunRecord

SCHEMA_VERSION = 1


@final
@dataclass(frozen=True)
class Examples:
    """The points that one attack returned for the rows of one data set.

    Attributes:
        tensors: ``x`` (n, *f), and one entry per row of ``y``, ``rows`` (ids), ``fooled``, ``undefined``,
            ``predicted``, ``distance``, ``forwards``, ``backwards``. A row that was wrong when clean was not attacked:
            its ``x`` is the input.
        about: what ``examples.json`` says;  record: the run behind it.
    """

    tensors: Outcome
    about: Mapping[str, Any]
    record: RunRecord


def export(
    plan: Plan,
    out: str | Path,
    *,
    png: bool = False,
    shard: tuple[int, int] = (1, 1),
    batch_size: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Examples | None:
    """Attack every row of a plan and write what came of it; a call that was killed goes on when it is made again.

    Args:
        plan: of one model, one attack and one ball.
        out: folder for ``examples.safetensors``, ``examples.json``, the outcomes of the jobs and, if asked for, images.
        png: also write each point that fools as an 8-bit image, and judge it again as it then is.
        shard, batch_size, command, progress: as in ``complete``.

    Returns:
        the examples; None while jobs of other shards are missing.

    Raises:
        SettingError: if the plan has several models, attacks or balls, or images are asked for of rows that are none.
        RecordError: if the folder cannot be written, or holds something else.
        MissingExtraError: if images are asked for and Pillow is not installed.
    """
    counts = [len(plan.subjects), len(plan.threats), *(len(attacks) for _, attacks in plan.threats)]
    if set(counts) != {1}:
        raise SettingError("examples are written of one model, one attack and one ball; plan them one by one")
    if png:
        rounding.require_images(plan.data)
    plan, folder = replace(plan, every_point=True, probed=0, forms=(), against=None), usable(Path(out))
    found = run(plan, batch_size=batch_size, draw=False, command=command, progress=progress, folder=folder, shard=shard)
    if found is None:
        return None
    tensors = _collected(plan, FolderStore(folder))
    told: dict[str, Any] = dict.fromkeys(rounding.KEYS)
    try:
        if png:
            told = rounding.write(plan, tensors, folder / "png", batch_size=batch_size, progress=progress)
        about = _about(found.record)
        content = encode(tensors, metadata={"saddlepoint": json.dumps(about)})  # the same bytes for the same run
        write_atomic(folder / "examples.safetensors", content)
        about |= {**_counted(found.record), **told, **_circumstances(found.record)}
        text = json.dumps(about, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        write_atomic(folder / "examples.json", text.encode())
    except OSError as error:
        raise RecordError(
            f"the examples cannot be written to {called(folder)!r} ({error.strerror}); finished jobs are kept: "
            "make room and run the same command again"
        ) from error
    return Examples(tensors, about, found.record)


def _collected(plan: Plan, store: Store) -> Outcome:
    """All rows, in the order of the data set."""
    data, jobs = plan.data, list(plan.jobs())
    whole, flag = torch.zeros(len(data), dtype=torch.int64), torch.zeros(len(data), dtype=torch.uint8)
    found = {"predicted": whole, "codes": flag, "x": data.x.cpu().clone(), "distance": torch.zeros(len(data))}
    found |= {"forwards": whole.clone(), "backwards": whole.clone()}
    for job in jobs:
        outcome = store.get(job.key)
        assert outcome is not None, "collected before every job was done"
        if job.attack is None:
            part = slice(job.rows.start, job.rows.stop)
            found["codes"][part], found["predicted"][part] = outcome["codes"], outcome["predicted"]
            continue
        assert torch.equal(outcome["found"], outcome["rows"]), "the plan wants every point"
        for name, tensor in found.items():
            tensor[outcome["rows"]] = outcome[name]
    codes = found.pop("codes")
    return {
        "x": found.pop("x"),
        "y": data.y.cpu(),
        "rows": data.rows.cpu(),
        "fooled": codes == CODES.index(FOOLED),
        "undefined": codes == CODES.index(UNDEFINED),
        **found,
    }


def _about(record: RunRecord) -> dict[str, Any]:
    """What the tensors are, without what differs between runs of the same."""
    (model,) = record.models
    (threat,) = model.threats
    (attack,) = threat.attacks
    data = record.data
    return {
        "schema": SCHEMA_VERSION,
        "numerics": record.numerics,
        "model": {"name": model.name, "fingerprint": model.fingerprint, "bounds": list(model.bounds)},
        "data": {"name": data.name, "fingerprint": data.fingerprint, "rows": data.rows, "classes": data.classes},
        "attack": {"name": attack.name, "settings": attack.settings},
        "target": record.spec["target"],
        "seed": record.spec["seed"],
        "versions": {name: record.environment[name] for name in ("saddlepoint", "torch")},
        "verdicts": attack.verdicts,
    }


def _counted(record: RunRecord) -> dict[str, Any]:
    attack = record.models[0].threats[0].attacks[0]
    names = {"wrong": WRONG, "held": HELD, "fooled": FOOLED, "undefined": UNDEFINED}
    return {name: attack.verdicts.count(letter) for name, letter in names.items()} | {
        "forwards": attack.forwards,
        "backwards": attack.backwards,
    }


def _circumstances(record: RunRecord) -> dict[str, Any]:
    return {
        "findings": [asdict(finding) for finding in record.findings],
        "command": record.command,
        "environment": record.environment,
        "started": record.started,
        "seconds": record.seconds,
    }
