"""A training step of EAC beside a naive one, beside the authors' code, and beside two plain cross-entropy passes.

    python benchmarks/step.py --json docs/results/performance_step.json
    python benchmarks/step.py --reference CHECKOUT        # also a checkout of the authors' code, see reference.py
    python benchmarks/step.py --memory --json …           # peaks instead of times, each variant in its own process
    python benchmarks/step.py --ladder --json …           # from the naive step to the package's, one change at a time

The naive step and the floor get their normalised float views for nothing; EAC gets uint8 pictures and makes its views.
The floor is the package's own network, channels last, with its classifier on pooled features.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measuring import forget_peak, machine, markdown, peak_memory, ratio, save, side_by_side, summary
from naive import NaiveEAC, naive_loss
from reference import CLASSES, reference_step
from torch import Tensor

from eac_lightning import EACModule, create_backbone
from eac_lightning.losses.attention_consistency import attention_consistency, class_activation_maps

Step = Callable[[], object]


def views(batch: int, size: int, device: str = "cpu", channels_last: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return two normalised float views and labels, of no face."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    view1, view2 = (torch.randn(batch, 3, size, size, generator=generator).to(device) for _ in range(2))
    label = torch.randint(CLASSES, (batch,), generator=generator).to(device)
    return view1.contiguous(memory_format=layout), view2.contiguous(memory_format=layout), label


def naive_step(backbone: str, batch: int, size: int, device: str = "cpu") -> Step:
    """Return the step that one writes down from the paper."""
    model = NaiveEAC(create_backbone(backbone, image_size=size), CLASSES).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)
    view1, view2, label = views(batch, size, device)

    def step() -> None:
        optimizer.zero_grad()
        naive_loss(model, view1, view2, label).backward()
        optimizer.step()

    return step


def eac_step(backbone: str, batch: int, size: int, device: str = "cpu", half: bool = False, **options: Any) -> Step:
    """Return the package's step, from uint8 pictures on the device."""
    module = EACModule(num_classes=CLASSES, backbone=backbone, image_size=size, **options).to(device).train()
    (optimizer,), _ = module.configure_optimizers()
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (batch, 3, size, size), generator=generator, dtype=torch.uint8).to(device)
    label = torch.randint(CLASSES, (batch,), generator=generator).to(device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(image.device.type, torch.bfloat16, enabled=half):
            loss = module.compute_loss({"image": image, "label": label}).loss
        loss.backward()
        optimizer.step()

    return step


def floor_step(backbone: str, batch: int, size: int, device: str = "cpu", half: bool = False, **options: Any) -> Step:
    """Return two plain passes with cross-entropy of the package's network, on views that are there."""
    module = EACModule(num_classes=CLASSES, backbone=backbone, image_size=size, **options).to(device).train()
    (optimizer,), _ = module.configure_optimizers()
    view1, view2, label = views(batch, size, device, channels_last=True)
    network, classifier = module.model, module.model.classifier

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(view1.device.type, torch.bfloat16, enabled=half):
            loss = sum(
                F.cross_entropy(classifier(network.feature_map(view).mean((2, 3))).float(), label)
                for view in (view1, view2)
            )
        loss.backward()
        optimizer.step()

    return step


def one_contraction_step(backbone: str, batch: int, size: int, channels_last: bool) -> Step:
    """Return the naive step with maps by one 1×1 convolution, mirrored by ``flip``."""
    model = NaiveEAC(create_backbone(backbone, image_size=size), CLASSES).train()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)
    view1, view2, label = views(batch, size, channels_last=channels_last)

    def step() -> None:
        optimizer.zero_grad()
        features = [model.backbone.forward_features(view) for view in (view1, view2)]
        maps = [class_activation_maps(feature, model.classifier.weight.detach()) for feature in features]
        logits = model.classifier(features[0].mean((2, 3)))
        (F.cross_entropy(logits, label) + 5 * attention_consistency(*maps)).backward()
        optimizer.step()

    return step


def ladder(backbone: str, batch: int, size: int, compiled: bool) -> dict[str, Callable[[], Step]]:
    """Return steps of which each has one thing more than the one before."""
    made: dict[str, Callable[[], Step]] = {
        "naive": lambda: naive_step(backbone, batch, size),
        "maps by one convolution, flip": lambda: one_contraction_step(backbone, batch, size, False),
        "channels last": lambda: one_contraction_step(backbone, batch, size, True),
        "the module: views from uint8": lambda: eac_step(backbone, batch, size, fused_optimizer=False),
        "fused Adam": lambda: eac_step(backbone, batch, size),
        "bfloat16 autocast": lambda: eac_step(backbone, batch, size, half=True),
    }
    if compiled:
        made["compiled, float32"] = lambda: eac_step(backbone, batch, size, compile_backbone=True)
        made["compiled, bfloat16"] = lambda: eac_step(backbone, batch, size, half=True, compile_backbone=True)
    return made


def variants(backbone: str, batch: int, size: int, reference: Path | None = None) -> dict[str, Callable[[], Step]]:
    """Return by name what makes each step."""
    made: dict[str, Callable[[], Step]] = {"naive": lambda: naive_step(backbone, batch, size)}
    if reference is not None and backbone == "resnet50":

        def authors() -> Step:
            step, given = reference_step(reference), views(batch, size)
            return lambda: step(*given)

        made["reference"] = authors
    for half in (False, True):
        precision = "bf16" if half else "fp32"
        made[f"EAC {precision}"] = lambda half=half: eac_step(backbone, batch, size, half=half)
        made[f"floor {precision}"] = lambda half=half: floor_step(backbone, batch, size, half=half)
    return made


def times(asked: argparse.Namespace, backbone: str) -> dict[str, Any]:
    """Time the variants of one backbone in turns."""
    if asked.ladder:
        made = ladder(backbone, asked.batch, asked.size, asked.compile)
        names = [("naive", name) for name in made if name != "naive"]
    else:
        made = variants(backbone, asked.batch, asked.size, asked.reference)
        names = [("naive", "EAC fp32"), ("naive", "EAC bf16"), ("EAC fp32", "floor fp32"), ("EAC bf16", "floor bf16")]
    steps = {name: make() for name, make in made.items()}
    clock = time.process_time if asked.clock == "cpu" else time.perf_counter
    seconds = side_by_side(steps, asked.repeats, clock=clock)
    if "reference" in steps:
        names += [("reference", "EAC fp32"), ("reference", "EAC bf16")]
    ratios = {f"{slower} / {faster}": ratio(seconds[slower], seconds[faster]) for slower, faster in names}
    return {"seconds": seconds, "ratios": ratios}


def peaks(asked: argparse.Namespace, backbone: str) -> dict[str, Any]:
    """Return each variant's peak above the bare process, in MB, from processes of their own."""
    found: dict[str, list[float]] = {}
    for name in variants(backbone, asked.batch, asked.size, asked.reference):
        command = [sys.executable, __file__, "--inside", name, "--backbones", backbone]
        command += ["--batch", str(asked.batch), "--size", str(asked.size)]
        command += ["--reference", str(asked.reference)] if asked.reference else []
        found[name] = [float(_last_line(command)) for _ in range(asked.repeats)]
    ratios = {
        f"EAC {precision} / floor {precision}": ratio(found[f"EAC {precision}"], found[f"floor {precision}"])
        for precision in ("fp32", "bf16")
    }
    return {"peak_mb": found, "ratios": ratios}


def _last_line(command: list[str]) -> str:
    # Tensors go back to the system when they are freed: otherwise the peak is of glibc's heap and of its holes.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**18)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.splitlines()[-1]


def one_peak(asked: argparse.Namespace) -> float:
    """Return the peak of three steps of one variant above what the process held before it was built."""
    # Thread pools and what libraries load when they are first used belong to no variant.
    small = variants("resnet18", 2, 64)
    for name in ("naive", "EAC fp32", "EAC bf16"):
        small[name]()()
    before = forget_peak()
    step = variants(asked.backbones[0], asked.batch, asked.size, asked.reference)[asked.inside]()
    for _ in range(3):
        step()
    return peak_memory() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that others use")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--ladder", action="store_true")
    parser.add_argument("--compile", action="store_true", help="also compiled in the ladder; takes a C++ compiler")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(one_peak(asked))
        return
    print(json.dumps(machine()))
    measure, unit = (peaks, "peak_mb") if asked.memory else (times, "seconds")
    for backbone in asked.backbones:
        found = measure(asked, backbone)
        what = "ladder" if asked.ladder else unit
        save(asked.json, f"step {backbone} {what}", {"batch": asked.batch, "size": asked.size, **found})
        rows = [
            [name, ", ".join(f"{value:.0f}" for value in values) if asked.memory else summary(values)]
            for name, values in found[unit].items()
        ]
        print(f"\n{backbone}, batch {asked.batch}, {asked.size} px\n")
        print(markdown(["step", "MB, each process" if asked.memory else "ms, median (range)"], rows), "\n")
        print(markdown(["ratio", "median"], [[name, f"{value:.3f}"] for name, value in found["ratios"].items()]))


if __name__ == "__main__":
    main()
