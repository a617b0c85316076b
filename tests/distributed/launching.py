"""Real processes (gloo) for the tests: started, watched until the last of them is gone, and read out."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# No batch norm: its statistics are of one process's share of the batch.
PLUGIN = '''
"""A backbone that is quick, and what a test has asked for to happen: EVENT is rank:place:kind, or several."""
import os, signal, time
from pathlib import Path
import torch
from torch import nn
from eac_lightning import ClassificationModule, FERDataModule, LabelAuditCallback, register_backbone
from eac_lightning._lightning import L
from eac_lightning.errors import DataError

RANK = int(os.environ.get("LOCAL_RANK", "0"))
EVENTS = [event.split(":") for event in filter(None, os.environ.get("EVENT", "").split(","))]
Path(f"pid_{RANK}").write_text(str(os.getpid()))

def how(place):
    """What this rank was asked to do at this place, once."""
    mark = Path(f"reached_{RANK}_{place}")
    for rank, where, how in EVENTS:
        if int(rank) == RANK and where == place and not mark.exists():
            mark.write_text(repr(time.time()))
            return how
    return ""

def reach(place):
    event = how(place)
    if event == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if event == "exit":
        os._exit(3)
    if event == "ours":
        raise DataError("the third row has no label")
    if event == "theirs":
        raise KeyError("a mistake in a user's own code")
    if event:
        time.sleep(float(event))

@register_backbone("plain")
class Plain(nn.Module):
    num_features, output_stride = 8, 4
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU())
    def forward_features(self, image):
        return self.layers(image)

class Data(FERDataModule):
    def setup(self, stage=None):
        reach("setup")
        super().setup(stage)

class Module(ClassificationModule):
    def compute_loss(self, batch):
        output = super().compute_loss(batch)
        nan = self.training and self.current_epoch == 1 and how("loss") == "nan"
        return output._replace(loss=output.loss * float("nan")) if nan else output

class Events(L.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            reach("training step")
    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        if trainer.current_epoch == 1:
            reach("validation")
    def on_exception(self, trainer, module, exception):
        reach("tidying up")
    def on_save_checkpoint(self, trainer, module, checkpoint):
        if trainer.current_epoch == 1:
            reach("checkpoint")

class Audit(LabelAuditCallback):
    """Stands between two collectives: the others wait for its observations."""
    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 1:
            reach("audit")
        super().on_train_epoch_end(trainer, module)
'''


class Ended(NamedTuple):
    """What became of the processes."""

    status: int
    seconds: float  # from the event until the last process was gone
    said: str


def start(
    folder: Path, *arguments: str, torchrun: int = 0, event: str = "", command: Sequence[str] = ("-m", "eac_lightning")
) -> subprocess.Popen[bytes]:
    """Start ``eac`` (or another command of Python) in ``folder``, where the plugin lies; torchrun: so many processes."""
    (folder / "plugin.py").write_text(PLUGIN)
    shutil.rmtree(folder / "run", ignore_errors=True)  # an unfinished one would be gone on with
    for left in (*folder.glob("pid_*"), *folder.glob("reached_*")):
        left.unlink()
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={torchrun}"] if torchrun else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0"}
    environment["EVENT"] = event
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, *launcher, *command, *arguments], cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True,
            preexec_fn=_listen_to_interrupts,
        )  # fmt: skip


def _listen_to_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which tests in the background of a shell ignore


def finish(folder: Path, process: subprocess.Popen[bytes], limit: float = 240) -> Ended:
    """Wait until the process and all that it started are gone; after ``limit`` seconds they are ended."""
    deadline = time.time() + limit
    try:
        while process.poll() is None or living(folder):
            if time.time() > deadline:
                raise TimeoutError(f"still running: {living(folder)}\n{(folder / 'said').read_text()[-4000:]}")
            time.sleep(0.05)
    finally:
        for pid in [*living(folder), *([process.pid] if process.poll() is None else [])]:
            os.kill(pid, signal.SIGKILL)
    times = [float(path.read_text()) for path in folder.glob("reached_*")]
    seconds = time.time() - max(times, default=time.time())
    return Ended(process.wait(), seconds, " ".join((folder / "said").read_text(errors="replace").split()))


def tell(row: str) -> None:
    """Print a row of what was seen, which `pytest -rP` shows."""
    sys.stdout.write(f"{row}\n")


def living(folder: Path) -> list[int]:
    """Return the ids of the ranks that have started and are not gone."""
    pids = [int(path.read_text() or 0) for path in folder.glob("pid_*")]
    return [pid for pid in pids if pid and _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def fit(processes: int = 1, launcher: str = "lightning") -> list[str]:
    """Return the arguments of a short fit on ``faces``."""
    return [
        "fit", "--import", "plugin", "-c", "ce_mobilefacenet", "--model", "plugin.Module", "--model.backbone", "plain",
        "--data", "plugin.Data", "--data.root", "faces", "--data.image_size", "16", "--data.augment", "none",
        "--data.batch_size", str(8 // processes), "--trainer.max_epochs", "3", "--trainer.accelerator", "cpu",
        "--trainer.devices", str(processes), "--trainer.strategy", "ddp" if processes > 1 else "auto",
        "--trainer.callbacks", "[plugin.Events, plugin.Audit]", "--trainer.default_root_dir", "run",
        "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip
