"""Both Lightning namespaces, each in a process of its own, because an import cannot be undone."""

import os
import subprocess
import sys

import pytest

FIT = """
import {first}
import torch
from torch.utils.data import DataLoader, TensorDataset
from eac_lightning import EACModule, CAMCallback
import {package} as L
data = DataLoader(TensorDataset(torch.rand(8, 3, 64, 64), torch.arange(8) % 2), batch_size=4)
module = EACModule(num_classes=2, backbone="resnet8")
trainer = L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                    enable_progress_bar=False, enable_model_summary=False)
trainer.fit(module, data)
assert isinstance(module, L.LightningModule) and issubclass(CAMCallback, L.Callback)
print("trained under", L.__name__)
"""


def python(code: str, namespace: str | None = None, folder: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "EAC_LIGHTNING_NAMESPACE"}
    if namespace is not None:
        environment["EAC_LIGHTNING_NAMESPACE"] = namespace
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize(
    ("first", "namespace", "package"),
    [
        ("os", None, "pytorch_lightning"),
        ("lightning.pytorch", None, "lightning.pytorch"),
        ("os", "lightning.pytorch", "lightning.pytorch"),
    ],
)
def test_a_fit_under_either_namespace(first: str, namespace: str | None, package: str, tmp_path: str) -> None:
    done = python(FIT.format(first=first, package=package), namespace, str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"trained under {package}" in done.stdout


@pytest.mark.parametrize(
    ("code", "namespace", "message"),
    [
        ("import pytorch_lightning, lightning.pytorch, eac_lightning._lightning", None, "Both pytorch_lightning and"),
        ("import eac_lightning._lightning", "torch_lightning", "must be one of pytorch_lightning, lightning.pytorch"),
        (
            "import eac_lightning._lightning as ours, lightning.pytorch as other; ours.check_same_namespace(other.Trainer())",
            "pytorch_lightning",
            "this Trainer comes from lightning.pytorch",
        ),
    ],
)
def test_a_mixture_is_refused_and_the_variable_named(code: str, namespace: str | None, message: str) -> None:
    done = python(code, namespace)
    assert done.returncode == 1
    assert message in done.stderr
    assert "EAC_LIGHTNING_NAMESPACE" in done.stderr


def test_both_imported_are_fine_where_the_variable_decides() -> None:
    code = "import pytorch_lightning, lightning.pytorch, eac_lightning._lightning as ours; print(ours.NAMESPACE)"
    assert python(code, "lightning.pytorch").stdout.strip() == "lightning.pytorch"
