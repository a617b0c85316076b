"""What a face-recognition network says about expressions, by layer and by the size at which it sees the faces.

    python benchmarks/teacher_layers.py --root FERPLUS --weights mobilefacenet_ms1m.pt

A linear probe (logistic regression, weight decay 0.01) on the layer's map, averaged to 3×3 cells: trained on 200 faces
a class, judged on the first 1,200 validation faces. The spread is the variance of the map over faces, averaged over its
elements: a teacher whose map is the same for every face teaches nothing.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from few_labels import SIZE, be_quiet
from torch import Tensor

from eac_lightning import FERDataModule, create_backbone
from eac_lightning.batch import to_float_rgb
from eac_lightning.models.teacher import FrozenTeacher

LAYERS = (None, "features.12", "features.6")
SIZES = (48, 64, 112)


def answers(teacher: FrozenTeacher, images: Tensor) -> Tensor:
    return torch.cat([teacher(to_float_rgb(part)) for part in images.split(100)])


def probe(features: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor) -> float:
    mean, std = features.mean(0), features.std(0) + 1e-6
    features, held = (features - mean) / std, (held - mean) / std
    weight = torch.zeros(features.shape[1], 8, requires_grad=True)
    bias = torch.zeros(8, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(features @ weight + bias, labels) + 0.005 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return float(((held @ weight + bias).argmax(1) == held_labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/teacher_layers.json"))
    arguments = parser.parse_args()
    be_quiet()
    data = FERDataModule(arguments.root, layout="ferplus", image_size=SIZE, per_class=200, seed=0)
    train, held = data.dataset("train").columns, {k: v[:1200] for k, v in data.dataset("val").columns.items()}
    rows = []
    for size in SIZES:
        for layer in LAYERS:
            teacher = FrozenTeacher(create_backbone("mobilefacenet", arguments.weights), layer, size)
            maps = [answers(teacher, columns["image"]) for columns in (train, held)]
            cells = [F.adaptive_avg_pool2d(each, 3).flatten(1) for each in maps]
            accuracy = probe(cells[0], train["label"], cells[1], held["label"])
            rows.append(
                {
                    "size": size,
                    "layer": layer or "feature map",
                    "shape": list(maps[0].shape[1:]),
                    "lowest": round(float(maps[0].min()), 3),
                    "spread": round(float(maps[0].var(0).mean()), 5),
                    "probe_accuracy": round(accuracy, 4),
                }
            )
            print(rows[-1], flush=True)
    arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
