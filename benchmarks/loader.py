"""Pictures from the store against decoding their files in two workers, and what the store takes of memory.

    python benchmarks/loader.py --root FACES --json docs/results/performance_loader.json
    python benchmarks/loader.py --root FACES --memory --json …      # in a process of its own: its peak is what counts

Both loaders yield batches of uint8 pictures of one size and their labels. The baseline is a usual one: a dataset that
opens, converts and resizes with Pillow, torch's collation, two persistent workers; the epochs timed come after a first.
"""

import argparse
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import forget_peak, machine, markdown, peak_memory, ratio, resident_memory, save, side_by_side, summary
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eac_lightning import FERDataModule


class Files(Dataset[tuple[Tensor, int]]):
    """Picture files, decoded whenever they are asked for."""

    def __init__(self, files: list[Path], labels: list[int], size: int, mode: str) -> None:
        self.files, self.labels, self.size, self.mode = files, labels, size, mode

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        with Image.open(self.files[position]) as file:
            image = file.convert(self.mode).resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1), self.labels[position]


def speed(asked: argparse.Namespace) -> dict[str, Any]:
    """Time whole epochs of both loaders in turns."""
    data = FERDataModule(asked.root, image_size=asked.size, batch_size=asked.batch, subset=asked.faces)
    faces = data.dataset("train")
    rows = data.annotations.table.iloc[faces.columns["index"].numpy()]
    mode = "L" if faces[[0]]["image"].shape[1] == 1 else "RGB"
    files = Files([data.annotations.root / name for name in rows["path"]], rows["label"].tolist(), asked.size, mode)
    decoded = DataLoader(files, asked.batch, shuffle=True, num_workers=2, persistent_workers=True)
    stored = data.train_dataloader()
    workers: dict[str, int] = {}

    def epoch(name: str, loader: DataLoader[Any]) -> None:
        counted = sum(len(batch["image"] if isinstance(batch, dict) else batch[0]) for batch in loader)
        assert counted == len(faces)
        workers[name] = len(multiprocessing.active_children()) - workers.get("store", 0)

    epoch("store", stored)  # before the other's workers are there
    seconds = side_by_side(
        {"files": lambda: epoch("files", decoded), "store": lambda: sum(len(batch["image"]) for batch in stored)},
        asked.repeats,
        warmup=1,
    )
    per_second = {name: [len(faces) / value for value in values] for name, values in seconds.items()}
    print(markdown(["epoch", "ms", "images/s, best", "workers"], [
        [name, summary(seconds[name]), f"{max(per_second[name]):.0f}", workers[name]] for name in seconds
    ]))  # fmt: skip
    found = ratio(seconds["files"], seconds["store"])
    print(f"\n{len(faces)} pictures, {mode}, {asked.size} px: {found:.1f} times the images/s")
    return {"seconds": seconds, "faces": len(faces), "mode": mode, "workers": workers, "ratio": found}


def memory(asked: argparse.Namespace) -> dict[str, Any]:
    """Return what reading the training split takes, while and after."""
    data = FERDataModule(asked.root, image_size=asked.size, batch_size=asked.batch, subset=asked.faces, cache="ram")
    FERDataModule(asked.root, image_size=asked.size, subset=200, cache="ram").dataset("train")  # loads what decodes
    data.annotations  # noqa: B018  # paths and labels are no pictures
    before = forget_peak()
    images = data.dataset("train").images
    expected, most, after = images.numel() / 2**20, peak_memory() - before, resident_memory() - before
    print(f"{tuple(images.shape)}: {expected:.1f} MB of pixels; {most:.1f} MB at most, {after:.1f} MB after")
    print(f"{most / expected - 1:+.1%} at most, {after / expected - 1:+.1%} after")
    return {"shape": list(images.shape), "pixels_mb": expected, "most_mb": most, "after_mb": after}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="class folders or a table of picture files")
    parser.add_argument("--faces", type=int, help="so many of the training split")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--name", default="faces", help="what the pictures are, for the JSON file")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    print(machine(), "\n")
    found = memory(asked) if asked.memory else speed(asked)
    save(asked.json, f"loader {asked.name} {asked.size} px {'memory' if asked.memory else 'speed'}", found)


if __name__ == "__main__":
    main()
