"""One process of a training dies: the others end within a minute, with an error that names it.

`pytest tests/distributed/test_process_deaths.py -m "slow or not slow" -rP | grep ^died` prints what was seen.
"""

import re
from pathlib import Path

import pytest

from tests.conftest import make_faces
from tests.distributed.launching import finish, fit, start, tell

PLACES = ("setup", "training step", "validation", "checkpoint", "audit")
SAYS = {
    "SIGKILL": r"died (by signal 9 \(Killed\)|without a word)",
    "exit": r"died (with exit code 3|without a word)",
    "ours": "ended: DataError: the third row has no label",
    "theirs": "ended: KeyError: .a mistake in a user's own code",
    "nan": "ended: TrainingDivergedError: The loss is nan at step 0 of epoch 1",
}
CASES = [
    *(("lightning", rank, place, "SIGKILL") for place in PLACES for rank in (0, 1)),
    *(("lightning", rank, "training step", kind) for kind in ("exit", "ours", "theirs") for rank in (0, 1)),
    *(("lightning", rank, "setup", "ours") for rank in (0, 1)),
    *(("lightning", rank, "loss", "nan") for rank in (0, 1)),
    *(("torchrun", rank, place, "SIGKILL") for place in ("setup", "training step") for rank in (0, 1)),
    *(("torchrun", rank, "training step", "ours") for rank in (0, 1)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deaths")
    make_faces(folder / "faces", per_class=(8, 5, 3))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "rank", "place", "kind"), CASES)
def test_the_others_end_and_say_who_died(folder: Path, launcher: str, rank: int, place: str, kind: str) -> None:
    torchrun = 2 * (launcher == "torchrun")
    ended = finish(folder, start(folder, *fit(2), torchrun=torchrun, event=f"{rank}:{place}:{kind}"))
    tell(f"died | {launcher} | rank {rank} | {place} | {kind} | {ended.seconds:.1f} s | {ended.status}")
    assert ended.status != 0
    assert ended.seconds < 60
    if torchrun:  # its agent may end the others before they can say a word, and says itself who failed first
        assert re.search(rf"Root Cause .* rank : {rank} \(local_rank: {rank}\)", ended.said)
    else:
        pid = (folder / f"pid_{rank}").read_text()
        assert re.search(rf"rank {rank} of 2 \(process {pid} on \S+\) {SAYS[kind]}", ended.said)
    if kind != "theirs" and not torchrun:  # a user's own mistake keeps its traceback
        assert "Traceback" not in ended.said


def test_who_is_busy_ends_too(folder: Path) -> None:
    """A process in no collective learns of it from nobody else; as one that waits in NCCL for who is gone."""
    ended = finish(folder, start(folder, *fit(2), event="1:training step:SIGKILL,0:training step:200"))
    tell(f"died | lightning | rank 1, while 0 is busy | training step | SIGKILL | {ended.seconds:.1f} s")
    assert ended.status != 0
    assert ended.seconds < 60
    assert "died by signal 9 (Killed), which the system sends when memory runs out" in ended.said


CATCHES = """
import sys, time
from plugin import Events, FERDataModule, L, Module
from eac_lightning.callbacks.failures import report_failures
data = FERDataModule("faces", image_size=16, batch_size=4)
trainer = L.Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_epochs=3, logger=False, default_root_dir="run",
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Events()],
)
try:
    report_failures(trainer).fit(Module(class_names=list(data.class_names), backbone="plain"), datamodule=data)
except Exception as error:
    time.sleep(35)
    sys.exit(f"lived on after: {error.__cause__}")
"""


@pytest.mark.slow
def test_who_catches_the_exception_lives_on(folder: Path) -> None:
    """Longer than it would have had to end by itself. Not rank 0: Lightning kills that when its child has died."""
    (folder / "catches.py").write_text(CATCHES)
    ended = finish(folder, start(folder, event="0:training step:SIGKILL", command=["catches.py"]))
    assert ended.seconds > 35
    assert "lived on after: rank 0 of 2" in ended.said


@pytest.mark.slow
def test_who_is_slow_is_waited_for(folder: Path) -> None:
    """Longer than any time that the watch knows, and than TCP's probes."""
    ended = finish(folder, start(folder, *fit(2), event="1:setup:70"))
    assert ended.status == 0, ended.said[-2000:]
    assert ended.seconds > 70
