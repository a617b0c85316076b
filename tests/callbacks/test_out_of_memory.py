"""Memory that truly runs out: a limit on the address space of a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_faces

LIMITED = """
import resource, sys
from pathlib import Path
import torch
from eac_lightning import register_backbone
from eac_lightning._lightning import L

@register_backbone("wide")
class Wide(torch.nn.Module):
    '''4 MB a face and convolution.'''
    num_features, output_stride = 64, 1
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Conv2d(n, 64, 3, 1, 1) for n in (3, 64, 64)))
    def forward_features(self, image):
        return self.layers(image)

class Limit(L.Callback):
    def on_train_start(self, trainer, module):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no limit on the address space here")
def test_the_batch_that_fits_is_said_and_fits(tmp_path: Path) -> None:
    (tmp_path / "limited.py").write_text(LIMITED)
    make_faces(tmp_path / "faces", per_class=(22, 1, 1))

    def fit(*options: str) -> subprocess.CompletedProcess[str]:
        arguments = [
            "fit", "--import", "limited", "-c", "ce_mobilefacenet", "--model.backbone", "wide", "--data.root", "faces",
            "--data.image_size", "128", "--data.augment", "none", "--trainer.max_epochs", "1",
            "--trainer.callbacks", "[limited.Limit]", "--trainer.accelerator", "cpu",
            "--trainer.enable_progress_bar", "false", *options,
        ]  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "eac_lightning", *arguments],
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip

    failed = fit("--data.batch_size", "64")
    said = " ".join(failed.stderr.split())
    assert failed.returncode == 1, said[-3000:]
    assert "Traceback" not in said
    assert "Error: Memory ran out on a batch of 6" in said
    advice = re.search(r"(--data.batch_size) (\d+) (--trainer.accumulate_grad_batches) (\d+) takes as many", said)
    assert advice is not None, said[-3000:]
    assert 1 <= int(advice[2]) <= 32
    done = fit(*advice.groups())
    assert done.returncode == 0, done.stderr[-3000:]
