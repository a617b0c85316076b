import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from eac_lightning._lightning import plugins
from eac_lightning.cli import main
from eac_lightning.errors import CheckpointError, StorageError
from eac_lightning.runs.checkpoints import LAST, PREVIOUS, DurableCheckpointIO, is_whole, last_whole
from tests.runs.fitting import disturbed, epoch, fit, listed, same, weights

REPOSITORY = Path(__file__).parents[2]


def content(number: int) -> dict[str, Any]:
    return {"epoch": number, "state_dict": {"weight": torch.full((100,), float(number))}}


def number(path: Path) -> int:
    return int(DurableCheckpointIO().load_checkpoint(path, weights_only=True)["epoch"])


def spoil(path: Path, how: str) -> None:
    whole = path.read_bytes()
    half = len(whole) // 2
    spoilt = {
        "cut": whole[:half],
        "empty": b"",
        "zeros": bytes(len(whole)),
        "zeros at the end": whole[:half] + bytes(len(whole) - half),
        "a bit": whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :],
    }[how]
    path.write_bytes(spoilt)


DAMAGES = ("cut", "empty", "zeros", "zeros at the end", "a bit")


@pytest.mark.parametrize("links", [True, False])
def test_the_last_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:

        def refused(*args: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)
    for n in range(3):
        DurableCheckpointIO().save_checkpoint(content(n), tmp_path / LAST)
        assert number(tmp_path / LAST) == n
        assert (tmp_path / PREVIOUS).exists() == (n > 0)
    assert number(tmp_path / PREVIOUS) == 1
    assert listed(tmp_path) == [LAST, PREVIOUS]


def test_another_checkpoint_leaves_none(tmp_path: Path) -> None:
    for n in range(2):
        DurableCheckpointIO().save_checkpoint(content(n), str(tmp_path / "best.ckpt"))
    assert listed(tmp_path) == ["best.ckpt"]
    assert number(tmp_path / "best.ckpt") == 1


def test_a_name_left_by_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    DurableCheckpointIO().save_checkpoint(content(0), tmp_path / LAST)
    (tmp_path / f".{PREVIOUS}.partial").touch()
    DurableCheckpointIO().save_checkpoint(content(1), tmp_path / LAST)
    assert listed(tmp_path) == [LAST, PREVIOUS]


def test_the_last_one_is_there_whenever_the_next_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(checkpoint: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    for n in range(2):
        DurableCheckpointIO().save_checkpoint(content(n), tmp_path / LAST)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match=f"no space to write {tmp_path / LAST}"):
        DurableCheckpointIO().save_checkpoint(content(2), tmp_path / LAST)
    assert (number(tmp_path / LAST), number(tmp_path / PREVIOUS)) == (1, 0)
    assert listed(tmp_path) == [LAST, PREVIOUS]


@pytest.mark.parametrize("how", DAMAGES)
def test_damage_is_recognised(tmp_path: Path, how: str) -> None:
    for n in range(2):
        DurableCheckpointIO().save_checkpoint(content(n), tmp_path / LAST)
    assert last_whole(tmp_path) == (tmp_path / LAST, [])
    spoil(tmp_path / LAST, how)
    assert last_whole(tmp_path) == (tmp_path / PREVIOUS, [tmp_path / LAST])
    with pytest.raises(CheckpointError, match=f"{tmp_path / LAST} is damaged.*{PREVIOUS} in the same folder"):
        number(tmp_path / LAST)
    spoil(tmp_path / PREVIOUS, how)
    assert last_whole(tmp_path) == (None, [tmp_path / LAST, tmp_path / PREVIOUS])


def test_a_changed_bit_anywhere_is_recognised_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / LAST
    DurableCheckpointIO().save_checkpoint(content(1), path)
    whole, rng, damaged = path.read_bytes(), random.Random(0), 0
    for _ in range(600):
        bit = rng.randrange(8 * len(whole))
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        damaged += not is_whole(path)  # and raises nothing
    assert damaged > 300


def test_the_previous_one_alone_is_a_beginning(tmp_path: Path) -> None:
    assert last_whole(tmp_path / "nowhere") == (None, [])
    DurableCheckpointIO().save_checkpoint(content(0), tmp_path / PREVIOUS)
    assert last_whole(tmp_path) == (tmp_path / PREVIOUS, [])


def test_a_checkpoint_that_is_elsewhere_is_left_to_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(plugins.TorchCheckpointIO, "save_checkpoint", lambda self, what, path, *more: seen.append(path))
    monkeypatch.setattr(plugins.TorchCheckpointIO, "load_checkpoint", lambda self, path, *more: {"epoch": path})
    DurableCheckpointIO().save_checkpoint(content(0), "s3://bucket/last.ckpt")
    assert seen == ["s3://bucket/last.ckpt"]
    assert DurableCheckpointIO().load_checkpoint("s3://bucket/last.ckpt") == {"epoch": "s3://bucket/last.ckpt"}


def test_a_file_that_is_not_there_is_lightnings_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        number(tmp_path / "none.ckpt")


RUN = """
import sys
from eac_lightning.cli import main
from eac_lightning.models import backbones
from tests.conftest import TinyBackbone
backbones._registry["tiny"] = TinyBackbone
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_ends_a_fit_in_a_sentence_and_it_goes_on_once_there_is_room(here: Path, faces: Path) -> None:
    command = fit(faces, disturbed("full"))
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command], env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    said = " ".join(done.stderr.split())
    assert "Error: There is no space to write" in said
    assert "File too large" in said
    assert "Traceback" not in done.stderr
    assert epoch() == 1
    assert not Path("run/finished").exists()
    assert not [path for path in Path("run").rglob("*") if "partial" in path.name]

    assert main(command) == 0
    assert main(fit(faces, folder="whole")) == 0
    assert same(weights(), weights("whole"))
    assert Path("run/metrics.csv").read_bytes() == Path("whole/metrics.csv").read_bytes()
