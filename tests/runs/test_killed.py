"""A run that is killed at any moment and started again ends as if nothing had been."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import make_faces
from tests.runs.killing import MOMENTS

REPOSITORY = Path(__file__).parents[2]
EVERYDAY = range(len(MOMENTS))
"""One death of each kind."""


def kill(folder: Path, seeds: range, *options: str) -> list[dict[str, Any]]:
    make_faces(folder / "faces")
    done = subprocess.run(
        [sys.executable, "-m", "tests.runs.killing", folder, *map(str, seeds), *options],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts, *deaths = map(json.loads, done.stdout.splitlines())
    assert all(counts.values()), counts
    assert len(deaths) == len(seeds)
    return deaths


def content(folder: Path) -> dict[str, Any]:
    """Return every file below a run's folder by name; what tells of time and place is taken out."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".ckpt":
            found[name] = flat(torch.load(path, weights_only=True), str(folder))
        elif name == "results.json":
            results = json.loads(path.read_text())
            results["fit"].pop("seconds")
            found[name] = results
        else:
            found[name] = path.read_bytes()
    return found


def flat(value: Any, place: str, name: str = "") -> dict[str, Any]:
    """Return what is nested in a checkpoint by its dotted name, tensors as bytes."""
    if isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        return {key: leaf for k, inner in pairs for key, leaf in flat(inner, place, f"{name}.{k}").items()}
    # Lightning forgets a checkpoint's newest score, and how far an epoch had come that is over; it never asks for them.
    if name.endswith((".seconds", ".current_score")) or ".optim_progress." in name or "scheduler_progress.cur" in name:
        return {}
    if isinstance(value, torch.Tensor):
        value = (value.dtype, value.shape, value.numpy().tobytes())
    return {name.replace(place, ""): value.replace(place, "") if isinstance(value, str) else value}


def check(folder: Path, seeds: range, *options: str) -> None:
    deaths = kill(folder, seeds, *options)
    whole = content(folder / "undisturbed/run")
    assert {"last.ckpt", "best.ckpt", "metrics.csv", "audit.parquet", "results.json", "finished"} <= set(whole)
    for seed in seeds:
        assert content(folder / str(seed) / "run") == whole, deaths[seed]


def test_a_run_killed_at_each_kind_of_moment_ends_bit_identical(tmp_path: Path) -> None:
    check(tmp_path, EVERYDAY)


@pytest.mark.slow
def test_a_run_killed_at_sixty_random_moments_ends_bit_identical(tmp_path: Path) -> None:
    check(tmp_path, range(60))


PLATEAU = [
    "--optimizer=Adam",
    "--optimizer.lr=0.01",
    "--lr_scheduler=ReduceLROnPlateau",
    "--lr_scheduler.monitor=val/loss",
]
SCHEDULES = {
    "steps": ["--trainer.max_steps=7"],
    "plateau": [*PLATEAU, "--lr_scheduler.patience=0"],
    "accumulated": ["--trainer.accumulate_grad_batches=2"],
    "validated within": ["--trainer.val_check_interval=0.5"],
    "validated seldom": ["--trainer.check_val_every_n_epoch=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("options", SCHEDULES.values(), ids=list(SCHEDULES))
def test_other_schedules_go_on_as_well(tmp_path: Path, options: list[str]) -> None:
    check(tmp_path, EVERYDAY, *options)
