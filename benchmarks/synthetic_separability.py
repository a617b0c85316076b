"""Are the synthetic faces a fair task? A linear probe on pixels against a small CNN, and the drawing speed.

    python benchmarks/synthetic_separability.py --seed 0 1 2

Both learn from the same 2,000 faces of 64 px (8 classes) and are measured on 800 others. The probe is favoured: it
is given the best of four weight decays on those 800, the CNN its last epoch.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from eac_lightning.faces.synthetic import EXPRESSIONS, write_synthetic_faces

TRAIN, TEST, EPOCHS, BATCH = 2000, 800, 25, 50


def faces(seed: int) -> tuple[dict[str, tuple[Tensor, Tensor]], float]:
    """Write a data set, read it back, and say how many faces a second of one core were drawn and written."""
    count = TRAIN + TEST + 200
    with tempfile.TemporaryDirectory() as scratch:
        start = time.process_time()
        shares = {"val_fraction": 200 / count, "test_fraction": TEST / count}
        table = write_synthetic_faces(Path(scratch) / "faces", count, seed=seed, **shares)
        rate = count / (time.process_time() - start)
        with table.open() as file:
            rows = list(csv.DictReader(file))
        data = {}
        for split in ("train", "test"):
            chosen = [row for row in rows if row["split"] == split]
            pixels = np.stack([np.asarray(Image.open(table.parent / row["path"])) for row in chosen])
            labels = torch.tensor([list(EXPRESSIONS).index(row["label"]) for row in chosen])
            data[split] = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5, labels
    return data, rate


def linear_probe(data: dict[str, tuple[Tensor, Tensor]]) -> float:
    """Fit multinomial logistic regressions on standardised pixels; return the best test accuracy."""
    (x, y), (tx, ty) = ((images.flatten(1), labels) for images, labels in (data["train"], data["test"]))
    x, tx = ((images - x.mean(0)) / x.std(0) for images in (x, tx))
    scores = []
    for decay in (1e-3, 1e-2, 1e-1, 1.0):
        weight = torch.zeros(x.shape[1], len(EXPRESSIONS), requires_grad=True)
        bias = torch.zeros(len(EXPRESSIONS), requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

        def closure(weight=weight, bias=bias, optimizer=optimizer, decay=decay) -> Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(x @ weight + bias, y) + decay * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        scores.append(((tx @ weight + bias).argmax(1) == ty).float().mean().item())
    return max(scores)


def small_cnn(data: dict[str, tuple[Tensor, Tensor]], seed: int) -> float:
    """Train four convolutions with mirrored faces as the only augmentation; return the test accuracy."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    for fan_in, fan_out in ((3, 24), (24, 48), (48, 96), (96, 160)):
        convolution = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)
        model.extend([convolution, nn.BatchNorm2d(fan_out), nn.ReLU(), nn.MaxPool2d(2)])
    model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(160, len(EXPRESSIONS))])
    (x, y), (tx, ty) = data["train"], data["test"]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * (len(x) // BATCH))
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            images = torch.where(torch.rand(len(index), 1, 1, 1) < 0.5, x[index].flip(3), x[index])
            optimizer.zero_grad()
            functional.cross_entropy(model(images), y[index], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        return (model(tx).argmax(1) == ty).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    print("| seed | linear probe | small CNN | seconds | faces/s/core, PNG included |\n|---|---|---|---|---|")
    for seed in options.seed:
        start = time.perf_counter()
        data, rate = faces(seed)
        probe, cnn = linear_probe(data), small_cnn(data, seed)
        seconds = time.perf_counter() - start
        print(f"| {seed} | {probe:.1%} | {cnn:.1%} | {seconds:.0f} | {rate:.0f} |", flush=True)
