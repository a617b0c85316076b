"""What an audit, ``eac infer`` and validation add to the network's own inference, when the pictures are there.

    python benchmarks/second_pass.py --root FACES --json docs/results/performance_second_pass.json

Each turn asks the same faces. *bare* is ``module(batch)`` under inference mode, over float batches in memory;
*audit* and *validation* read from the store; *infer, in memory* gets decoded pictures of the network's size, *infer,
files* decodes them too, and both build a prediction object for each face.
"""

import argparse
import logging
import time
import warnings
from pathlib import Path

import torch
from measuring import machine, markdown, ratio, save, side_by_side, summary

from eac_lightning import EACModule, FERDataModule
from eac_lightning._lightning import L
from eac_lightning.audit.observe import observe, prepared
from eac_lightning.inference import Predictor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--backbone", default="mobilefacenet")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that others use")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    # Train on what is asked about, and take the same faces for validation.
    data = FERDataModule(asked.root, image_size=asked.size, batch_size=64, subset=asked.faces)
    module = EACModule(class_names=list(data.class_names), backbone=asked.backbone, image_size=asked.size).eval()
    batches = [data.on_after_batch_transfer(batch, 0)["image"] for batch in data.audit_dataloader()]
    rows = data.annotations.table.iloc[data.dataset("train").columns["index"].numpy()]
    files = [data.annotations.root / name for name in rows["path"]]
    pictures = [(255 * face).byte().permute(1, 2, 0).numpy() for batch in batches for face in batch]
    predictor = Predictor(module, None, batch_size=64)
    trainer = L.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)

    @torch.inference_mode()
    def bare() -> None:
        for image in batches:
            module(image)

    def validation() -> None:
        trainer.validate(module, dataloaders=data.audit_dataloader(), verbose=False)
        module.eval()

    passes = {
        "bare": bare,
        "audit": lambda: observe(module, prepared(data, module)),
        "validation": validation,
        "infer, in memory": lambda: [None for _ in predictor.stream(pictures)],
        "infer, files": lambda: [None for _ in predictor.stream(files)],
    }
    clock = time.process_time if asked.clock == "cpu" else time.perf_counter
    seconds = side_by_side(passes, asked.repeats, warmup=1, clock=clock)
    ratios = {name: ratio(seconds[name], seconds["bare"]) for name in passes}
    print(machine(), "\n")
    print(markdown(["pass", "ms", "faces/s", "times the bare network"], [
        [name, summary(values), f"{len(pictures) / sorted(values)[len(values) // 2]:.0f}", f"{ratios[name]:.2f}"]
        for name, values in seconds.items()
    ]))  # fmt: skip
    found = {"faces": len(pictures), "seconds": seconds, "ratios": ratios}
    save(asked.json, f"second pass {asked.backbone} {asked.size} px", found)


if __name__ == "__main__":
    main()
