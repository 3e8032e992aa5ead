"""Options that evaluate and attack share."""

from pathlib import Path
from typing import Annotated

import typer

Norm = Annotated[str, typer.Option(help="Norm of the ball: linf, l2, l1, l0 or ciede2000.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of fashion-mnist or cifar10.")]
Rows = Annotated[int | None, typer.Option(help="Only the first rows.")]
Target = Annotated[str, typer.Option(help="none, least-likely, random, or a class index.")]
Weights = Annotated[Path | None, typer.Option(help="Safetensors file for a py: model.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; default: where the model is.")]
BatchSize = Annotated[str, typer.Option(help="auto, or rows at once; no number depends on it.")]
Seed = Annotated[int, typer.Option(help="Seed of every random draw.")]
Forwards = Annotated[int | None, typer.Option(help="Most forward passes per row and attack.")]
Backwards = Annotated[int | None, typer.Option(help="Most backward passes per row and attack.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: torch's choice.")]
Shard = Annotated[str, typer.Option(help="i/m: do every m-th job from the i-th, in a shared --out.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the jobs and stop.")]
