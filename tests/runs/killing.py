"""Runs ``eac fit`` to its end, killed with SIGKILL at chosen moments before: ``python -m tests.runs.killing FOLDER SEED… [OPTION…]``.

For each seed: the command is run until a moment drawn by the seed (now and then twice, the second time while it goes
on), then once more, undisturbed. A moment is a call of anything in ``MOMENTS``; how many there are is counted in a run
that nothing disturbs. Every run is a fork of this process, which has only imported what they need.
"""

import functools
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from eac_lightning.audit import table as audit_table
from eac_lightning.cli import main, training  # noqa: F401  # imported here, not once in each fork
from eac_lightning.data import sources
from eac_lightning.data.store_file import VARIABLE
from eac_lightning.models import backbones
from eac_lightning.modules import base
from tests.conftest import TinyBackbone

MOMENTS: dict[str, tuple[Any, str]] = {
    "a picture is decoded": (sources, "resize_square"),
    "a training step": (base.FERModule, "training_step"),
    "a validation step": (base.FERModule, "validation_step"),
    "the audit is written": (audit_table, "audit_record"),
    "a file is synced": (os, "fsync"),
    "a file is put in its place": (os, "replace"),
    "a file gets a second name": (os, "link"),
    "a checkpoint is half written": (torch, "save"),
}


OPTIONS = [option for option in sys.argv[2:] if option.startswith("--")]


def command(faces: Path) -> list[str]:
    """Return a fit that has something of everything: noise, balanced batches, augmentation, maps, audit."""
    return [
        "fit", "-c", "eac_mobilefacenet", "-c", "noise/symmetric_30", "--model.backbone=tiny", "--trainer.accelerator=cpu",
        "--trainer.max_epochs=3", "--model.lr=0.01", "--model.consistency_weight=1", "--trainer.enable_progress_bar=false", f"--data.root={faces}", "--data.image_size=16",
        "--data.batch_size=8", "--data.sampler=balanced", "--data.augment=flip", "--trainer.default_root_dir=run", *OPTIONS,
        '--trainer.callbacks=[{"class_path":"eac_lightning.LabelAuditCallback"},'
        '{"class_path":"eac_lightning.ConfusionMatrixCallback"},'
        '{"class_path":"eac_lightning.OODCallback","init_args":{"neighbours":3}},{"class_path":"eac_lightning.CalibrationCallback"}]',
    ]  # fmt: skip


def run(folder: Path, faces: Path, die_at: tuple[str, int] | None = None) -> tuple[int, dict[str, int]]:
    """Fork a run; return how it ended (minus the signal) and how often it came to each moment."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        os.environ[VARIABLE] = str(folder / "cache")
        with Path("log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        counts = dict.fromkeys(MOMENTS, 0)
        for name, (owner, function) in MOMENTS.items():
            setattr(owner, function, _counted(name, getattr(owner, function), counts, die_at))
        backbones._registry["tiny"] = TinyBackbone
        status = main(command(faces))
        os.write(write, json.dumps(counts).encode())
        os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(told) if told else {}


def _counted(
    name: str, function: Callable[..., Any], counts: dict[str, int], die_at: tuple[str, int] | None
) -> Callable[..., Any]:
    @functools.wraps(function)
    def counting(*arguments: Any, **options: Any) -> Any:
        counts[name] += 1
        if (name, counts[name]) == die_at:
            os.write(1, f"killed when {name} ({counts[name]})\n".encode())
            if name == "a checkpoint is half written" and not isinstance(arguments[1], BytesIO):
                whole = BytesIO()
                function(arguments[0], whole)
                arguments[1].write(whole.getvalue()[: whole.tell() // 2])
                arguments[1].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return counting


def killed(folder: Path, faces: Path, seed: int, counts: dict[str, int]) -> list[str]:
    """Run the command in ``folder`` with one or two deaths; return when they came, and raise if it did not end well."""
    rng = random.Random(seed)
    # Each kind of moment in turn: most of all moments are decoded pictures.
    first = list(MOMENTS)[seed % len(MOMENTS)]
    deaths = [first, *rng.choices(list(MOMENTS), k=rng.randint(0, 1))]
    for name in deaths:
        status, _ = run(folder, faces, (name, rng.randint(1, counts[name])))
        if status not in (0, -signal.SIGKILL):
            break
    else:
        status, _ = run(folder, faces)
    log = (folder / "log").read_text()
    if status:
        raise RuntimeError(log)
    return [line for line in log.splitlines() if line.startswith("killed when")]


def killing(folder: Path, seeds: list[int]) -> None:
    """Make ``undisturbed/`` and one folder a seed; print a line of JSON each."""
    faces = folder / "faces"
    _, counts = run(folder / "undisturbed", faces)
    sys.stdout.write(json.dumps(counts) + "\n")
    for seed in seeds:
        sys.stdout.write(json.dumps({"seed": seed, "deaths": killed(folder / str(seed), faces, seed, counts)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    killing(Path(sys.argv[1]).resolve(), [int(seed) for seed in sys.argv[2:] if seed not in OPTIONS])
