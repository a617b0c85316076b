"""examples/slurm.sh: sound shell, asks for what it uses, runs the command that it should, and is queued again."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from eac_lightning.cli import main

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sh"
SLURM = {"SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "4", "SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "17"}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """An environment whose srun and scontrol note what they were called with; srun ends with $STATUS."""
    for name, then in (("srun", 'sleep "${SLEEP:-0}"; exit "${LATER:-0}"'), ("scontrol", 'exit "${REFUSED:-0}"')):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        end = 'exit "$STATUS"' if name == "srun" else ""
        tool.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" "OMP=$OMP_NUM_THREADS" > {tmp_path}/{name}\n'
            + (f'[ -z "$STATUS" ] || {end}\n' if end else "")
            + f"{then}\n"
        )
        tool.chmod(0o755)
    return {**os.environ, **SLURM, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


def submit(cluster: dict[str, str], folder: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(SCRIPT), *arguments], cwd=folder, env=cluster | more, stderr=subprocess.PIPE, text=True
    )


def test_is_sound_shell() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)
    lines = SCRIPT.read_text().splitlines()
    assert lines[0].startswith("#!")
    assert os.access(SCRIPT, os.X_OK)
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(not line.startswith("#SBATCH") for line in lines[first:])  # sbatch reads none after the first command


def test_asks_for_what_it_uses() -> None:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.MULTILINE))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert int(asked["nodes"]) > 1
    assert asked["requeue"] == ""
    assert asked["open-mode"] == "append"
    assert asked["signal"].startswith("B:USR1@")


def test_runs_one_process_a_gpu(cluster: dict[str, str], tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, "faces of mine", "quickstart", "run")
    assert job.wait(30) == 0
    told = (tmp_path / "srun").read_text().splitlines()
    assert told[:3] == ["--kill-on-bad-exit=1", "eac", "fit"]
    assert told[-1] == "OMP=8"
    options = dict(zip(told[3:-1:2], told[4:-1:2], strict=True))
    assert options["--data.root"] == "faces of mine"
    assert options["--trainer.default_root_dir"] == "run"
    assert (options["--trainer.num_nodes"], options["--trainer.devices"]) == ("2", "4")
    assert options["--trainer.strategy"] == "ddp"


def test_its_command_is_one_that_the_parser_takes(
    cluster: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(cluster, tmp_path, "faces").wait(30) == 0
    told = (tmp_path / "srun").read_text().splitlines()[2:-1]
    with pytest.raises(SystemExit) as end:
        main([*told, "--print_config"])
    assert end.value.code == 0
    assert "num_nodes: 2" in capsys.readouterr().out


def test_a_root_is_needed(cluster: dict[str, str], tmp_path: Path) -> None:
    job = submit(cluster, tmp_path)
    assert job.wait(30) != 0
    assert job.stderr is not None
    assert "the folder of faces: sbatch examples/slurm.sh ROOT" in job.stderr.read()


def test_a_failure_is_the_job_s(cluster: dict[str, str], tmp_path: Path) -> None:
    assert submit(cluster, tmp_path, "faces", STATUS="143").wait(30) == 143


@pytest.mark.parametrize(("refused", "later"), [(0, 0), (1, 0), (1, 7)])
def test_is_queued_again_before_its_time_is_up(
    cluster: dict[str, str], tmp_path: Path, refused: int, later: int
) -> None:
    job = submit(cluster, tmp_path, "faces", SLEEP="2", REFUSED=f"{refused}", LATER=f"{later}")
    deadline = time.time() + 20
    while not (tmp_path / "srun").exists():
        assert time.time() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    _, said = job.communicate(timeout=30)
    assert job.returncode == later  # the step's own end, whether or not it will go on
    assert (tmp_path / "scontrol").read_text().splitlines()[:2] == ["requeue", "17"]
    assert ("Not queued again" in said) == bool(refused)
