"""Everything that is measured on an accelerator, in one run of less than nine minutes without a network.

    python benchmarks/gpu.py FOLDER --out OUT
    python benchmarks/gpu.py FOLDER --out OUT --cpu-dry-run      # the same rows, tiny and meaningless, to see it work

``FOLDER`` may hold ``wheels/`` (what of the package's requirements is missing is installed from there), ``faces/`` (any
data set that the package reads, best FER+ with its 25,057 training faces) and ``mobilefacenet.pt`` (weights of a face
network). Without faces made pictures stand in, and accuracy means nothing. ``OUT`` gets ``gpu.md``, ``gpu.json`` and
``gpu.log``, after every row, so that an end by force loses only what was not finished. What no longer fits into
``--budget`` seconds is left out, and named.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
NEEDED = {
    "pytorch_lightning": "pytorch-lightning", "jsonargparse": "jsonargparse[signatures]", "rich": "rich",
    "torchmetrics": "torchmetrics", "timm": "timm", "kornia": "kornia", "pandas": "pandas", "pyarrow": "pyarrow",
    "PIL": "pillow", "matplotlib": "matplotlib", "safetensors": "safetensors", "yaml": "pyyaml",
    "torchvision": "torchvision", "facenet_pytorch": "facenet-pytorch==2.5.3", "filelock": "filelock",
}  # fmt: skip
"""What is imported, and what to install for it."""
BACKBONES = {"resnet18": 224, "resnet50": 224, "timm/vit_small_patch16_224": 224, "mobilefacenet": 64}
PRECISIONS = ("fp32", "tf32", "bf16", "bf16 compiled")


class Run:
    """The clock, the log and what was found.

    Args:
        out: Where to write.
        budget: Seconds in all.
    """

    def __init__(self, out: Path, budget: float) -> None:
        self.began, self.budget, self.out = time.perf_counter(), budget, out
        self.found: dict[str, Any] = {"skipped": []}
        self.tables: dict[str, str] = {}
        out.mkdir(parents=True, exist_ok=True)
        (out / "gpu.log").unlink(missing_ok=True)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.budget - (time.perf_counter() - self.began)

    def say(self, text: str) -> None:
        """Print, and add to the log."""
        line = f"[{time.perf_counter() - self.began:6.1f} s] {text}"
        print(line, flush=True)
        with (self.out / "gpu.log").open("a") as log:
            log.write(line + "\n")

    def part(self, name: str, seconds: float, measure: Callable[[], Any]) -> Any:
        """Measure something that may take so many seconds, unless too few are left; an error ends only this part."""
        if self.left < seconds:
            self.say(f"left out: {name} (may take {seconds:.0f} s, {self.left:.0f} s are left)")
            self.found["skipped"].append(name)
            return None
        self.say(name)
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.alarm(max(1, int(self.left)))  # compiling, above all, may take longer than anybody thought
        try:
            self.found[name] = measure()
        except Exception as error:  # the other parts are worth having
            self.found[name] = {"error": f"{type(error).__name__}: {error}"}
        finally:
            signal.alarm(0)
        self.say(f"  {json.dumps(self.found[name])[:300]}")
        self.write()
        return self.found[name]

    def write(self) -> None:
        """Write all that there is."""
        (self.out / "gpu.json").write_text(json.dumps(self.found, indent=1) + "\n")
        text = "\n\n".join(f"## {title}\n\n{table}" for title, table in self.tables.items())
        left_out = ", ".join(self.found["skipped"]) or "nothing"
        (self.out / "gpu.md").write_text(f"{text}\n\nLeft out for want of time: {left_out}.\n")


def _out_of_time(*_: object) -> None:
    raise TimeoutError("the budget is used up")


def install(folder: Path) -> list[str]:
    """Install what is missing from ``folder/wheels``; return it."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(folder / "wheels")]
        subprocess.run([*command, *missing], check=True)
        importlib.invalidate_caches()
    return missing


def matmul_peaks(device: str, size: int) -> dict[str, float]:
    """Return the FLOP/s of a square matrix product in each precision: what this machine reaches at best."""
    import torch
    from measuring import side_by_side

    peaks = {}
    for precision in PRECISIONS[:3]:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        allow_tf32(precision != "fp32")
        seconds = side_by_side({"matmul": lambda a=a, b=b: a @ b}, 10, device=device)["matmul"]
        peaks[precision] = 2 * size**3 / min(seconds)
    return peaks


def allow_tf32(allowed: bool) -> None:
    """Let float32 products be taken with ten bits of mantissa, or not."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def step_row(backbone: str, precision: str, batch: int, size: int, repeats: int, device: str) -> dict[str, Any]:
    """Return seconds, images/s, FLOP and memory of a step of EAC, of the floor and of the naive step in float32."""
    import torch
    from measuring import ratio, side_by_side, wait
    from step import eac_step, floor_step, naive_step
    from torch.utils.flop_counter import FlopCounterMode

    allow_tf32(precision != "fp32")
    half, compiled = precision.startswith("bf16"), precision.endswith("compiled")
    makers: dict[str, Callable[[], Callable[[], object]]] = {
        "EAC": lambda: eac_step(backbone, batch, size, device, half, compile_backbone=compiled),
        "floor": lambda: floor_step(backbone, batch, size, device, half),
        "naive": lambda: naive_step(backbone, batch, size, device),
    }
    steps, memory = {}, {}
    for name, make in makers.items():
        before = torch.cuda.memory_allocated() if device != "cpu" else 0
        steps[name] = make()
        steps[name]()  # makes Adam's state and finds out how to convolve
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
            steps[name]()
            wait(device)
            memory[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    plain = floor_step(backbone, batch, size, device)
    with FlopCounterMode(display=False) as counter:
        plain()
    del plain
    seconds = side_by_side(steps, repeats, warmup=3, device=device)
    middle = sorted(seconds["EAC"])[repeats // 2]
    return {
        "batch": batch, "size": size, "seconds": seconds, "images_per_s": batch / middle, "memory_mb": memory,
        "flop": counter.get_total_flops(), "flop_per_s": counter.get_total_flops() / middle,
        "faster than naive": ratio(seconds["naive"], seconds["EAC"]),
        "times the floor": ratio(seconds["EAC"], seconds["floor"]),
    }  # fmt: skip


def step_table(rows: dict[tuple[str, str], dict[str, Any]], peaks: dict[str, float]) -> str:
    """Return the rows as a table."""
    from measuring import markdown

    header = ["backbone, precision", "images/s", "of the peak", "against naive", "against the floor", "memory, MB"]
    lines = []
    for (backbone, precision), row in rows.items():
        if "error" in row:
            lines.append([f"{backbone}, {precision}", row["error"][:80], "", "", "", ""])
            continue
        peak = peaks.get(precision.split()[0])
        memory = row["memory_mb"]
        lines.append([
            f"{backbone}, {precision}", f"{row['images_per_s']:.0f}", f"{row['flop_per_s'] / peak:.1%}" if peak else "",
            f"{row['faster than naive']:.2f} times as fast", f"{row['times the floor']:.3f} times the time",
            f"{memory['EAC']:.0f}, {memory['EAC'] / memory['floor']:.3f} times the floor" if memory else "",
        ])  # fmt: skip
    return markdown(header, lines)


def training(folder: Path, out: Path, faces: Path, epochs: int, seconds: float, device: str) -> dict[str, Any]:
    """Run recipe ``eac_mobilefacenet`` by its command; return its time, its accuracy and the data's share of a step."""
    import torch

    from eac_lightning._lightning import L
    from eac_lightning.cli import main
    from eac_lightning.cli import training as command

    class Clock(L.Callback):
        """Adds up what lies between the steps: fetching, moving and augmenting a batch, as the host sees it."""

        between = steps = 0.0
        last: float | None = None

        def on_train_batch_start(self, *_: Any) -> None:
            if self.last is not None:
                self.between += time.perf_counter() - self.last
            self.begun = time.perf_counter()

        def on_train_batch_end(self, *_: Any) -> None:
            self.last = time.perf_counter()
            self.steps += self.last - self.begun

        def on_train_epoch_end(self, *_: Any) -> None:
            self.last = None  # validation and checkpoints are no data

    clock, instantiate = Clock(), command.EACCLI.instantiate_trainer

    def with_clock(self: Any, **named: Any) -> Any:
        trainer = instantiate(self, **named)
        trainer.callbacks.append(clock)
        return trainer

    command.EACCLI.instantiate_trainer = with_clock
    run, weights = out / "eac_mobilefacenet", folder / "mobilefacenet.pt"
    arguments = ["fit", "-c", "eac_mobilefacenet", "--data.root", str(faces), "--trainer.default_root_dir", str(run)]
    arguments += ["--trainer.max_epochs", str(epochs), "--trainer.precision", "bf16-mixed"]
    arguments += ["--trainer.max_time", time.strftime("00:%H:%M:%S", time.gmtime(seconds))]
    arguments += [
        "--trainer.enable_progress_bar",
        "false",
        "--trainer.accelerator",
        "cpu" if device == "cpu" else "gpu",
    ]
    arguments += ["--model.weights", str(weights)] if weights.exists() else []
    began = time.perf_counter()
    code = main(arguments)
    took = time.perf_counter() - began
    command.EACCLI.instantiate_trainer = instantiate
    if code:
        raise RuntimeError(f"eac {' '.join(arguments)} ended with {code}")
    history = json.loads((run / "results.json").read_text())["fit"]["history"]
    accuracy = [epoch["val/accuracy"] for epoch in history]
    return {
        "faces": str(faces), "weights": weights.exists(), "seconds": took, "epochs": len(history),
        "best": max(accuracy), "last 5": sum(accuracy[-5:]) / len(accuracy[-5:]), "accuracy": accuracy,
        "share of data": clock.between / (clock.between + clock.steps), "torch": torch.__version__,
    }  # fmt: skip


def end_to_end(out: Path, pictures: int, size: int, batch: int, seconds: float, device: str) -> dict[str, Any]:
    """Return images/s of naive training in float32 from files, and of the package in bfloat16 from its store."""
    import torch
    from naive import NaiveEAC, TwoViews, naive_loss
    from start import write_pictures

    from eac_lightning import EACModule, FERDataModule, create_backbone
    from eac_lightning._lightning import L

    root = out / "pictures"
    write_pictures(root, pictures, 100, "jpg")
    allow_tf32(False)
    data = FERDataModule(root, image_size=size, batch_size=batch)
    data.setup("fit")
    table = data.annotations.table
    rows = table[table["split"] == "train"]
    views = TwoViews([root / name for name in rows["path"]], rows["label"].tolist(), size)
    loader = torch.utils.data.DataLoader(
        views, batch, shuffle=True, num_workers=min(8, os.cpu_count() or 1), pin_memory=device != "cpu"
    )
    model = NaiveEAC(create_backbone("resnet18", image_size=size), data.num_classes).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)
    seen, began = 0, time.perf_counter()
    for view1, view2, label in loader:
        optimizer.zero_grad()
        naive_loss(model, view1.to(device), view2.to(device), label.to(device)).backward()
        optimizer.step()
        seen += len(label)
        if time.perf_counter() - began > seconds / 3:
            break
    naive = seen / _elapsed(began, device)
    module = EACModule(class_names=list(data.class_names), backbone="resnet18", image_size=size)

    class Epochs(L.Callback):
        """Keeps the images/s of each epoch, or of as much of it as there was time for."""

        def __init__(self) -> None:
            self.speeds: list[float] = []

        def on_train_epoch_start(self, *_: Any) -> None:
            self.seen, self.began = 0, time.perf_counter()

        def on_train_batch_start(self, *given: Any) -> None:
            self.seen += len(given[2]["image"])

        def on_train_epoch_end(self, *_: Any) -> None:
            self.speeds.append(self.seen / _elapsed(self.began, device))

    epochs = Epochs()
    L.Trainer(
        max_epochs=3, max_time={"seconds": seconds / 2}, precision="bf16-mixed", logger=False, callbacks=[epochs],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        accelerator="cpu" if device == "cpu" else "gpu", devices=1,
    ).fit(module, datamodule=data)  # fmt: skip
    own = max(epochs.speeds)
    return {"naive images/s": naive, "eac images/s": own, "ratio": own / naive, "epochs, images/s": epochs.speeds}


def _elapsed(began: float, device: str) -> float:
    from measuring import wait

    wait(device)
    return time.perf_counter() - began


def measure(run: Run, folder: Path, dry: bool) -> None:
    """Measure all of it."""
    import torch
    from measuring import machine, markdown

    device = "cpu" if dry else "cuda"
    run.found["machine"] = machine()
    run.say(json.dumps(run.found["machine"]))
    peaks = run.part("matrix products, FLOP/s", 5, lambda: matmul_peaks(device, 256 if dry else 8192)) or {}
    rows: dict[tuple[str, str], dict[str, Any]] = {}

    def steps(precisions: tuple[str, ...], seconds: float, reserve: float) -> None:
        for precision in precisions:
            for backbone, size in BACKBONES.items():
                found = run.part(
                    f"step: {backbone}, {precision}",
                    seconds + (0 if dry else reserve),
                    lambda b=backbone, p=precision, s=size: step_row(
                        b, p, 4 if dry else 128, 64 if dry else s, 2 if dry else 15, device
                    ),
                )
                if found:
                    rows[backbone, precision] = found
                    run.tables["A training step"] = step_table(rows, peaks)
                if not dry:
                    torch.cuda.empty_cache()

    steps(PRECISIONS[:3], 20, 300)
    faces = folder / "faces"
    if not faces.exists():
        from start import write_pictures

        faces = run.out / "made_faces"
        write_pictures(faces, 210 if dry else 31_250, 64, "png")
    allowed = max(30.0, min(200.0, run.left - 150))
    found = run.part(
        "training: eac_mobilefacenet", 90 if not dry else 1,
        lambda: training(folder, run.out, faces, 1 if dry else 30, allowed, device),
    )  # fmt: skip
    if found and "error" not in found:
        run.tables["A whole training, recipe `eac_mobilefacenet`, bf16-mixed"] = markdown(
            ["epochs", "seconds", "best", "last 5", "share of data"],
            [[found["epochs"], f"{found['seconds']:.0f}", f"{found['best']:.1%}", f"{found['last 5']:.1%}",
              f"{found['share of data']:.1%}"]],
        )  # fmt: skip
    seconds = 2 if dry else 45
    found = run.part(
        "end to end", seconds,
        lambda: end_to_end(run.out, 70 if dry else 8000, 64 if dry else 224, 4 if dry else 32, seconds, device),
    )  # fmt: skip
    if found and "error" not in found:
        run.tables["End to end, ResNet-18"] = markdown(
            ["naive, fp32, images/s", "this package, bf16, images/s", "ratio"],
            [[f"{found['naive images/s']:.0f}", f"{found['eac images/s']:.0f}", f"{found['ratio']:.1f}"]],
        )
    steps(PRECISIONS[3:], 5 if dry else 45, 0)  # compiling may take any time, so it comes last
    run.write()
    run.say(f"done; left out: {', '.join(run.found['skipped']) or 'nothing'}")


def main() -> None:
    """Install, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gpu_results"))
    parser.add_argument("--budget", type=float, default=510.0, help="seconds (default: 510)")
    parser.add_argument("--cpu-dry-run", action="store_true")
    asked = parser.parse_args()
    import torch

    if not (asked.cpu_dry_run or torch.cuda.is_available()):
        parser.error("torch finds no CUDA device here; --cpu-dry-run shows that the rest works")
    run = Run(asked.out, asked.budget)
    run.say(f"installed: {', '.join(install(asked.folder)) or 'nothing was missing'}")
    sys.path.insert(0, str(REPOSITORY))
    measure(run, asked.folder, asked.cpu_dry_run)


if __name__ == "__main__":
    main()
