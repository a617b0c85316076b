"""Two and four processes train on, judge, predict and audit what one does: every sample once."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from eac_lightning.audit.table import read_audit
from tests.conftest import make_faces

FACES = {"even": (8, 5, 3), "odd": (9, 1, 2)}  # a class in train, val, test: 3 faces to validate are fewer than 4
TRAINED = ("shuffle", "balanced", "elr")
WORLDS = [2, pytest.param(4, marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function from the number of processes to the folder in which they ran, each number once."""
    root = tmp_path_factory.mktemp("processes")
    for name, per_class in FACES.items():
        make_faces(root / name, per_class)
    done: dict[int, Path] = {}

    def run(processes: int) -> Path:
        if processes not in done:
            folder = done[processes] = root / str(processes)  # launched once, also where it fails
            for name in (*TRAINED, "odd", "even", "scn"):
                (folder / name).mkdir(parents=True)
            ended = subprocess.run(
                [sys.executable, str(Path(__file__).with_name("suite.py")), str(folder), str(processes)],
                env={**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0"},
                capture_output=True, text=True, timeout=400, check=False,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr[-3000:]
        return done[processes]

    return run


def steps(folder: Path, processes: int) -> dict[tuple[int, int], list[int]]:
    """Return the faces of each step, by epoch and number, of all processes together."""
    drawn: dict[tuple[int, int], list[int]] = {}
    for rank in range(processes):
        for epoch, step, index in json.loads((folder / f"steps_{rank}.json").read_text()):
            drawn.setdefault((epoch, step), []).extend(index)
    return {where: sorted(index) for where, index in drawn.items()}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["shuffle", "balanced"])
def test_each_step_has_the_faces_of_one_process(runs: Any, world: int, name: str) -> None:
    one, several = steps(runs(1) / name, 1), steps(runs(world) / name, world)
    assert len(one) == 9
    assert several == one
    if name == "shuffle":
        for epoch in range(3):
            drawn = [face for (e, _), index in several.items() if e == epoch for face in index]
            assert len(drawn) == len(set(drawn)) == 24


@pytest.mark.parametrize("world", WORLDS)
def test_sizes_that_do_not_divide_lose_and_double_nobody(runs: Any, world: int) -> None:
    one, several = steps(runs(1) / "odd", 1), steps(runs(world) / "odd", world)
    drawn = [face for index in several.values() for face in index]
    assert len(drawn) == len(set(drawn)) == 27
    whole = [where for where, index in several.items() if len(index) == 8]
    assert len(whole) >= 2
    assert [several[where] for where in whole] == [one[where] for where in whole]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", TRAINED)
def test_weights_and_memories_are_those_of_one_process(runs: Any, world: int, name: str) -> None:
    one = torch.load(runs(1) / name / "weights_0.pt", weights_only=True)
    untrained = torch.load(runs(1) / "odd" / "weights_0.pt", weights_only=True)
    assert any(not torch.equal(one[key], untrained[key]) for key in one if key in untrained)
    for rank in range(world):
        several = torch.load(runs(world) / name / f"weights_{rank}.pt", weights_only=True)
        torch.testing.assert_close(several, one, rtol=0, atol=2e-5)
    assert ("memory._extra_state" in one) == (name == "elr")


@pytest.mark.parametrize("world", WORLDS)
def test_every_process_relabels_the_same_faces(runs: Any, world: int) -> None:
    ranks = [torch.load(runs(world) / "scn" / f"weights_{rank}.pt", weights_only=True) for rank in range(world)]
    assert (ranks[0]["memory._extra_state"] >= 0).any()
    for rank in ranks[1:]:
        torch.testing.assert_close(rank, ranks[0], rtol=0, atol=0)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", TRAINED)
def test_history_is_that_of_one_process(runs: Any, world: int, name: str) -> None:
    one, several = (json.loads((runs(n) / name / "results.json").read_text())["fit"]["history"] for n in (1, world))
    assert len(one) == 3
    for epoch_of_one, epoch in zip(one, several, strict=True):
        assert {"train/accuracy", "train/memorized", "val/loss", "val/macro_f1"} <= epoch_of_one.keys()
        assert epoch == pytest.approx(epoch_of_one, abs=2e-5)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["even", "odd"])
def test_figures_of_fixed_weights_are_those_of_one_process(runs: Any, world: int, name: str) -> None:
    one = json.loads((runs(1) / name / "figures_0.json").read_text())
    for rank in range(world):
        several = json.loads((runs(world) / name / f"figures_{rank}.json").read_text())
        for split in (0, 1):
            assert several[split][0] == pytest.approx(one[split][0], abs=1e-5)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["even", "odd"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_confusion_matrix_counts_every_face_once(runs: Any, world: int, name: str, split: str) -> None:
    one, several = ((runs(n) / name / f"confusion_matrix_{split}.csv").read_text() for n in (1, world))
    assert several == one
    counts = [int(cell) for row in list(csv.reader(one.splitlines()))[1:] for cell in row[1:]]
    assert sum(counts) == 3 * FACES[name][("train", "val", "test").index(split)]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["even", "odd"])
def test_every_face_is_predicted_once(runs: Any, world: int, name: str) -> None:
    one, several = (pd.read_csv(runs(n) / name / "predictions.csv") for n in (1, world))
    assert several["index"].tolist() == list(range(3 * sum(FACES[name])))
    pd.testing.assert_frame_equal(several, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", TRAINED)
def test_audit_is_that_of_one_process(runs: Any, world: int, name: str) -> None:
    one, several = (read_audit(runs(n) / name) for n in (1, world))
    assert len(several) == several["index"].nunique() == 24
    # Sums over three epochs of weights that agree to the last digits but one.
    pd.testing.assert_frame_equal(several, one, rtol=0, atol=2e-4)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["shuffle", "odd"])
def test_passive_audit_is_that_of_one_process(runs: Any, world: int, name: str) -> None:
    one = torch.load(runs(1) / name / "passive_0.pt", weights_only=True)
    for rank in range(world):
        several = torch.load(runs(world) / name / f"passive_{rank}.pt", weights_only=True)
        torch.testing.assert_close(several["columns"]["count"], one["columns"]["count"])
        torch.testing.assert_close(several["columns"]["given"], one["columns"]["given"])
        if name == "shuffle":
            torch.testing.assert_close(several, one, rtol=0, atol=2e-4, equal_nan=True)


@pytest.mark.parametrize("world", WORLDS)
def test_only_the_first_process_writes(runs: Any, world: int) -> None:
    one, several = (
        {str(path.relative_to(runs(n))) for path in runs(n).rglob("*") if path.is_file()} for n in (1, world)
    )
    of_each_rank = re.compile(r"(steps|weights|passive|figures)_\d\.")
    assert {name for name in several if not of_each_rank.search(name)} == {
        name for name in one if not of_each_rank.search(name)
    }
    tables = [(runs(n) / "shuffle" / "metrics.csv").read_text() for n in (1, world)]
    assert len(tables[0].splitlines()) == len(tables[1].splitlines())
