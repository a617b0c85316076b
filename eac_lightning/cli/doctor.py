"""``eac doctor``: versions, devices, known bad combinations, and what to do."""

import os
import platform
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

PACKAGES = (
    "eac-lightning", "torch", "torchvision", "pytorch-lightning", "lightning", "torchmetrics", "jsonargparse",
    "timm", "kornia", "facenet-pytorch", "torchcam", "numpy", "pandas", "pillow",
)  # fmt: skip


def run(_: Namespace) -> int:
    """Print what is installed and what is wrong with it; return 1 if anything is."""
    versions = {name: _version(name) for name in PACKAGES}
    table = Table("what", "found", box=None)
    table.add_row("python", platform.python_version())
    for name, found in versions.items():
        table.add_row(name, found or "—")
    for name, found in _devices().items():
        table.add_row(name, found)
    console = Console()
    console.print(table)
    problems = find_problems(versions)
    for problem in problems:
        console.print(f"[bold red]✗[/] {problem}")
    if not problems:
        console.print("[green]✓[/] no known bad combination")
    return 1 if problems else 0


def find_problems(versions: dict[str, str | None]) -> list[str]:
    """Return a sentence for each combination of versions that is known to be bad.

    Args:
        versions: Installed version by package; ``None`` where a package is missing.
    """
    problems = []
    for name in ("pytorch-lightning", "lightning"):
        if versions.get(name) in ("2.6.2", "2.6.3"):
            problems.append(
                f"{name} {versions[name]} is a compromised release (GHSA-w37p-236h-pfx3): uninstall it, change every "
                f"secret that this machine had, and `pip install '{name}>=2.6.4'`."
            )
    if versions.get("facenet-pytorch") not in (None, "2.5.3"):
        problems.append(
            f"facenet-pytorch {versions['facenet-pytorch']} forbids torch 2.3 and newer: "
            "`pip install facenet-pytorch==2.5.3`."
        )
    lightnings = {versions[name] for name in ("pytorch-lightning", "lightning") if versions.get(name)}
    if len(lightnings) > 1:
        problems.append(
            f"pytorch-lightning and lightning differ in version ({', '.join(sorted(map(str, lightnings)))}): "
            "give them the same one, so that a checkpoint of one loads in the other."
        )
    torch_version = versions.get("torch")
    if torch_version and tuple(int(part) for part in torch_version.split(".")[:2]) < (2, 6):
        problems.append(f"torch {torch_version} loads checkpoints unsafely by default: `pip install 'torch>=2.6'`.")
    return problems


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, str]:
    import torch  # takes seconds, and only this command needs it

    found = {"cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found
