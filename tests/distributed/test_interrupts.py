"""Ctrl-C once and twice, and SIGTERM: the run ends with the status that shells have for it, and keeps what it had."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import make_faces
from tests.distributed.launching import Ended, finish, fit, start, tell


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupts")
    make_faces(folder / "faces", per_class=(8, 5, 3))
    return folder


def reached(folder: Path, process: subprocess.Popen[bytes], *marks: str) -> None:
    deadline = time.time() + 200
    while not all((folder / f"reached_{mark}").exists() for mark in marks):
        assert process.poll() is None, (folder / "said").read_text()[-3000:]
        assert time.time() < deadline
        time.sleep(0.05)
    time.sleep(0.2)


def next_epoch(folder: Path) -> int:
    """Return the epoch that the run would go on with."""
    return int(torch.load(folder / "run" / "last.ckpt", weights_only=True)["epoch"])


def quiet(ended: Ended, status: int) -> None:
    # Killed by the signal when the interpreter is on its way out already: to a shell that is the same status.
    assert (ended.status if ended.status >= 0 else 128 - ended.status) == status, ended.said[-2000:]
    assert "Traceback" not in ended.said


def test_ctrl_c_ends_in_order(folder: Path) -> None:
    process = start(folder, *fit(), event="0:training step:100")
    reached(folder, process, "0_training step")
    process.send_signal(signal.SIGINT)
    ended = finish(folder, process, 60)
    quiet(ended, 130)
    assert "Interrupted. What was finished is kept." in ended.said
    assert next_epoch(folder) == 1


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(folder: Path) -> None:
    process = start(folder, *fit(), event="0:training step:100,0:tidying up:100")
    reached(folder, process, "0_training step")
    process.send_signal(signal.SIGINT)
    reached(folder, process, "0_tidying up")
    process.send_signal(signal.SIGINT)
    ended = finish(folder, process, 30)
    quiet(ended, 130)
    assert ended.seconds < 5
    assert "Interrupted again: ended at once." in ended.said
    assert next_epoch(folder) == 1


@pytest.mark.slow
def test_sigterm_ends_after_the_step(folder: Path) -> None:
    process = start(folder, *fit(), event="0:training step:2")
    reached(folder, process, "0_training step")
    process.send_signal(signal.SIGTERM)
    quiet(finish(folder, process, 60), 143)
    assert next_epoch(folder) == 1


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_all_processes(folder: Path, times: int) -> None:
    process = start(folder, *fit(2), event="0:training step:100,1:training step:100")
    reached(folder, process, "0_training step", "1_training step")
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        time.sleep(0.3)
    ended = finish(folder, process, 60)
    quiet(ended, 130)
    tell(f"interrupted | {times} | {ended.seconds:.1f} s")
    assert next_epoch(folder) == 1


@pytest.mark.slow
@pytest.mark.parametrize("everybody", [False, True])
def test_sigterm_ends_all_processes(folder: Path, everybody: bool) -> None:
    process = start(folder, *fit(2), event="0:training step:3,1:training step:3")
    reached(folder, process, "0_training step", "1_training step")
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGTERM)
    ended = finish(folder, process, 60)
    tell(f"terminated | {'all' if everybody else 'the first'} | {ended.seconds:.1f} s | {ended.status}")
    assert ended.status != 0
    assert ended.seconds < 60
    assert next_epoch(folder) == 1
