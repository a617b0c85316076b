"""What every benchmark of speed needs: turns side by side, peaks of memory, the machine, a table."""

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import eac_lightning


def side_by_side(
    variants: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int = 2,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each variant's every repeat; they take turns, so that all see the same machine.

    Args:
        variants: Name → what to time.
        repeats: How often each is timed.
        warmup: How often each runs untimed before.
        device: Waited for before and after each turn, if it is an accelerator.
        clock: ``time.process_time`` counts the work of this process alone, where others keep the machine busy.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(-warmup, repeats):
        for name, run in variants.items():
            gc.collect()  # garbage of one is not to be collected in the turn of the next
            wait(device)
            began = clock()
            run()
            wait(device)
            if turn >= 0:
                seconds[name].append(clock() - began)
    return seconds


def wait(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if device != "cpu":
        torch.accelerator.synchronize()


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """Return the median ratio of two variants, turn by turn: what slows the machine down slows both."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def peak_memory() -> float:
    """Return the largest resident memory of this process since :func:`forget_peak`, in MB (Linux)."""
    return _status("VmHWM")


def resident_memory() -> float:
    """Return what this process holds now, in MB (Linux)."""
    return _status("VmRSS")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> float:
    """Begin a new peak; return what is held now, in MB (Linux)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return resident_memory()


def machine() -> dict[str, Any]:
    """Return the machine and the versions that a figure holds for."""
    processor = platform.processor()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    from importlib.metadata import version

    packages = ("torch", "torchvision", "pytorch-lightning", "kornia", "timm", "pillow", "numpy")
    found: dict[str, Any] = {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "eac-lightning": eac_lightning.__version__,
        **{name: version(name) for name in packages},
    }
    if torch.cuda.is_available():
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def summary(seconds: Sequence[float]) -> str:
    """Return the median and the range of repeats, in milliseconds."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{1e3 * middle:.0f} ({1e3 * low:.0f}–{1e3 * high:.0f})"


def save(path: Path | None, name: str, found: Mapping[str, Any]) -> None:
    """Add what a benchmark found, with the machine, to a JSON file, in the place of an earlier finding of it."""
    if path is None:
        return
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = {"machine": machine(), **found}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")
